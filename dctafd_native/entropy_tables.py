"""Huffman codes (T.81 Annex C) as look-up tables that say in one step all about a symbol but its value bits.

Tables are records (`TABLE`) and so are their entries, as a kernel loads a field in no time beside the shifts
that would take it out of a word; and a record in an array costs it no reference count.
"""

import numpy as np

from dctafd_native.jit import inlined, kernel

SYMBOL = np.dtype(
    [
        ("used", np.uint8),
        ("shift", np.uint8),
        ("run", np.uint8),
        ("size", np.uint8),
        ("mask", np.int16),
        ("extend", np.int16),
    ]
)
"""A symbol whose code leads a window of 64 bits, in fields that are loaded without taking a word apart.

`used`: bits to consume, code and value bits together; 0 for a prefix of a longer code. `shift`: 64 - used,
which brings the value bits to the right. `run`: zero coefficients to pass over before the value (RRRR);
`END_OF_BLOCK` for EOB of a sequential scan. `size`: number of value bits (SSSS). `mask`: 2^SSSS - 1.
`extend`: what to add to value bits that start with 0, -mask (T.81 F.2.2.1, EXTEND).
"""

PAIR = np.dtype(
    [
        ("used", np.uint8),
        ("run", np.uint8),
        ("step", np.uint8),
        ("more", np.uint8),
        ("first", np.int16),
        ("second", np.int16),
    ]
)
"""Two AC symbols with their values, or one.

`used`: bits to consume, both symbols. `run`: zero coefficients before the first value, 0 for EOB; `NOTHING`
where not even the first symbol fits. `step`: from the first value's place to the second's; `BEYOND` for EOB.
`more`: 1 where there is a second symbol, or EOB. `first`, `second`: the values; 0 for EOB and without one.
"""

LOOKUP_BITS = 10
LOOKUP_SIZE = 1 << LOOKUP_BITS
NO_CODE = LOOKUP_SIZE + 256
"""The place of what libjpeg makes of bits that are no code."""
PAIR_BITS = 10
PAIR_SIZE = 1 << PAIR_BITS
SKIP_BITS = 11
SKIP_SIZE = 1 << SKIP_BITS

TABLE = np.dtype(
    [
        ("symbols", SYMBOL, (NO_CODE + 1,)),
        ("limits", np.int32, (17,)),
        ("bases", np.int32, (17,)),
        ("pairs", PAIR, (PAIR_SIZE,)),
        ("skips", np.uint16, (SKIP_SIZE,)),
    ],
    align=True,
)
"""All about one Huffman code.

`symbols`: one for each prefix of `LOOKUP_BITS` bits, then the symbols by increasing code, and one for bits
that are no code. `limits`, `bases`: by code length 0..16, the first 16-bit window beyond the codes up to that
length, and the place of the length's first symbol minus its first code (see `code_place`). `pairs`, of a
sequential AC code: most symbols fit into `PAIR_BITS` bits with their value, often two of them. `skips`, where
blocks are passed over: how far as many symbols lead as fit into `SKIP_BITS` bits, EOB the last of them:

====== ====================================================================================================
bits   meaning
====== ====================================================================================================
0-3    bits to consume; 0 where not even the first symbol fits
4-9    coefficients that the symbols before EOB pass over
10-15  the same; 63 with EOB
====== ====================================================================================================
"""

END_OF_BLOCK = 63
BEYOND = 64
"""From any place in a block, so many places further is behind its end."""
NOTHING = 63
"""Leads out of a block from any place but 0: where of several symbols not even one fits into a prefix."""
_NO_CODE_LENGTH = 17
"""libjpeg consumes 17 bits where no code fits (jdhuff.c, jpeg_huff_decode), and takes symbol 0."""

DC, SEQUENTIAL_AC, PROGRESSIVE_AC = 0, 1, 2
VALID, OVERFULL_CODE, BAD_DC_SIZE = 0, 1, 2


