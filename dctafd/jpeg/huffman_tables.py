"""Huffman tables: the standard's own (T.81 K.3), and DHT specifications as the kernels' look-up tables."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError
from dctafd.jpeg.structure import HuffmanSpec
from dctafd_native.entropy_tables import (
    BAD_DC_SIZE,
    LOOKUP_SIZE,
    ROW_SIZE,
    SEQUENTIAL_AC,
    VALID,
    derive_pairs,
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


def stacked_tables(
    wanted: Sequence[tuple[HuffmanSpec | None, int]],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the look-up tables of one scan as the entropy kernels read them.

    Args:
        wanted: specification and kind (`entropy_tables.DC` and so on) of each table.

    Returns:
        (len(wanted) * ROW_SIZE,) int32, the tables one after the other; and (n * LOOKUP_SIZE,) int64, the
        tables of pairs of the n that are `SEQUENTIAL_AC`. Both are shared, as most files use the same few
        tables, and not to be changed.

    Raises:
        CorruptJpegError: a table is missing (None) or is no Huffman code.
    """
    return _cached_tables(tuple(wanted))


@lru_cache(maxsize=64)
def _cached_tables(
    wanted: tuple[tuple[HuffmanSpec | None, int], ...],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    tables = np.empty((len(wanted), ROW_SIZE), dtype=np.int32)
    for row, (spec, kind) in zip(tables, wanted, strict=True):
        if spec is None:
            raise CorruptJpegError("a scan uses a Huffman table that is not defined")
        symbols = np.zeros(256, dtype=np.uint8)
        symbols[: len(spec.symbols)] = np.frombuffer(spec.symbols, dtype=np.uint8)
        status = derive_table(np.frombuffer(spec.counts, dtype=np.uint8), symbols, kind, row)
        if status != VALID:
            what = (
                "a DC symbol over 15" if status == BAD_DC_SIZE else "code lengths that make no Huffman code"
            )
            raise CorruptJpegError(f"a Huffman table has {what}")
    ac_rows = [row for row, (_, kind) in zip(tables, wanted, strict=True) if kind == SEQUENTIAL_AC]
    pairs = np.empty((len(ac_rows), LOOKUP_SIZE), dtype=np.int64)
    for row, pair_row in zip(ac_rows, pairs, strict=True):
        derive_pairs(row, pair_row)
    return tables.reshape(-1), pairs.reshape(-1)
