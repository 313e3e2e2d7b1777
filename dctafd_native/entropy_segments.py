"""Find the end of a scan's entropy-coded data; take byte stuffing and markers out of it (T.81 B.1.1.5)."""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import address

_CHUNK = 128


@kernel
def find_scan_end(data, start):
    """Return the offset of the first marker from `start` on that ends a scan, or the length of `data`.

    Restart markers, stuffed zero bytes, fill bytes and reserved codes below FF C0 do not end a scan.

    Args:
        data: (n,) uint8.
        start: offset of the first byte of entropy-coded data.
    """
    size = np.int64(data.shape[0])
    i = np.int64(start)
    while i + 1 < size:
        # Whole chunks without a candidate are passed over; this loop is vectorised.
        while i + _CHUNK < size:
            most = np.uint8(0)
            for j in range(_CHUNK):
                # FF only where FF is followed by a byte whose two highest bits are set.
                behind = data[np.uint64(i + j + 1)] | np.uint8(0x3F)
                most = max(most, np.uint8(data[np.uint64(i + j)] & behind))
            if most == np.uint8(0xFF):
                break
            i += _CHUNK
        stop = min(i + _CHUNK, size - 1)
        while i < stop:
            if data[i] == 0xFF:
                code = data[i + 1]
                if code >= 0xC0 and code != 0xFF and (code & 0xF8) != 0xD0:
                    return i
            i += 1
    return size


def _write_copied_word(typingctx, source, start, target, place):
    """Copy eight bytes, and return them as a little-endian number; LLVM does not join single bytes here.

    As with `lanes`, no bounds are checked.
    """

    def codegen(context, builder, signature, arguments):
        word = ir.IntType(64)
        addresses = [
            builder.bitcast(address(context, builder, kind, array, index), word.as_pointer())
            for kind, array, index in zip(signature.args[::2], arguments[::2], arguments[1::2], strict=True)
        ]
        value = builder.load(addresses[0], align=1, typ=word)
        builder.store(value, addresses[1], align=1)
        return value

    return types.uint64(source, types.uint64, target, types.uint64), codegen


_copy_word: Any = intrinsic(_write_copied_word)


@kernel
def unstuff(data, start, end, out, segment_ends, segment_markers):
    """Copy entropy-coded data without byte stuffing, fill bytes and markers.

    As in libjpeg (jdhuff.c, jpeg_fill_bit_buffer), FF 00 is a data byte FF, however many FF come before
    the 00; any other code ends a segment.

    Args:
        data: (n,) uint8, the file; ``data[start:end]`` is read.
        start, end: offsets, 0 <= start <= end <= n.
        out: (at least end - start,) uint8, receives the segments one after the other.
        segment_ends: (m,) int64, receives the offset in `out` where each segment ends; m >= 1.
        segment_markers: (m,) uint8, receives the second byte of the marker that ended each segment, 0xD9
            (EOI) for the end of the data.

    Returns:
        The number of segments, at least 1; data behind the m-th marker is left.
    """
    i = np.uint64(start)
    stop = np.uint64(end)
    o = np.uint64(0)
    one = np.uint64(1)
    eight = np.uint64(8)
    ones = np.uint64(0x0101010101010101)
    highs = np.uint64(0x8080808080808080)
    segments = 0
    while i < stop:
        if i + eight <= stop:
            word = _copy_word(data, i, out, o)
            # The lowest bit of `found` is in the first byte of FF: the usual search for a zero byte.
            found = (~word - ones) & word & highs
            if found == np.uint64(0):
                i += eight
                o += eight
                continue
            before = (((((found & (~found + one)) - one) & ones) * ones) >> np.uint64(56)) - one
            i += before
            o += before
        elif data[i] != np.uint8(0xFF):
            out[o] = data[i]
            i += one
            o += one
            continue
        while i < stop and data[i] == np.uint8(0xFF):
            i += one
        if i >= stop:
            break
        code = data[i]
        i += one
        if code == np.uint8(0):
            out[o] = 0xFF
            o += one
        else:
            segment_ends[segments] = np.int64(o)
            segment_markers[segments] = code
            segments += 1
            if segments == segment_ends.shape[0]:
                return segments
    segment_ends[segments] = np.int64(o)
    segment_markers[segments] = 0xD9
    return segments + 1
