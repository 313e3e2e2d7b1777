"""Many numbers as the bits of one, which says where they are not zero, so that all are looked at in one step.

As with `lanes`, no bounds are checked, and Numba's cache does not notice changes in this file.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from dctafd_native.lanes import address, load
from dctafd_native.zigzag import ZIGZAG


def _write_present(typingctx, coefficients, place):
    """Return which of the 64 int16 from `place` on, in natural order, are not 0: bit k for zigzag index k."""

    def codegen(context, builder, signature, arguments):
        pointer = address(context, builder, signature.args[0], *arguments)
        block = load(builder, pointer, 16, 64).pick(ZIGZAG).value
        present = builder.icmp_unsigned("!=", block, ir.Constant(block.type, [0] * 64))
        return builder.bitcast(present, ir.IntType(64))

    return types.uint64(coefficients, types.uint64), codegen


def _write_nonzero_mask(typingctx, values, row, column):
    """Return which of the 64 numbers of a row from `column` on are not 0: bit n for the n-th."""

    def codegen(context, builder, signature, arguments):
        kind = signature.args[0]
        bits = kind.dtype.bitwidth
        numbers = load(builder, address(context, builder, kind, *arguments), bits, 64).value
        if isinstance(kind.dtype, types.Float):  # -0.0 is 0, too
            numbers = builder.shl(numbers, ir.Constant(numbers.type, [1] * 64))
        set_ = builder.icmp_unsigned("!=", numbers, ir.Constant(numbers.type, [0] * 64))
        return builder.bitcast(set_, ir.IntType(64))

    return types.uint64(values, types.int64, types.int64), codegen


def _write_lowest_bit(typingctx, mask):
    """Return the number of the lowest bit of a uint64 that is set; 64 for 0."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), codegen


present: Any = intrinsic(_write_present)
nonzero_mask: Any = intrinsic(_write_nonzero_mask)
lowest_bit: Any = intrinsic(_write_lowest_bit)
