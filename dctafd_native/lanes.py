"""Arithmetic on short vectors of whole numbers, for kernels whose loops LLVM does not vectorise by itself.

Numba widens sums of 8- and 16-bit numbers to 64 bits, which costs most of what vector registers offer.
Inside an intrinsic, `Lanes` keeps the width that it is told: it wraps an LLVM vector and offers operators, so
that formulas read like those on NumPy arrays. LLVM turns the vectors into whatever the processor has.

`load` and `store` check no bounds, not even with ``NUMBA_BOUNDSCHECK=1``: a kernel that uses them computes
its limits from the arrays' shapes. Numba's cache does not notice changes in this file: after one, remove the
kernels' ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array

_SHORT = 128
"""Bits of a vector within which any processor interleaves lanes in one step."""


class Lanes:
    """A vector of whole numbers of one width; every operation wraps to that width."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder = builder
        self.value = value

    @property
    def count(self) -> int:
        """Number of lanes."""
        return int(self.value.type.count)

    @property
    def bits(self) -> int:
        """Width of each lane."""
        return int(self.value.type.element.width)

    def same(self, numbers: int | Sequence[int]) -> Lanes:
        """Return constant lanes like these: one number for all, or one a lane."""
        values = [numbers] * self.count if isinstance(numbers, int) else list(numbers)
        return Lanes(self.builder, ir.Constant(self.value.type, values))

    def _apply(self, operation: Any, other: Lanes | int) -> Lanes:
        other = other if isinstance(other, Lanes) else self.same(other)
        return Lanes(self.builder, operation(self.value, other.value))

    def __add__(self, other: Lanes | int) -> Lanes:
        return self._apply(self.builder.add, other)

    def __sub__(self, other: Lanes | int) -> Lanes:
        return self._apply(self.builder.sub, other)

    def __mul__(self, other: Lanes | int) -> Lanes:
        return self._apply(self.builder.mul, other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self._apply(self.builder.or_, other)

    def __lshift__(self, bits: int) -> Lanes:
        return self._apply(self.builder.shl, bits)

    def __rshift__(self, bits: int) -> Lanes:
        """Shift right, keeping the sign."""
        return self._apply(self.builder.ashr, bits)

    def clamp(self, low: Lanes | int, high: Lanes | int) -> Lanes:
        """Limit every lane to low..high."""
        builder, value = self.builder, self.value
        for limit, outside in ((low, "<"), (high, ">")):
            bound = (limit if isinstance(limit, Lanes) else self.same(limit)).value
            value = builder.select(builder.icmp_signed(outside, value, bound), bound, value)
        return Lanes(builder, value)

    def widened(self, bits: int, signed: bool) -> Lanes:
        """Return the same numbers in wider lanes."""
        extend = self.builder.sext if signed else self.builder.zext
        return Lanes(self.builder, extend(self.value, ir.VectorType(ir.IntType(bits), self.count)))

    def narrowed(self, bits: int) -> Lanes:
        """Return the lowest bits of each lane."""
        return Lanes(
            self.builder, self.builder.trunc(self.value, ir.VectorType(ir.IntType(bits), self.count))
        )

    def as_floats(self) -> ir.Value:
        """Return the same numbers as an LLVM vector of float32."""
        return self.builder.sitofp(self.value, ir.VectorType(ir.FloatType(), self.count))

    def as_bytes(self) -> Lanes:
        """Return the lanes' memory as lanes of 8 bits, lowest byte first."""
        size = self.count * self.bits // 8
        return Lanes(self.builder, self.builder.bitcast(self.value, ir.VectorType(ir.IntType(8), size)))

    def pick(self, lanes: Sequence[int], other: Lanes | None = None) -> Lanes:
        """Return chosen lanes: 0..count-1 of these, then those of `other`."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        second = self.value if other is None else other.value
        return Lanes(self.builder, self.builder.shuffle_vector(self.value, second, mask))


def transposed(rows: Sequence[Lanes]) -> list[Lanes]:
    """Transpose n vectors of n lanes, by the steps for which processors have instructions."""
    rows = list(rows)
    count = len(rows)
    if count * rows[0].bits > _SHORT:
        return _transposed_by_quadrants(rows)
    low = [lane // 2 + count * (lane % 2) for lane in range(count)]
    high = [lane + count // 2 for lane in low]
    for _ in range(count.bit_length() - 1):
        pairs = list(zip(rows[: count // 2], rows[count // 2 :], strict=True))
        rows = [a.pick(half, b) for a, b in pairs for half in (low, high)]
    return rows


def _transposed_by_quadrants(rows: list[Lanes]) -> list[Lanes]:
    """Transpose by swapping quadrants, then their quarters, down to single lanes."""
    size, count = len(rows) // 2, len(rows)
    while size:
        upper = [lane + count - size if lane & size else lane for lane in range(count)]
        lower = [lane + count if lane & size else lane + size for lane in range(count)]
        for i in range(count):
            if not i & size:
                a, b = rows[i], rows[i + size]
                rows[i], rows[i + size] = a.pick(upper, b), a.pick(lower, b)
        size //= 2
    return rows


def splat(builder: ir.IRBuilder, number: ir.Value, count: int) -> Lanes:
    """Return `count` lanes of one number."""
    vector = ir.VectorType(number.type, count)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return Lanes(builder, single).pick([0] * count)


def address(
    context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, *index: ir.Value | int
) -> ir.Value:
    """Return the address of an element; `index` may leave out the last axes, which means 0."""
    view = make_array(kind)(context, builder, array)
    strides = cgutils.unpack_tuple(builder, view.strides)
    place = builder.ptrtoint(view.data, strides[0].type)
    for step, position in zip(strides, index, strict=False):
        if isinstance(position, int):
            position = ir.Constant(step.type, position)
        place = builder.add(place, builder.mul(step, position))
    return builder.inttoptr(place, view.data.type)


def stride(context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, axis: int) -> ir.Value:
    """Return the bytes from one element of an array to the next along an axis."""
    view = make_array(kind)(context, builder, array)
    return cgutils.unpack_tuple(builder, view.strides)[axis]


def load(builder: ir.IRBuilder, pointer: ir.Value, bits: int, count: int) -> Lanes:
    """Load `count` adjacent numbers of `bits` bits."""
    vector = ir.VectorType(ir.IntType(bits), count)
    return Lanes(builder, builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1, typ=vector))


def store(lanes: Lanes, pointer: ir.Value) -> None:
    """Store lanes next to each other."""
    builder = lanes.builder
    builder.store(lanes.value, builder.bitcast(pointer, lanes.value.type.as_pointer()), align=1)
