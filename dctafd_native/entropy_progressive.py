"""Huffman decoding of progressive scans (T.81 G.2) from data that `entropy_segments.unstuff` has cleaned.

The place in the data is one bit position; the word ahead is loaded from there for each symbol. What `entropy`
says of the ends of segments holds here too: blocks (MCUs, for DC) start only where the longest possible one
still fits, and data that ends early is completed with zero bits.

Every kernel takes, as `entropy.decode_sequential` does, `buffer`, `segment_ends`, `segment_markers`,
`restart_interval`, `tables`, `zigzag`, `out`, `decoded` and `findings`; `low` is the scan's Al.
Of `findings` the fourth receives the last MCU that began with data left.
"""

import numpy as np

from dctafd_native.block_masks import lowest_bit, present
from dctafd_native.entropy_data import (
    BAD_CODES,
    LAST_STARTED,
    LEFT_OVER,
    MAX_BLOCK_BYTES,
    left_over,
    load_word,
    move_tail,
    next_interval,
)
from dctafd_native.entropy_tables import LOOKUP_BITS, NO_CODE, code_place, signed_value
from dctafd_native.jit import inlined, kernel


@kernel
def decode_dc(
    buffer,
    segment_ends,
    segment_markers,
    restart_interval,
    mcu_rows,
    mcu_columns,
    mcu_blocks,
    tables,
    refine,
    low,
    out,
    decoded,
    findings,
):
    """Decode one DC scan: the first (`refine` 0, T.81 G.1.2.1) or one more bit (`refine` 1).

    `mcu_blocks` is as for `entropy.decode_sequential`; blocks of `out` hold 64 coefficients, and the last 128
    take what is not kept.
    """
    n_blocks = mcu_blocks.shape[0]
    most = n_blocks * MAX_BLOCK_BYTES
    tail = segment_ends[segment_ends.shape[0] - 1]
    unwanted = out.shape[0] - 128
    prediction = np.zeros(4, dtype=np.int64)
    segment = 0
    next_restart = 0
    to_go = restart_interval
    bit = np.int64(0)
    end = segment_ends[0]
    in_tail = False
    exhausted = False
    for mcu_row in range(mcu_rows):
        for mcu_column in range(mcu_columns):
            if restart_interval > 0 and to_go == 0:
                segment, start, end, exhausted = next_interval(
                    segment_ends, segment_markers, segment, next_restart, bit, end, exhausted, findings
                )
                bit = 8 * start
                in_tail = False
                prediction[:] = 0
                next_restart = (next_restart + 1) & 7
                to_go = restart_interval
            to_go -= 1
            if exhausted:
                if restart_interval == 0:
                    return
                continue
            if not in_tail and (bit >> 3) + most > end:
                bit, end = _enter_tail(buffer, bit, end, tail, most)
                in_tail = True
            for block in range(n_blocks):
                fields = mcu_blocks[block]
                component = fields.component
                row = mcu_row * fields.step_y + fields.y
                column = mcu_column * fields.step_x + fields.x
                inside = row < fields.rows and column < fields.columns
                base = unwanted
                if inside:
                    base = fields.offset + 64 * (row * fields.columns + column)
                window = load_word(buffer, np.uint64(bit >> 3)) << np.uint64(bit & 7)
                if refine:
                    out[base] |= np.int16(np.int64(window >> np.uint64(63)) << low)
                    bit += 1
                else:
                    symbol = _symbol(tables[np.uint64(fields.dc)], window, findings)
                    prediction[component] += signed_value(window, symbol)
                    out[base] = np.int16(prediction[component] << low)
                    bit += np.int64(symbol.used)
                decoded[component] += inside and not (in_tail and bit > 8 * end)
            exhausted = in_tail and bit > 8 * end
            if exhausted:
                findings[LAST_STARTED] = mcu_row * mcu_columns + mcu_column
    if not exhausted:
        findings[LEFT_OVER] += left_over(bit, end)
        findings[LAST_STARTED] = mcu_rows * mcu_columns - 1


@kernel
def decode_ac_first(
    buffer,
    segment_ends,
    segment_markers,
    restart_interval,
    blocks,
    offset,
    tables,
    first,
    last,
    low,
    zigzag,
    out,
    decoded,
    findings,
):
    """Decode the first scan of the band `first`..`last` (Ss, Se) of one component (T.81 G.1.2.2).

    The component has `blocks` blocks in `out` from `offset` on; its table is the only one.
    """
    table = tables[0]
    tail = segment_ends[segment_ends.shape[0] - 1]
    segment = 0
    next_restart = 0
    restart_at = restart_interval if restart_interval > 0 else blocks
    bit = np.int64(0)
    end = segment_ends[0]
    in_tail = False
    exhausted = False
    run_of_ends = np.int64(0)
    block = np.int64(0)
    while block < blocks:
        if block == restart_at:
            segment, start, end, exhausted = next_interval(
                segment_ends, segment_markers, segment, next_restart, bit, end, exhausted, findings
            )
            bit = 8 * start
            in_tail = False
            run_of_ends = np.int64(0)
            next_restart = (next_restart + 1) & 7
            restart_at += restart_interval
        stop = min(restart_at, blocks)
        if exhausted:
            block = stop
            continue
        if run_of_ends > 0:
            passed = min(run_of_ends, stop - block)
            run_of_ends -= passed
            block += passed
            decoded[0] += passed
            continue
        if not in_tail and (bit >> 3) + MAX_BLOCK_BYTES > end:
            bit, end = _enter_tail(buffer, bit, end, tail, MAX_BLOCK_BYTES)
            in_tail = True
        base = np.uint64(offset + 64 * block)
        k = np.int64(first)
        while k <= last:
            window = load_word(buffer, np.uint64(bit >> 3)) << np.uint64(bit & 7)
            symbol = _symbol(table, window, findings)
            bit += np.int64(symbol.used)
            run = np.int64(symbol.run)
            if symbol.size:
                k += run
                out[base + np.uint64(zigzag[np.uint64(k)])] = np.int16(signed_value(window, symbol) << low)
                k += 1
            elif run == 15:
                k += 16
            else:
                run_of_ends = (np.int64(1) << run) - 1
                run_of_ends += _bits(window << np.uint64(symbol.used), run)
                bit += run
                break
        exhausted = in_tail and bit > 8 * end
        decoded[0] += not exhausted
        if exhausted:
            findings[LAST_STARTED] = block
        block += 1
    if not exhausted:
        findings[LEFT_OVER] += left_over(bit, end)
        findings[LAST_STARTED] = blocks - 1


