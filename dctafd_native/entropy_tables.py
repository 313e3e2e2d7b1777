"""Huffman codes (T.81 Annex C) as look-up tables that say in one step all about a symbol but its value bits.

A table is one row of `ROW_SIZE` int32: entries for all `LOOKUP_BITS`-bit prefixes, then what is needed to
find longer codes. An entry packs, from its lowest bit:

====== ====================================================================================================
bits   meaning
====== ====================================================================================================
0-5    bits to consume: code and value bits together
6-9    number of value bits (SSSS)
10-15  zero coefficients to pass over before the value (RRRR); `END_OF_BLOCK` for EOB of a sequential scan
16-31  what to add to value bits that start with 0: 1 - 2^SSSS (T.81 F.2.2.1, EXTEND)
====== ====================================================================================================

An entry of 0 stands for a prefix of a longer code.

Most AC symbols fit into `PAIR_BITS` bits with their value, often two of them. A second table of `PAIR_SIZE`
int64 says all of those at once:

====== ====================================================================================================
bits   meaning
====== ====================================================================================================
0-5    bits to consume: both symbols
8-13   zero coefficients before the first value, 0 for EOB; `NOTHING` where not even the first symbol fits
14     1 where there is a second symbol, or EOB
16-23  from the first value's place to the second's; `BEYOND` for EOB
32-47  the first value, 0 for EOB
48-63  the second value, 0 without one and for EOB
====== ====================================================================================================

Where nobody wants the values, a third table of `SKIP_SIZE` uint16 says how far as many symbols lead as fit
into `SKIP_BITS` bits, EOB the last of them:

====== ====================================================================================================
bits   meaning
====== ====================================================================================================
0-3    bits to consume; 0 where not even the first symbol fits
4-9    coefficients that the symbols before EOB pass over
10-15  the same; 63 with EOB
====== ====================================================================================================
"""

import numpy as np

from dctafd_native.jit import kernel

LOOKUP_BITS = 10
LOOKUP_SIZE = 1 << LOOKUP_BITS
LIMITS = LOOKUP_SIZE
"""Where, by code length 0..16, the first 16-bit window beyond the codes up to that length is kept."""
BASES = LIMITS + 17
"""Where, by code length 0..16, the index of the length's first symbol minus its first code is kept."""
SYMBOLS = BASES + 17
"""Where the entries of all symbols are kept, without their code lengths."""
ROW_SIZE = SYMBOLS + 256

PAIR_BITS = 10
PAIR_SIZE = 1 << PAIR_BITS
SKIP_BITS = 11
SKIP_SIZE = 1 << SKIP_BITS

END_OF_BLOCK = 63
BEYOND = 64
"""From any place in a block, so many places further is behind its end."""
NOTHING = 63
"""Leads out of a block from any place but 0: where of several symbols not even one fits into a prefix."""
BAD_CODE_LENGTH = 17
"""libjpeg consumes 17 bits where no code fits (jdhuff.c, jpeg_huff_decode), and takes symbol 0."""

DC, SEQUENTIAL_AC, PROGRESSIVE_AC = 0, 1, 2
VALID, OVERFULL_CODE, BAD_DC_SIZE = 0, 1, 2