@kernel
def derive_table(counts, symbols, kind, table):
    """Fill a table's `symbols`, `limits` and `bases` from a DHT specification.

    Args:
        counts: (16,) uint8, the number of codes of each length (BITS).
        symbols: (256,) uint8, the symbols by increasing code (HUFFVAL), zeros behind the last.
        kind: `DC`, `SEQUENTIAL_AC` or `PROGRESSIVE_AC`.
        table: (1,) `TABLE`, zeros.

    Returns:
        `VALID`; `OVERFULL_CODE` where the lengths make no prefix code or use the code of all ones;
        `BAD_DC_SIZE` where a DC symbol exceeds 15 (libjpeg: jpeg_make_d_derived_tbl).
    """
    code = 0
    index = 0
    for length in range(1, 17):
        code <<= 1
        table[0].bases[length] = LOOKUP_SIZE + index - code
        for _ in range(counts[length - 1]):
            if index >= 256 or code >= (1 << length) - 1:
                return OVERFULL_CODE
            symbol = np.int64(symbols[index])
            if kind == DC and symbol > 15:
                return BAD_DC_SIZE
            _fill(table[0], LOOKUP_SIZE + index, symbol, length, kind)
            if length <= LOOKUP_BITS:
                shift = LOOKUP_BITS - length
                for prefix in range(code << shift, (code + 1) << shift):
                    table[0].symbols[prefix] = table[0].symbols[LOOKUP_SIZE + index]
            code += 1
            index += 1
        table[0].limits[length] = code << (16 - length)
    _fill(table[0], NO_CODE, np.int64(0), _NO_CODE_LENGTH, kind)
    return VALID


@kernel
def _fill(table, place, symbol, length, kind):
    """Write down what a symbol (RRRRSSSS) with a code of so many bits means."""
    size = symbol & 15
    run = symbol >> 4
    if kind == SEQUENTIAL_AC and size == 0 and run != 15:
        run = np.int64(END_OF_BLOCK)
    entry = table.symbols[place]
    entry.used = length + size
    entry.shift = 64 - length - size
    entry.run = run
    entry.size = size
    entry.mask = (1 << size) - 1
    entry.extend = 1 - (1 << size)


@kernel
def code_place(table, window):
    """Return the place of the symbol whose code of more than `LOOKUP_BITS` bits leads a 64-bit `window`."""
    prefix = np.int64(window >> np.uint64(48))
    for length in range(LOOKUP_BITS + 1, 17):
        if prefix < table.limits[length]:
            place = table.bases[length] + (prefix >> (16 - length))
            return np.uint64(min(max(place, LOOKUP_SIZE), NO_CODE))
    return np.uint64(NO_CODE)


@inlined
def signed_value(window, symbol):
    """Return the value behind the code that leads a 64-bit `window` (T.81 F.2.2.1, RECEIVE and EXTEND).

    Without a branch, as the sign cannot be foreseen.
    """
    value = np.int64((window >> (np.uint64(symbol.shift) & np.uint64(63))) & np.uint64(symbol.mask))
    extend = np.int64(symbol.extend)
    return value + (extend & ((2 * value + extend - 1) >> 63))


@kernel
def derive_pairs(table):
    """Fill the `pairs`, zeros, of (1,) `TABLE` from what `derive_table` made for `SEQUENTIAL_AC`."""
    for prefix in range(PAIR_SIZE):
        pair = table[0].pairs[prefix]
        first = table[0].symbols[prefix >> (PAIR_BITS - LOOKUP_BITS)]
        if first.used == 0 or first.used > PAIR_BITS:
            pair.run = NOTHING
            continue
        pair.used = first.used
        pair.more = 1
        if first.run == END_OF_BLOCK:
            pair.step = BEYOND
            continue
        pair.run = first.run
        pair.first = signed_value(np.uint64(prefix) << np.uint64(64 - PAIR_BITS), first)
        ahead = (prefix << first.used) & (PAIR_SIZE - 1)
        second = table[0].symbols[ahead >> (PAIR_BITS - LOOKUP_BITS)]
        if second.used == 0 or second.used > PAIR_BITS - first.used:
            pair.step = 1
            pair.more = 0
            continue
        pair.used += second.used
        pair.step = BEYOND if second.run == END_OF_BLOCK else second.run + 1
        pair.second = signed_value(np.uint64(ahead) << np.uint64(64 - PAIR_BITS), second)


@kernel
def derive_skips(table):
    """Fill the `skips` of (1,) `TABLE` from what `derive_table` made for `SEQUENTIAL_AC`."""
    for prefix in range(SKIP_SIZE):
        used = 0
        passed = 0
        ended = False
        while not ended:
            symbol = table[0].symbols[((prefix << used) & (SKIP_SIZE - 1)) >> (SKIP_BITS - LOOKUP_BITS)]
            if symbol.used == 0 or used + symbol.used > SKIP_BITS:
                break
            ended = symbol.run == END_OF_BLOCK
            if not ended:
                if passed + symbol.run + 1 >= NOTHING:
                    break
                passed += symbol.run + 1
            used += symbol.used
        if used == 0:
            passed = NOTHING
        table[0].skips[prefix] = ((NOTHING if ended else passed) << 10) | (passed << 4) | used
