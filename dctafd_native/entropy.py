"""Huffman decoding of sequential scans (T.81 F.2.2) from data that `entropy_segments.unstuff` has cleaned.

The bits ahead are kept left-aligned in a 64-bit word, `window`, of which `count` bits are valid; it is
refilled with an unaligned big-endian load of eight bytes (LLVM joins the eight byte loads into one). A symbol
costs at most one table look-up: an entry says how many bits code and value take together, so the next look-up
does not wait for a value to be worked out, and one of AC often holds two symbols with their values.

What limits the speed is that each look-up waits for the one before: shift, load, shift. Whatever else the
processor has to do competes with these three, so it comes behind them, and as little of it as possible is
shifts: entries are records, not words to take apart.

Two symbols of short codes take at most 50 of the 56 bits that a refill leaves, and a short and a long one 56,
so every second look-up refills, without asking.

No index is checked inside a block. Instead each MCU starts only where the longest possible MCU still fits
into the bytes ahead; the end of a segment is first copied in front of zeros, which also gives what libjpeg
gives where data ends early: the MCU is completed with zero bits, and those that follow stay empty.
"""

import numpy as np

from dctafd_native.entropy_data import (
    BAD_CODES,
    LEFT_OVER,
    MAX_BLOCK_BYTES,
    left_over,
    move_tail,
    next_interval,
    refill,
)
from dctafd_native.entropy_tables import (
    LOOKUP_BITS,
    NO_CODE,
    PAIR_BITS,
    SKIP_BITS,
    code_place,
    signed_value,
)
from dctafd_native.jit import kernel

MCU_BLOCK = np.dtype(
    [
        (name, np.int64)
        for name in (
            "component", "x", "y", "dc", "ac", "skips",
            "step_x", "step_y", "rows", "columns",
            "keep", "top", "bottom", "left", "right", "offset",
            "grid_rows", "grid_columns", "grid_width", "grid_offset",
        )
    ]
)  # fmt: skip
"""One block of the MCUs of a scan.

`component` and its place `x`, `y` within the MCU; which of `tables` are its own (`dc`, `ac`), and whether
the latter has `skips`, without which nothing is passed over. Then, of its component: blocks of one MCU each
way (`step_x`, `step_y`) and size in blocks (`rows`, `columns`); the side of the corner that is kept of each
block (`keep`), for which window of blocks (`top`, `bottom`, `left`, `right`), and where the first coefficient
goes in `out` (`offset`); where its two maps start in `grid_maps` (`grid_rows`, `grid_columns`; -1 for no
grid), how many columns of blocks the grid keeps (`grid_width`), and where its first coefficient goes in `out`
(`grid_offset`).
"""

_PLACE = np.dtype([(name, np.int64) for name in ("target", "first", "last", "stride", "grid", "inside")])
"""What `_place_row` works out for a block of the MCUs of one row: where it goes in `out` but for its column,
columns of the window, coefficients kept of a block, where it goes in the grid, columns of the component."""

_BYTES_A_MISS = 7
"""With fewer bytes of data to each symbol that does not fit the table of pairs, looking up each symbol by
itself is faster: that never surprises the processor. Bits a block would not tell it: photos compressed a
second time, and better, get there at 100, others not at 300."""


