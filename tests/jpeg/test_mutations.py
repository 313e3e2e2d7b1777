"""Hostile files: whatever the bytes, `read` gives coefficients or a named error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dctafd
from dctafd.config import Limits
from dctafd.errors import CorruptJpegError, DctafdError
from dctafd.jpeg.coefficients import JpegHeader
from dctafd.jpeg.partial import ComponentPlan
from dctafd.jpeg.reader import read_planned
from tests.support.jpeg_files import all_kinds
from tests.support.mutations import mutated

KINDS = sorted(all_kinds())
MAX_PIXELS = 300_000


def plan_of_parts(header: JpegHeader) -> list[ComponentPlan]:
    return [
        ComponentPlan(
            2,
            (0, part.block_rows, part.block_columns // 2, part.block_columns),
            np.array([part.block_rows - 1]),
            np.array([0]),
        )
        for part in header.components
    ]


def check(data: bytes) -> bool:
    """Read hostile bytes in every way; True where coefficients came out."""
    try:
        jpeg = dctafd.read(data, engine="numba", max_pixels=MAX_PIXELS)
    except DctafdError:
        return False
    assert jpeg.width * jpeg.height <= MAX_PIXELS
    for component in jpeg.components:
        assert component.coefficients.shape == (component.block_rows, component.block_columns, 8, 8)
    _, parts = read_planned(data, plan_of_parts, Limits(MAX_PIXELS), "numba")
    for part, component in zip(parts, jpeg.components, strict=True):
        np.testing.assert_array_equal(part.grid[0, 0], component.coefficients[-1, 0])
    try:
        strict = dctafd.read(data, engine="numba", max_pixels=MAX_PIXELS, strict=True)
    except CorruptJpegError:
        assert jpeg.warnings
    else:
        assert strict.warnings == jpeg.warnings
    return True


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32))
def test_mutated_files_give_coefficients_or_a_named_error(kind: str, seed: int) -> None:
    check(mutated(all_kinds()[kind], seed))


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(
    kind=st.sampled_from(KINDS),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    ),
    keep=st.floats(0.2, 1),
)
def test_overwritten_and_shortened_files(kind: str, changes: list[tuple[float, int]], keep: float) -> None:
    data = bytearray(all_kinds()[kind])
    for place, value in changes:
        data[2 + int(place * (len(data) - 2))] = value
    check(bytes(data[: max(2, int(keep * len(data)))]))


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(tail=st.binary(max_size=400))
def test_random_bytes_behind_a_valid_start(tail: bytes) -> None:
    data = all_kinds()["gray"]
    check(data[: data.find(b"\xff\xda")] + tail)
    check(b"\xff\xd8" + tail)


def test_mutations_reach_both_outcomes() -> None:
    outcomes = [check(mutated(all_kinds()["4:2:0 baseline"], seed)) for seed in range(60)]
    assert 10 < sum(outcomes) < 55


@pytest.mark.parametrize("kind", ["4:2:0 baseline", "4:2:0 progressive", "restart every MCU"])
def test_every_truncation(kind: str) -> None:
    data = all_kinds()[kind]
    for length in range(2, len(data), 7):
        check(data[:length])
