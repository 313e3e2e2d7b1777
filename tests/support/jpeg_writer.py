"""A plain sequential JPEG writer for what Pillow cannot write: any sampling factors, scans, DNL, no DHT.

It writes given coefficients with the standard Huffman tables, so a test knows what a reader must give.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.huffman_tables import STANDARD_AC, STANDARD_DC
from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL, Frame, FrameComponent, HuffmanSpec

Factors = Sequence[tuple[int, int]]


def frame_of(width: int, height: int, factors: Factors) -> Frame:
    """Return a baseline frame whose components have these (h, v) factors."""
    components = tuple(FrameComponent(i + 1, h, v, 0) for i, (h, v) in enumerate(factors))
    return Frame(0xC0, width, height, components)


def random_coefficients(frame: Frame, seed: int = 0) -> list[NDArray[np.int16]]:
    """Return sparse coefficients of all sizes, one (rows, columns, 8, 8) int16 array a component."""
    rng = np.random.default_rng(seed)
    arrays = []
    for rows, columns in frame.blocks:
        size = rng.integers(0, 10, (rows, columns, 8, 8))
        values = rng.integers(-1023, 1024, (rows, columns, 8, 8)) >> size
        sparse = rng.random((rows, columns, 8, 8)) < rng.choice([0.02, 0.2, 0.9], (rows, columns, 1, 1))
        arrays.append((values * sparse).astype(np.int16))
    return arrays


def write_sequential(
    frame: Frame,
    coefficients: Sequence[NDArray[np.int16]],
    scans: Sequence[Sequence[int]] | None = None,
    restart_interval: int = 0,
    dnl: bool = False,
    tables: bool = True,
) -> bytes:
    """Write a file with these coefficients.

    Args:
        frame: size and sampling factors.
        coefficients: one (rows, columns, 8, 8) int16 array a component.
        scans: component indices of each scan; by default one scan of all.
        restart_interval: MCUs between restart markers, 0 for none.
        dnl: leave the height to a DNL segment behind the first scan.
        tables: whether to write the DHT segments.
    """
    parts = [b"\xff\xd8", segment(0xDB, b"\0" + bytes(range(1, 65)))]
    parts.append(segment(0xC0, _frame_payload(frame, 0 if dnl else frame.height)))
    if tables:
        for destination, spec in ((0x00, STANDARD_DC[0]), (0x10, STANDARD_AC[0])):
            parts.append(segment(0xC4, bytes([destination]) + spec.counts + spec.symbols))
    if restart_interval:
        parts.append(segment(0xDD, restart_interval.to_bytes(2, "big")))
    for number, scan in enumerate(scans or [range(len(frame.components))]):
        header = bytes([len(scan)]) + b"".join(bytes([index + 1, 0]) for index in scan)
        parts.append(segment(0xDA, header + bytes([0, 63, 0])))
        parts.append(_scan_data(frame, coefficients, list(scan), restart_interval))
        if dnl and number == 0:
            parts.append(segment(0xDC, frame.height.to_bytes(2, "big")))
    return b"".join(parts) + b"\xff\xd9"


def segment(marker: int, payload: bytes) -> bytes:
    """Return a marker segment."""
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def _frame_payload(frame: Frame, height: int) -> bytes:
    payload = bytes([8]) + height.to_bytes(2, "big") + frame.width.to_bytes(2, "big")
    payload += bytes([len(frame.components)])
    for component in frame.components:
        payload += bytes([component.identifier, component.h << 4 | component.v, 0])
    return payload


def _codes(spec: HuffmanSpec) -> dict[int, str]:
    codes, code, index = {}, 0, 0
    for length, count in enumerate(spec.counts, start=1):
        code <<= 1
        for _ in range(count):
            codes[spec.symbols[index]] = f"{code:0{length}b}"
            code, index = code + 1, index + 1
    return codes


_DC_CODES, _AC_CODES = _codes(STANDARD_DC[0]), _codes(STANDARD_AC[0])


def _value_bits(value: int) -> tuple[int, str]:
    size = abs(value).bit_length()
    bits = value if value >= 0 else value + (1 << size) - 1
    return size, f"{bits:0{size}b}" if size else ""


def _block_bits(block: NDArray[np.int16], prediction: int) -> str:
    values = block.reshape(64)[ZIGZAG_TO_NATURAL].astype(int)
    size, bits = _value_bits(int(values[0]) - prediction)
    out = [_DC_CODES[size], bits]
    run = 0
    for value in values[1:]:
        if value == 0:
            run += 1
            continue
        out += [_AC_CODES[0xF0]] * (run // 16)
        size, bits = _value_bits(int(value))
        out += [_AC_CODES[run % 16 << 4 | size], bits]
        run = 0
    return "".join([*out, _AC_CODES[0] if run else ""])


def _stuffed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""
    return data.replace(b"\xff", b"\xff\0")


def _mcus(frame: Frame, scan: list[int]) -> list[list[tuple[int, int, int]]]:
    """Return the (component, row, column) of the blocks of each MCU in order."""
    if len(scan) == 1:
        rows, columns = frame.blocks[scan[0]]
        return [[(scan[0], row, column)] for row in range(rows) for column in range(columns)]
    return [
        [
            (index, row * frame.components[index].v + y, column * frame.components[index].h + x)
            for index in scan
            for y in range(frame.components[index].v)
            for x in range(frame.components[index].h)
        ]
        for row in range(frame.mcu_rows)
        for column in range(frame.mcu_columns)
    ]


def _scan_data(
    frame: Frame, coefficients: Sequence[NDArray[np.int16]], scan: list[int], restart_interval: int
) -> bytes:
    parts: list[bytes] = []
    bits: list[str] = []
    predictions = [0] * 4
    for number, mcu in enumerate(_mcus(frame, scan)):
        if restart_interval and number and number % restart_interval == 0:
            marker = 0xD0 + (number // restart_interval - 1) % 8
            parts += [_stuffed("".join(bits)), bytes([0xFF, marker])]
            bits, predictions = [], [0] * 4
        for index, row, column in mcu:
            rows, columns = frame.blocks[index]
            if row < rows and column < columns:
                block = coefficients[index][row, column]
            else:  # padding repeats the DC value and has no AC
                block = np.zeros((8, 8), dtype=np.int16)
                block[0, 0] = predictions[index]
            bits.append(_block_bits(block, predictions[index]))
            predictions[index] = int(block[0, 0])
    return b"".join([*parts, _stuffed("".join(bits))])