@kernel
def decode_sequential(
    buffer,
    segment_ends,
    segment_markers,
    restart_interval,
    mcu_rows,
    mcu_columns,
    mcu_blocks,
    grid_maps,
    tables,
    zigzag,
    clear,
    overlay,
    out,
    decoded,
    findings,
):
    """Decode one sequential scan, keeping of each block what `mcu_blocks` asks for.

    Args:
        buffer: (n,) uint8, the segments one after the other, then `tail_space` bytes to work in.
        segment_ends: (s,) int64, where each segment ends in `buffer`.
        segment_markers: (s,) uint8, second byte of the marker behind each segment.
        restart_interval: MCUs between restart markers, 0 for none.
        mcu_rows, mcu_columns: the scan's MCUs; fewer rows may be asked for than there are.
        mcu_blocks: (b,) `MCU_BLOCK`, the blocks of one MCU in order.
        grid_maps: (g,) int64, by block row or column: its place among those that the grid keeps, or -1.
        tables: (t,) `TABLE`, as `mcu_blocks` numbers them.
        zigzag: (128,) uint8, natural index by zigzag index; 63 from 64 on.
        clear: whether `out` holds anything but zeros; blocks that are not decoded are then left so.
        overlay: whether `out` holds an earlier scan of the same blocks, of which stays what is 0 in this one.
        out: (m,) int16; receives KEEP x KEEP coefficients a block of the window and 64 a block of the
            grid, in natural order. The last 64 are zeros to work in.
        decoded: (4,) int64, receives the number of blocks that were read whole, padding not counted.
        findings: (4,) int64, receives numbers of invalid codes, of bytes left over at the ends of segments,
            and of restart markers that were not where they should be; the fourth is for progressive scans.
    """
    full = np.uint64(64)
    n_blocks = mcu_blocks.shape[0]
    most = n_blocks * MAX_BLOCK_BYTES
    tail = segment_ends[segment_ends.shape[0] - 1]
    scratch = np.int64(out.shape[0] - 64)
    prediction = np.zeros(4, dtype=np.int64)
    places = np.zeros(n_blocks, dtype=_PLACE)

    segment = np.int64(0)
    next_restart = 0
    to_go = restart_interval
    position = np.uint64(0)
    end = segment_ends[0]
    in_tail = False
    exhausted = False
    window = np.uint64(0)
    count = np.uint64(0)
    single = False

    for mcu_row in range(mcu_rows):
        _place_row(mcu_blocks, grid_maps, mcu_row, places)
        row_start = np.int64(position)
        missed = 0
        for mcu_column in range(mcu_columns):
            if restart_interval > 0 and to_go == 0:
                bit = 8 * np.int64(position) - np.int64(count)
                segment, start, end, exhausted = next_interval(
                    segment_ends, segment_markers, segment, next_restart, bit, end, exhausted, findings
                )
                position = np.uint64(start)
                in_tail = False
                window = np.uint64(0)
                count = np.uint64(0)
                prediction[:] = 0
                next_restart = (next_restart + 1) & 7
                to_go = restart_interval
            to_go -= 1
            if exhausted:
                if restart_interval == 0:
                    return
                continue
            if not in_tail and np.int64(position) + most > end:
                move_tail(buffer, np.int64(position), end, tail, most)
                # The bits that do not count yet come again, from the copy.
                window = (window >> (full - count)) << (full - count) if count > 0 else np.uint64(0)
                end = tail + end - np.int64(position)
                position = np.uint64(tail)
                in_tail = True

            for block in range(n_blocks):
                fields = mcu_blocks[np.uint64(block)]
                place = places[np.uint64(block)]
                component = np.uint64(fields.component)

                position, window, count = refill(buffer, position, window, count)
                table = tables[np.uint64(fields.dc)]
                index = window >> np.uint64(64 - LOOKUP_BITS)
                if table.symbols[index].used == 0:
                    index = code_place(table, window)
                    findings[BAD_CODES] += index == NO_CODE
                symbol = table.symbols[index]
                prediction[component] += signed_value(window, symbol)
                window <<= np.uint64(symbol.used)
                count -= np.uint64(symbol.used)

                column = mcu_column * fields.step_x + fields.x
                decoded[component] += column < place.inside
                stride = place.stride
                target = np.int64(-1)
                if place.first <= column < place.last:
                    target = place.target + column * stride
                grid_target = np.int64(-1)
                if place.grid >= 0 and column < place.inside:
                    grid_column = grid_maps[fields.grid_columns + column]
                    if grid_column >= 0:
                        grid_target = place.grid + 64 * grid_column

                table = tables[np.uint64(fields.ac)]
                if fields.skips and grid_target < 0 and (target < 0 or stride == 1):
                    # Of such a block at most the mean is wanted.
                    if target >= 0:
                        out[target] = np.int16(prediction[component])
                    k = np.uint64(1)
                    while k < np.uint64(64):
                        position, window, count = refill(buffer, position, window, count)
                        for _ in range(2):
                            skip = np.uint64(table.skips[window >> np.uint64(64 - SKIP_BITS)])
                            if k + ((skip >> np.uint64(4)) & np.uint64(63)) < np.uint64(64):
                                used = skip & np.uint64(15)
                                k += skip >> np.uint64(10)
                            else:
                                place = window >> np.uint64(64 - LOOKUP_BITS)
                                if table.symbols[place].used == 0:
                                    place = code_place(table, window)
                                    findings[BAD_CODES] += place == NO_CODE
                                    if count < np.uint64(32):
                                        position, window, count = refill(buffer, position, window, count)
                                symbol = table.symbols[place]
                                used = np.uint64(symbol.used)
                                k += np.uint64(symbol.run) + np.uint64(1)
                            window <<= used
                            count -= used
                            if k >= np.uint64(64):
                                break
                    continue

                base = np.uint64(scratch)
                if target >= 0 and grid_target < 0 and stride == 64 and not overlay:
                    base = np.uint64(target)
                    if clear:
                        for i in range(64):
                            out[base + np.uint64(i)] = 0
                out[base] = np.int16(prediction[component])
                k = np.uint64(1)
                if single:
                    while k < np.uint64(64):
                        position, window, count = refill(buffer, position, window, count)
                        for _ in range(2):
                            place = window >> np.uint64(64 - LOOKUP_BITS)
                            if table.symbols[place].used == 0:
                                place = code_place(table, window)
                                findings[BAD_CODES] += place == NO_CODE
                                if count < np.uint64(32):
                                    position, window, count = refill(buffer, position, window, count)
                            symbol = table.symbols[place]
                            ahead = window
                            window <<= np.uint64(symbol.used)
                            count -= np.uint64(symbol.used)
                            # The zero of EOB and of a run of 16 does no harm: nothing lies from k on yet.
                            k += np.uint64(symbol.run)
                            out[base + np.uint64(zigzag[k])] = np.int16(signed_value(ahead, symbol))
                            k += np.uint64(1)
                            if k >= np.uint64(64):
                                break
                else:
                    while k < np.uint64(64):
                        position, window, count = refill(buffer, position, window, count)
                        for _ in range(2):
                            pair = table.pairs[window >> np.uint64(64 - PAIR_BITS)]
                            place = k + np.uint64(pair.run)
                            if place < np.uint64(63):
                                window <<= np.uint64(pair.used)
                                count -= np.uint64(pair.used)
                                # The zeros of EOB and of a second symbol that is not there do no harm.
                                out[base + np.uint64(zigzag[place])] = pair.first
                                place += np.uint64(pair.step)
                                out[base + np.uint64(zigzag[place])] = pair.second
                                k = place + np.uint64(pair.more)
                            else:
                                missed += 1
                                place = window >> np.uint64(64 - LOOKUP_BITS)
                                if table.symbols[place].used == 0:
                                    place = code_place(table, window)
                                    findings[BAD_CODES] += place == NO_CODE
                                    if count < np.uint64(32):
                                        position, window, count = refill(buffer, position, window, count)
                                symbol = table.symbols[place]
                                k += np.uint64(symbol.run)
                                out[base + np.uint64(zigzag[k])] = np.int16(signed_value(window, symbol))
                                k += np.uint64(1)
                                window <<= np.uint64(symbol.used)
                                count -= np.uint64(symbol.used)
                            if k >= np.uint64(64):
                                break

                if base == np.uint64(scratch):
                    keep = fields.keep
                    _keep(out, scratch, target, keep, grid_target, overlay)

            if in_tail and 8 * np.int64(position) - np.int64(count) > 8 * end:
                exhausted = True
                for block in range(n_blocks):
                    fields = mcu_blocks[block]
                    if mcu_column * fields.step_x + fields.x < places[block].inside:
                        decoded[fields.component] -= 1
        # The next row is looked up as suits this one; in every 16th, pairs are tried again.
        if mcu_row % 16 == 15:
            single = False
        elif _BYTES_A_MISS * missed > np.int64(position) - row_start:
            single = True
    if not exhausted:
        findings[LEFT_OVER] += left_over(8 * np.int64(position) - np.int64(count), end)