@kernel
def decode_ac_refine(
    buffer,
    segment_ends,
    segment_markers,
    restart_interval,
    blocks,
    offset,
    tables,
    first,
    last,
    low,
    zigzag,
    out,
    decoded,
    findings,
):
    """Decode one more bit of the band `first`..`last` of one component (T.81 G.1.2.3).

    Arguments as for `decode_ac_first`.
    """
    one = np.uint64(1)
    band = (~np.uint64(0) >> np.uint64(63 - last)) & (
        ~np.uint64(0) << np.uint64(first)
    )  # bits by zigzag index
    table = tables[0]
    tail = segment_ends[segment_ends.shape[0] - 1]
    segment = 0
    next_restart = 0
    restart_at = restart_interval if restart_interval > 0 else blocks
    bit = np.int64(0)
    end = segment_ends[0]
    in_tail = False
    exhausted = False
    run_of_ends = np.int64(0)
    block = np.int64(0)
    while block < blocks:
        if block == restart_at:
            segment, start, end, exhausted = next_interval(
                segment_ends, segment_markers, segment, next_restart, bit, end, exhausted, findings
            )
            bit = 8 * start
            in_tail = False
            run_of_ends = np.int64(0)
            next_restart = (next_restart + 1) & 7
            restart_at += restart_interval
        if exhausted:
            block = min(restart_at, blocks)
            continue
        if not in_tail and (bit >> 3) + MAX_BLOCK_BYTES > end:
            bit, end = _enter_tail(buffer, bit, end, tail, MAX_BLOCK_BYTES)
            in_tail = True
        base = np.uint64(offset + 64 * block)
        there = present(out, base)
        ahead = band
        window = np.uint64(0)
        left = np.int64(0)
        while ahead:
            if left < 32:
                window = load_word(buffer, np.uint64(bit >> 3)) << np.uint64(bit & 7)
                left = 64 - (bit & 7)
            value = np.int64(0)
            zero = np.uint64(0)  # the bit of the coefficient that gets the value
            if run_of_ends == 0:
                symbol = _symbol(table, window, findings)
                # SSSS is 0 or 1 here, and stands for one sign bit.
                size = np.int64(symbol.size)
                run = np.int64(symbol.run)
                length = np.int64(symbol.used) - size
                window <<= np.uint64(length)
                if size:
                    value = np.int64(1) << low if window >> np.uint64(63) else -(np.int64(1) << low)
                    length += 1
                    window <<= np.uint64(1)
                elif run < 15:
                    run_of_ends = (np.int64(1) << run) + _bits(window, run)
                    length += run
                    window <<= np.uint64(run)
                bit += length
                left -= length
                if run_of_ends == 0:
                    zeros = ahead & ~there
                    for _ in range(run):
                        zeros &= zeros - one
                    zero = zeros & (~zeros + one)
            # What is not zero is corrected up to there, to the end of the band if there are too few zeros.
            passed = ahead & (zero - one)
            ahead &= ~(zero | (zero - one))
            corrected = passed & there
            while corrected:
                place = base + np.uint64(zigzag[lowest_bit(corrected)])
                corrected &= corrected - one
                if left == 0:
                    window = load_word(buffer, np.uint64(bit >> 3)) << np.uint64(bit & 7)
                    left = 64 - (bit & 7)
                # Without a branch, as correction bits cannot be foreseen.
                coefficient = np.int64(out[place])
                correct = np.int64(window >> np.uint64(63)) & ~(coefficient >> low)
                sign = (coefficient >> 63) | 1
                out[place] = np.int16(coefficient + sign * (correct << low))
                window <<= one
                left -= 1
                bit += 1
            if value:
                k = lowest_bit(zero) if zero else np.uint64(last + 1)
                out[base + np.uint64(zigzag[k])] = np.int16(value)
        if run_of_ends > 0:
            run_of_ends -= 1
        exhausted = in_tail and bit > 8 * end
        decoded[0] += not exhausted
        if exhausted:
            findings[LAST_STARTED] = block
        block += 1
    if not exhausted:
        findings[LEFT_OVER] += left_over(bit, end)
        findings[LAST_STARTED] = blocks - 1


@kernel
def _enter_tail(buffer, bit, end, tail, most):
    """Copy what is left of a segment in front of zeros; return the bit to go on with, and the copy's end."""
    move_tail(buffer, bit >> 3, end, tail, most)
    return 8 * tail + (bit & 7), end + tail - (bit >> 3)


@inlined
def _symbol(table, window, findings):
    """Return the `SYMBOL` that leads the window."""
    place = window >> np.uint64(64 - LOOKUP_BITS)
    if table.symbols[place].used == 0:
        place = code_place(table, window)
        findings[BAD_CODES] += place == NO_CODE
    return table.symbols[place]


@kernel
def _bits(window, size):
    """Return the first `size` bits of `window`, 0 of them as 0."""
    return np.int64((window >> np.uint64(1)) >> np.uint64(63 - size))
