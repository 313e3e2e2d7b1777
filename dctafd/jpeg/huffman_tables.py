"""Huffman tables: the standard's own (T.81 K.3), and DHT specifications as the kernels' look-up tables."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError
from dctafd.jpeg.structure import HuffmanSpec
from dctafd_native.entropy_tables import (
    BAD_DC_SIZE,
    SEQUENTIAL_AC,
    TABLE,
    VALID,
    derive_pairs,
    derive_skips,
    derive_table,
)

STANDARD_DC = (
    HuffmanSpec(bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]), bytes(range(12))),
    HuffmanSpec(bytes([0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]), bytes(range(12))),
)
"""T.81 Tables K.3 (luminance) and K.4 (chrominance)."""

STANDARD_AC = (
    HuffmanSpec(
        bytes([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D]),
        bytes.fromhex(
            "01020300041105122131410613516107227114328191a1082342b1c11552d1f0"
            "2433627282090a161718191a25262728292a3435363738393a43444546474849"
            "4a535455565758595a636465666768696a737475767778797a83848586878889"
            "8a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5"
            "c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8"
            "f9fa"
        ),
    ),
    HuffmanSpec(
        bytes([0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77]),
        bytes.fromhex(
            "0001020311040521310612415107617113223281081442" + "91a1b1c109233352f0"
            "156272d10a162434e125f11718191a262728292a35363738393a434445464748"
            "494a535455565758595a636465666768696a737475767778797a828384858687"
            "88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3"
            "c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8"
            "f9fa"
        ),
    ),
)
"""T.81 Tables K.5 (luminance) and K.6 (chrominance)."""


@lru_cache(maxsize=64)
def lookup_tables(wanted: tuple[tuple[HuffmanSpec | None, int], ...], skipping: bool) -> NDArray[np.void]:
    """Return (n,) `TABLE`, those of one scan; shared, as most files use the same few, and not to be changed.

    Args:
        wanted: specification and kind (`entropy_tables.DC` and so on) of each table.
        skipping: whether blocks will be passed over.

    Raises:
        CorruptJpegError: a table is missing (None) or is no Huffman code.
    """
    tables = np.zeros(len(wanted), TABLE)
    for place, entry in enumerate(wanted):
        first = wanted.index(entry)
        if first < place:
            tables[place] = tables[first]
        else:
            _fill(tables[place : place + 1], *entry, skipping)
    return tables


def _fill(table: NDArray[np.void], spec: HuffmanSpec | None, kind: int, skipping: bool) -> None:
    """Fill (1,) `TABLE`, zeros, as far as its kind goes."""
    if spec is None:
        raise CorruptJpegError("a scan uses a Huffman table that is not defined")
    symbols = np.zeros(256, dtype=np.uint8)
    symbols[: len(spec.symbols)] = np.frombuffer(spec.symbols, dtype=np.uint8)
    status = derive_table(np.frombuffer(spec.counts, dtype=np.uint8), symbols, kind, table)
    if status != VALID:
        what = "a DC symbol over 15" if status == BAD_DC_SIZE else "code lengths that make no Huffman code"
        raise CorruptJpegError(f"a Huffman table has {what}")
    if kind == SEQUENTIAL_AC:
        derive_pairs(table)
        if skipping:
            derive_skips(table)