@kernel
def _place_row(mcu_blocks, grid_maps, mcu_row, places):
    """Work out for each block of the MCUs of one row where in `out` it goes, up to its column."""
    for block in range(mcu_blocks.shape[0]):
        fields = mcu_blocks[block]
        row = mcu_row * fields.step_y + fields.y
        stride = fields.keep**2
        in_window = fields.top <= row < fields.bottom
        width = fields.right - fields.left
        inside = fields.columns if row < fields.rows else 0
        grid = np.int64(-1)
        if fields.grid_rows >= 0 and inside > 0:
            grid_row = grid_maps[fields.grid_rows + row]
            if grid_row >= 0:
                grid = fields.grid_offset + 64 * grid_row * fields.grid_width
        place = places[block]
        place.target = fields.offset + ((row - fields.top) * width - fields.left) * stride
        place.first = fields.left
        place.last = fields.right if in_window else 0
        place.stride = stride
        place.grid = grid
        place.inside = inside


@kernel
def _keep(out, scratch, target, keep, grid_target, overlay):
    """Copy what is wanted of the block at `scratch`, and make it zeros again."""
    if target >= 0:
        for i in range(keep):
            for j in range(keep):
                value = out[scratch + 8 * i + j]
                if not overlay or value != 0 or i + j == 0:
                    out[target + i * keep + j] = value
    if grid_target >= 0:
        out[grid_target : grid_target + 64] = out[scratch : scratch + 64]
    out[scratch : scratch + 64] = 0