@kernel
def derive_table(counts, symbols, kind, row):
    """Fill a table row from a DHT specification.

    Args:
        counts: (16,) uint8, the number of codes of each length (BITS).
        symbols: (256,) uint8, the symbols by increasing code (HUFFVAL), zeros behind the last.
        kind: `DC`, `SEQUENTIAL_AC` or `PROGRESSIVE_AC`.
        row: (ROW_SIZE,) int32, written whole.

    Returns:
        `VALID`; `OVERFULL_CODE` where the lengths make no prefix code or use the code of all ones;
        `BAD_DC_SIZE` where a DC symbol exceeds 15 (libjpeg: jpeg_make_d_derived_tbl).
    """
    row[:] = 0
    code = 0
    index = 0
    for length in range(1, 17):
        code <<= 1
        row[BASES + length] = index - code
        for _ in range(counts[length - 1]):
            if index >= 256 or code >= (1 << length) - 1:
                return OVERFULL_CODE
            symbol = np.int64(symbols[index])
            if kind == DC and symbol > 15:
                return BAD_DC_SIZE
            size = symbol & 15
            run = symbol >> 4
            if kind == SEQUENTIAL_AC and size == 0 and run != 15:
                run = np.int64(END_OF_BLOCK)
            entry = ((1 - (1 << size)) << 16) | (run << 10) | (size << 6) | size
            row[SYMBOLS + index] = entry
            if length <= LOOKUP_BITS:
                shift = LOOKUP_BITS - length
                for prefix in range(code << shift, (code + 1) << shift):
                    row[prefix] = entry + length
            code += 1
            index += 1
        row[LIMITS + length] = code << (16 - length)
    if kind == SEQUENTIAL_AC:
        for unused in range(index, 256):
            row[SYMBOLS + unused] = END_OF_BLOCK << 10
    return VALID


@kernel
def derive_pairs(row, pairs):
    """Fill the table of symbol pairs from a table row.

    Args:
        row: (ROW_SIZE,) int32, filled by `derive_table` for `SEQUENTIAL_AC`.
        pairs: (PAIR_SIZE,) int64, written whole.
    """
    for prefix in range(PAIR_SIZE):
        first = _whole_symbol(row, prefix, PAIR_BITS)
        if first == 0:
            pairs[prefix] = NOTHING << 8
            continue
        used = first & 63
        run = (first >> 10) & 63
        if run == END_OF_BLOCK:
            pairs[prefix] = (BEYOND << 16) | (1 << 14) | used
            continue
        pair = (run << 8) | (_value(prefix, first, PAIR_BITS) & 0xFFFF) << 32
        ahead = (prefix << used) & (PAIR_SIZE - 1)
        second = _whole_symbol(row, ahead, PAIR_BITS)
        if second != 0 and (second & 63) <= PAIR_BITS - used:
            run = (second >> 10) & 63
            pair |= (BEYOND if run == END_OF_BLOCK else run + 1) << 16 | 1 << 14
            pair |= (_value(ahead, second, PAIR_BITS) & 0xFFFF) << 48
            used += second & 63
        else:
            pair |= 1 << 16
        pairs[prefix] = pair | used


@kernel
def derive_skips(row, skips):
    """Fill the table of how far symbols lead from a table row.

    Args:
        row: (ROW_SIZE,) int32, filled by `derive_table` for `SEQUENTIAL_AC`.
        skips: (SKIP_SIZE,) uint16, written whole.
    """
    for prefix in range(SKIP_SIZE):
        used = 0
        passed = 0
        ended = False
        while not ended:
            symbol = _whole_symbol(row, (prefix << used) & (SKIP_SIZE - 1), SKIP_BITS)
            run = (symbol >> 10) & 63
            ended = run == END_OF_BLOCK
            if symbol == 0 or used + (symbol & 63) > SKIP_BITS:
                ended = False
                break
            if not ended:
                if passed + run + 1 >= NOTHING:
                    break
                passed += run + 1
            used += symbol & 63
        if used == 0:
            passed = NOTHING
        skips[prefix] = ((NOTHING if ended else passed) << 10) | (passed << 4) | used


@kernel
def _whole_symbol(row, prefix, bits):
    """Return the entry of the symbol that starts a prefix of so many bits, 0 unless all of it fits in there.

    Codes of more than `LOOKUP_BITS` are rare enough to be left out.
    """
    entry = np.int64(row[prefix >> (bits - LOOKUP_BITS)])
    return entry if (entry & 63) <= bits else np.int64(0)


@kernel
def _value(prefix, entry, bits):
    """Return the value whose code and value bits start a prefix of so many bits (T.81 F.2.2.1)."""
    size = (entry >> 6) & 15
    value = (prefix >> (bits - (entry & 63))) & ((1 << size) - 1)
    return value + (entry >> 16 if 2 * value <= -(entry >> 16) else 0)
