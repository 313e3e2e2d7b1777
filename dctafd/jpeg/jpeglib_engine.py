"""Coefficients through jpeglib's libjpeg-turbo 2.1.0: for arithmetic coding, and as the tests' oracle.

jpeglib reads paths only, sizes its buffers by what it hopes, keeps process-global state in its marker
functions and reports damage on stderr alone. So this engine never gives it the user's file: it writes a plain
one from what our own parser admitted (no application data, one table per component, the height filled in)
into memory, and calls the one thread-safe entry point with buffers sized by our frame header.
"""

import ctypes
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError
from dctafd.jpeg.header import component_names
from dctafd.jpeg.markers import DAC, DHT, DQT, DRI, EOI, SOI, SOS
from dctafd.jpeg.partial import ComponentPlan, Decoded, check_plans, slice_plan
from dctafd.jpeg.smoothing import ScanProgress, cut_progressive, smooths
from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL, Frame, HuffmanSpec, JpegStructure, Scan

BACK_END = "turbo210"
_lock = threading.Lock()


def decode(data: bytes, structure: JpegStructure, plans: Sequence[ComponentPlan]) -> Decoded:
    """Decode with jpeglib, and keep what `plans`, one a component, name.

    Args:
        data: the file's bytes.
        structure: what `parse_checked` made of them.
        plans: one a frame component.

    Raises:
        ValueError: a plan reaches outside its component.
        CorruptJpegError: libjpeg refused the file.
    """
    frame = structure.frame
    check_plans(frame, plans)
    coefficients = [np.zeros((*shape, 8, 8), dtype=np.int16) for shape in frame.blocks]
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in coefficients]
    pointers += [ctypes.c_void_p(None)] * (4 - len(pointers))
    library = _library()
    with _memory_file(plain_jpeg(data, structure)) as path:
        # Qt and table numbers are not asked for: our parser has them.
        status = library.read_jpeg_dct(
            os.fsencode(path), *pointers, ctypes.c_void_p(None), ctypes.c_void_p(None)
        )
    if status == 0:
        raise CorruptJpegError("libjpeg refused the file's entropy-coded data")
    damage = [] if structure.complete else _missing_tail(frame, coefficients)
    if frame.progressive:
        return _finish_progressive(structure, coefficients, plans, damage)
    parts = zip(coefficients, plans, strict=True)
    return Decoded([slice_plan(array, plan) for array, plan in parts], damage)


def _finish_progressive(
    structure: JpegStructure,
    coefficients: list[NDArray[np.int16]],
    plans: Sequence[ComponentPlan],
    damage: list[str],
) -> Decoded:
    """Cut what is wanted; jpeglib does not tell how far a scan's data reached, nor what pads the MCUs."""
    frame, progress = structure.frame, ScanProgress(structure.frame)
    for scan in structure.scans:
        progress.add(scan, [True] * len(scan.components), frame.mcu_rows - 1)
    means = [array[-1, :, 0, 0] for array in coefficients]
    padding = means if smooths(progress, structure.quant_tables) else None
    components = cut_progressive(structure, coefficients, plans, progress, padding)
    return Decoded(components, damage + progress.messages(component_names(structure)))


@cache
def _library() -> Any:
    """Load jpeglib's turbo210 library; the process-wide choice of back end is left as it was found."""
    with _lock:
        import jpeglib

        before = jpeglib.version.get()
        jpeglib.version.set(BACK_END)
        library = jpeglib.version._get_lib()
        if before is not None:
            jpeglib.version.set(before)
        return library


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path under which `content` can be opened, in memory where the system offers that."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("dctafd")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    descriptor, path = tempfile.mkstemp(suffix=".jpg")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)


def plain_jpeg(data: bytes, structure: JpegStructure) -> bytes:
    """Write a JPEG file with the same coefficients and nothing that is not needed to decode them."""
    frame = structure.frame
    parts = [bytes([0xFF, SOI])]
    for index, table in enumerate(structure.quant_tables):
        values = table.reshape(64)[ZIGZAG_TO_NATURAL].astype(">u2").tobytes()
        parts.append(_segment(DQT, bytes([0x10 | index]) + values))
    parts.append(_frame_segment(frame))
    for scan in structure.scans:
        parts.append(_tables_of_scan(frame, scan))
        parts.append(_scan_segment(frame, scan))
        parts.append(data[scan.start : scan.end])
    if structure.complete:
        parts.append(bytes([0xFF, EOI]))
    return b"".join(parts)


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def _frame_segment(frame: Frame) -> bytes:
    payload = bytes([8]) + frame.height.to_bytes(2, "big") + frame.width.to_bytes(2, "big")
    payload += bytes([len(frame.components)])
    for index, component in enumerate(frame.components):
        payload += bytes([index + 1, component.h << 4 | component.v, index])
    return _segment(frame.marker, payload)


def _tables_of_scan(frame: Frame, scan: Scan) -> bytes:
    parts = [_segment(DRI, scan.restart_interval.to_bytes(2, "big"))]
    if frame.arithmetic:
        destinations = [*range(4), *range(0x10, 0x14)]
        pairs = zip(destinations, scan.conditioning, strict=True)
        parts.append(_segment(DAC, b"".join(bytes(pair) for pair in pairs)))
        return b"".join(parts)
    for table_class, tables in enumerate((scan.dc_tables, scan.ac_tables)):
        for index, spec in enumerate(tables):
            if spec is not None:
                parts.append(_huffman_segment(table_class << 4 | index, spec))
    return b"".join(parts)


def _huffman_segment(destination: int, spec: HuffmanSpec) -> bytes:
    return _segment(DHT, bytes([destination]) + spec.counts + spec.symbols)


def _scan_segment(frame: Frame, scan: Scan) -> bytes:
    payload = bytes([len(scan.components)])
    for component in scan.components:
        payload += bytes([component.index + 1, component.dc_table << 4 | component.ac_table])
    approximation = scan.approximation_high << 4 | scan.approximation_low
    payload += bytes([scan.spectral_start, scan.spectral_end, approximation])
    return _segment(SOS, payload)


def _missing_tail(frame: Frame, coefficients: list[NDArray[np.int16]]) -> list[str]:
    """Say what share of each component's blocks, from the last one back, holds nothing but zeros."""
    messages = []
    for index, array in enumerate(coefficients):
        filled = np.flatnonzero(array.reshape(-1, 64).any(axis=1))
        total = prod(frame.blocks[index])
        missing = total - (int(filled[-1]) + 1 if filled.size else 0)
        if missing:
            share = 100 * missing / total
            messages.append(f"component {index}: the last {share:.0f} % of its blocks are empty")
    return messages
