"""What all entropy decoders share: words of bits, ends of segments, restart intervals (T.81 F.2.2.5)."""

import numpy as np

from dctafd_native.jit import inlined, kernel

MAX_BLOCK_BYTES = 256
"""A block takes at most 32 bits for DC and 63 times 31 bits for AC: 249 bytes, and 7 are loaded ahead."""

BAD_CODES, LEFT_OVER, LOST_RESTARTS, LAST_STARTED = range(4)
"""Places in `findings`."""


def tail_space(blocks_in_mcu):
    """Return the bytes that a decoder's buffer needs behind the entropy-coded data."""
    return 2 * MAX_BLOCK_BYTES * blocks_in_mcu + 32


@kernel
def load_word(buffer, position):
    """Return the eight bytes from `position` on as a big-endian number."""
    one = np.uint64(1)
    word = np.uint64(buffer[position])
    for _ in range(7):
        position += one
        word = (word << np.uint64(8)) | np.uint64(buffer[position])
    return word


@inlined
def refill(buffer, position, window, count):
    """Return the position, window and count with at least 56 bits of the `window` valid.

    Its `count` first bits are valid before; `position` is that of the first byte which is not whole in them.
    """
    window |= load_word(buffer, position) >> count
    position += (np.uint64(63) - count) >> np.uint64(3)
    return position, window, count | np.uint64(56)


@kernel
def move_tail(buffer, position, end, tail, most):
    """Copy the bytes up to `end` to `tail`, where `most` and 16 zeros follow them."""
    for i in range(end - position):
        buffer[tail + i] = buffer[position + i]
    start = tail + end - position
    buffer[start : start + most + 16] = 0


@kernel
def left_over(bit, end):
    """Return the whole bytes between the bit that would be read next and the end of a segment."""
    return max(0, end - ((bit + 7) >> 3))


@kernel
def next_interval(segment_ends, segment_markers, segment, expected, bit, end, exhausted, findings):
    """Go on to the next restart interval, noting in `findings` what was left over or lost.

    Args:
        segment_ends, segment_markers, segment, expected: as for `find_restart`.
        bit: the bit that would be read next; `end`: where its segment ends.
        exhausted: whether its data had ended early.
        findings: as for `decode_sequential`.

    Returns:
        The segment to go on in, where to go on in `buffer`, where the segment ends, and whether there is
        still no data.
    """
    if not exhausted:
        findings[LEFT_OVER] += left_over(bit, end)
    segment, start, lost = find_restart(segment_ends, segment_markers, segment, expected)
    findings[LOST_RESTARTS] += lost
    end = segment_ends[segment]
    return segment, start if start >= 0 else end, end, exhausted and start < 0


@kernel
def find_restart(segment_ends, segment_markers, segment, expected):
    """Find where decoding goes on at the end of a restart interval, as libjpeg decides it.

    The rules are those of jdmarker.c, read_restart_marker and jpeg_resync_to_restart: the expected marker or
    one far from it is taken, one or two ahead is left for later (its interval was lost), one or two behind
    and reserved codes are passed over, any other marker ends the data.

    Args:
        segment_ends, segment_markers: as for `decode_sequential`.
        segment: the segment that decoding is in.
        expected: number 0..7 of the restart marker that should come.

    Returns:
        The segment to go on in; where its data starts, or -1 if this interval has none; and 1 if the marker
        behind `segment` was not the expected one, otherwise 0.
    """
    n_segments = segment_ends.shape[0]
    lost = 0
    while True:
        marker = np.int64(segment_markers[segment])
        is_restart = (marker & 0xF8) == 0xD0
        ahead = (marker - expected) & 7
        if not (is_restart and ahead == 0):
            lost = 1
        if is_restart and (ahead == 0 or 2 < ahead < 6):
            if segment + 1 == n_segments:
                return segment, np.int64(-1), 1
            return segment + 1, segment_ends[segment], lost
        if (is_restart and ahead <= 2) or (not is_restart and marker >= 0xC0) or segment + 1 == n_segments:
            return segment, np.int64(-1), lost
        segment += 1
