"""What single marker segments say: payload bytes -> values, every length, count and index checked (T.81 B.2).

Most files share these segments with many others, so the last ones met are kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError, UnsupportedJpegError
from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL, Frame, FrameComponent, HuffmanSpec, ScanComponent

MAX_BLOCKS_IN_MCU = 10
"""T.81 B.2.3: the blocks of one MCU of an interleaved scan."""

_CACHED = 128  # segments of each kind that are kept, of 64 kB at most
_CACHED_FRAMES = 1024  # of some 2 kB with what is worked out of them: photos of a folder come in many sizes


@lru_cache(maxsize=_CACHED_FRAMES)
def read_frame(marker: int, payload: bytes) -> Frame:
    """Return what a frame header says (T.81 B.2.2)."""
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
        raise CorruptJpegError("the frame header's length contradicts its number of components")
    precision, count = payload[0], payload[5]
    if precision != 8:
        raise UnsupportedJpegError(f"{precision} bits a sample; only 8 are read")
    if count not in (1, 3, 4):
        raise UnsupportedJpegError(f"{count} components; 1, 3 and 4 are read")
    height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
    if width == 0:
        raise CorruptJpegError("the image has a width of 0")
    components = tuple(
        FrameComponent(payload[i], payload[i + 1] >> 4, payload[i + 1] & 15, payload[i + 2])
        for i in range(6, len(payload), 3)
    )
    for component in components:
        if not (1 <= component.h <= 4 and 1 <= component.v <= 4):
            raise CorruptJpegError(f"sampling factors {component.h}x{component.v}, outside 1..4")
        if component.quant_index > 3:
            raise CorruptJpegError(f"quantisation table {component.quant_index}, outside 0..3")
    return Frame(marker, width, height, components)


@lru_cache(maxsize=_CACHED)
def read_huffman_tables(payload: bytes) -> tuple[tuple[int, int, HuffmanSpec], ...]:
    """Return the tables of a DHT segment: class (0 DC, 1 AC), destination, specification (T.81 B.2.4.2)."""
    found = []
    position = 0
    while position < len(payload):
        table_class, index = payload[position] >> 4, payload[position] & 15
        counts = payload[position + 1 : position + 17]
        total = sum(counts)
        symbols = payload[position + 17 : position + 17 + total]
        if table_class > 1 or index > 3 or len(counts) < 16 or total > 256 or len(symbols) < total:
            raise CorruptJpegError("a damaged DHT segment")
        position += 17 + total
        found.append((table_class, index, HuffmanSpec(counts, symbols)))
    return tuple(found)


@lru_cache(maxsize=_CACHED)
def read_quant_tables(payload: bytes) -> tuple[tuple[int, NDArray[np.uint16], bool], ...]:
    """Return the tables of a DQT segment: destination, read-only (8, 8) steps, whether there are zeros."""
    found = []
    position = 0
    while position < len(payload):
        precision, index = payload[position] >> 4, payload[position] & 15
        size = 128 if precision else 64
        values = payload[position + 1 : position + 1 + size]
        if precision > 1 or index > 3 or len(values) < size:
            raise CorruptJpegError("a damaged DQT segment")
        position += 1 + size
        table = np.zeros(64, dtype=np.uint16)
        table[ZIGZAG_TO_NATURAL] = np.frombuffer(values, dtype=np.uint8 if size == 64 else ">u2")
        table.flags.writeable = False
        found.append((index, table.reshape(8, 8), not table.all()))
    return tuple(found)


@lru_cache(maxsize=_CACHED)
def read_scan_header(
    frame_components: tuple[FrameComponent, ...], payload: bytes
) -> tuple[tuple[ScanComponent, ...], tuple[int, int, int]]:
    """Return a scan header's components, and Ss, Se and Ah, Al in one byte (T.81 B.2.3)."""
    if len(payload) < 1 or not 1 <= payload[0] <= 4 or len(payload) != 4 + 2 * payload[0]:
        raise CorruptJpegError("the scan header's length contradicts its number of components")
    count = payload[0]
    components: list[ScanComponent] = []
    for i in range(1, 1 + 2 * count, 2):
        index = _find_component(frame_components, payload[i], [component.index for component in components])
        components.append(ScanComponent(index, payload[i + 1] >> 4, payload[i + 1] & 15))
    if any(component.dc_table > 3 or component.ac_table > 3 for component in components):
        raise CorruptJpegError("a scan names an entropy table outside 0..3")
    blocks = [frame_components[component.index] for component in components]
    if len(blocks) > 1 and sum(part.h * part.v for part in blocks) > MAX_BLOCKS_IN_MCU:
        raise CorruptJpegError(f"more than {MAX_BLOCKS_IN_MCU} blocks in one MCU")
    spectral_start, spectral_end, approximation = payload[1 + 2 * count :]
    return tuple(components), (spectral_start, spectral_end, approximation)


def _find_component(frame_components: tuple[FrameComponent, ...], identifier: int, taken: list[int]) -> int:
    for index, component in enumerate(frame_components):
        if component.identifier == identifier and index not in taken:
            return index
    raise CorruptJpegError(f"a scan names component {identifier}, which the frame does not have")
