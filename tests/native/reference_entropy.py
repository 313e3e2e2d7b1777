"""Huffman decoding written down from the flow charts of T.81 Annexes F and G, bit by bit, as a reference."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL, HuffmanSpec, Scan


class Bits:
    """The bits of one entropy-coded segment without byte stuffing; zeros behind its end."""

    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data.replace(b"\xff\0", b"\xff"))
        self.position = 0

    def receive(self, size: int) -> int:
        """RECEIVE (F.2.2.4)."""
        text = self.bits[self.position : self.position + size].ljust(size, "0")
        self.position += size
        return int(text, 2) if size else 0

    def receive_extend(self, size: int) -> int:
        """RECEIVE, then EXTEND (F.2.2.1)."""
        value = self.receive(size)
        return value if size == 0 or value >> (size - 1) else value - (1 << size) + 1

    def decode(self, codes: dict[str, int]) -> int:
        """DECODE (F.2.2.3)."""
        for length in range(1, 17):
            code = self.bits[self.position : self.position + length]
            if code in codes:
                self.position += length
                return codes[code]
        raise ValueError("no such code")


def code_table(spec: HuffmanSpec) -> dict[str, int]:
    """Return symbol by code (Annex C)."""
    codes, code, index = {}, 0, 0
    for length, count in enumerate(spec.counts, start=1):
        code <<= 1
        for _ in range(count):
            codes[f"{code:0{length}b}"] = spec.symbols[index]
            code, index = code + 1, index + 1
    return codes


def decode_sequential_block(
    bits: Bits, dc: dict[str, int], ac: dict[str, int], block: NDArray[np.int16]
) -> int:
    """Decode one block's AC coefficients into `block`, (64,) natural order; return the DC difference."""
    difference = bits.receive_extend(bits.decode(dc))
    k = 1
    while k < 64:
        run, size = divmod(bits.decode(ac), 16)
        if size == 0:
            if run != 15:
                break
            k += 16
            continue
        k += run
        block[ZIGZAG_TO_NATURAL[k]] = bits.receive_extend(size)
        k += 1
    return difference


def segments(data: bytes, scan: Scan) -> Iterator[Bits]:
    """Yield the bits between restart markers."""
    start = scan.start
    for place in range(scan.start, scan.end - 1):
        if data[place] == 0xFF and 0xD0 <= data[place + 1] <= 0xD7:
            yield Bits(data[start:place])
            start = place + 2
    yield Bits(data[start : scan.end])


def decode_progressive_blocks(
    data: bytes, scan: Scan, codes: dict[str, int], blocks: NDArray[np.int16]
) -> None:
    """Decode an AC scan of one component into `blocks`, (n, 64) natural order (G.1.2.2, G.1.2.3)."""
    parts = segments(data, scan)
    bits = next(parts)
    run_of_ends = 0
    for number, block in enumerate(blocks):
        if scan.restart_interval and number and number % scan.restart_interval == 0:
            bits, run_of_ends = next(parts), 0
        decode = _refine if scan.approximation_high else _first
        run_of_ends = decode(bits, scan, codes, block, run_of_ends)


def _first(bits: Bits, scan: Scan, codes: dict[str, int], block: NDArray[np.int16], run_of_ends: int) -> int:
    if run_of_ends:
        return run_of_ends - 1
    k = scan.spectral_start
    while k <= scan.spectral_end:
        run, size = divmod(bits.decode(codes), 16)
        if size == 0 and run < 15:
            return (1 << run) + bits.receive(run) - 1
        k += run
        if size:
            block[ZIGZAG_TO_NATURAL[k]] = bits.receive_extend(size) << scan.approximation_low
        k += 1
    return 0


def _refine(bits: Bits, scan: Scan, codes: dict[str, int], block: NDArray[np.int16], run_of_ends: int) -> int:
    step = 1 << scan.approximation_low
    band = ZIGZAG_TO_NATURAL[scan.spectral_start : scan.spectral_end + 1]
    place = 0

    def pass_over(zeros: int) -> int:
        here = place
        while here < len(band):
            value = int(block[band[here]])
            if value == 0:
                if zeros == 0:
                    break
                zeros -= 1
            elif bits.receive(1):
                block[band[here]] = value + (step if value > 0 else -step)
            here += 1
        return here

    while run_of_ends == 0 and place < len(band):
        run, size = divmod(bits.decode(codes), 16)
        if size == 0 and run < 15:
            run_of_ends = (1 << run) + bits.receive(run)
            break
        value = (step if bits.receive(1) else -step) if size else 0
        place = pass_over(run)
        if value:
            block[band[place]] = value
        place += 1
    if run_of_ends:
        pass_over(64)
        return run_of_ends - 1
    return 0
