"""Scans decoded in several parts: whatever the bytes, what comes out is what one thread makes of them."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import dctafd
from dctafd.config import Limits
from dctafd.errors import DctafdError
from dctafd.jpeg import numba_engine, scan_parts
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.partial import ComponentPlan
from tests.jpeg.test_partial import random_plan
from tests.support.jpeg_files import encode, photo_like
from tests.support.jpeg_writer import frame_of, random_coefficients, write_sequential
from tests.support.mutations import damaged_scan, mutated

RESTARTS: list[dict[str, Any]] = [
    {"restart_marker_blocks": 1},
    {"restart_marker_blocks": 4},
    {"restart_marker_blocks": 7},
    {"restart_marker_rows": 1},
    {"restart_marker_rows": 3},
    {"restart_marker_blocks": 2, "progressive": True},
    {"restart_marker_rows": 1, "progressive": True},
]
PHOTO, GRAY = photo_like(200, 150), photo_like(90, 130, 1)
FILES = [
    encode(PHOTO, 80, subsampling=name, **options)
    for name in ("4:4:4", "4:2:2", "4:2:0")
    for options in RESTARTS
]
FILES += [encode(GRAY, **options) for options in RESTARTS]
FILES += [encode(photo_like(61, 93, 4), mode="CMYK", **options) for options in RESTARTS]

_LEAST_BYTES = scan_parts._LEAST_BYTES

Answer = tuple[tuple[str, ...], list[NDArray[np.int16]], list[Any]]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_parts, "_LEAST_BYTES", 16)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """First row and end of each part that is decoded by itself."""
    made: list[tuple[int, int]] = []
    cut = scan_parts._part

    def noted(whole: scan_parts.Part, number: int, first: int, end: int, *others: Any) -> scan_parts.Part:
        made.append((first, end))
        return cut(whole, number, first, end, *others)

    monkeypatch.setattr(scan_parts, "_part", noted)
    return made


def answer(data: bytes, threads: int) -> Answer | tuple[type[DctafdError], str]:
    try:
        jpeg = dctafd.read(data, "numba", 300_000, threads=threads)
    except DctafdError as error:
        return type(error), str(error)
    bits = [None if part.missing_bits is None else part.missing_bits.tolist() for part in jpeg.components]
    return jpeg.warnings, [part.coefficients for part in jpeg.components], bits


def check(data: bytes, threads: int = 3) -> None:
    alone, together = answer(data, 1), answer(data, threads)
    assert together[0] == alone[0]
    assert together[2:] == alone[2:]
    if isinstance(alone[0], type):
        assert together[1] == alone[1]
        return
    for ours, expected in zip(together[1], alone[1], strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("number", range(len(FILES)))
def test_all_parts_together_give_what_libjpeg_gives(number: int, parts: list[tuple[int, int]]) -> None:
    theirs = dctafd.read(FILES[number], engine="jpeglib").components
    for threads in (2, 5):
        jpeg = dctafd.read(FILES[number], engine="numba", strict=True, threads=threads)
        for mine, reference in zip(jpeg.components, theirs, strict=True):
            np.testing.assert_array_equal(mine.coefficients, reference.coefficients)
    assert parts


FACTORS = [[(1, 1)], [(3, 4)], [(2, 2), (1, 1), (1, 1)], [(4, 1), (1, 1), (1, 1)], [(1, 2), (2, 1), (1, 1)]]


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_any_sampling_and_interval(factors: list[tuple[int, int]], parts: list[tuple[int, int]]) -> None:
    frame = frame_of(117, 150, factors)
    written = random_coefficients(frame)
    columns = frame.mcu_columns
    for interval in (1, 2, 5, columns, 2 * columns, columns + 1, 1000):
        data = write_sequential(frame, written, restart_interval=interval)
        jpeg = dctafd.read(data, engine="numba", strict=True, threads=2)
        for component, expected in zip(jpeg.components, written, strict=True):
            np.testing.assert_array_equal(component.coefficients, expected)
    assert parts


def test_scans_of_their_own() -> None:
    frame = frame_of(117, 90, [(2, 2), (1, 1), (2, 1)])
    for interval in (1, 3, 8):
        check(write_sequential(frame, random_coefficients(frame), [[1], [0], [2]], interval))
        check(write_sequential(frame, random_coefficients(frame), [[0, 1], [2]], interval))


@pytest.mark.parametrize("number", range(0, len(FILES), 2))
def test_what_is_read_of_a_crop(number: int, parts: list[tuple[int, int]]) -> None:
    structure = parse_markers(FILES[number])
    rng = np.random.default_rng(number)
    for _ in range(8):
        plans = [random_plan(rng, *shape) for shape in structure.frame.blocks]
        alone = numba_engine.decode(FILES[number], structure, plans)
        together = numba_engine.decode(FILES[number], structure, plans, threads=4)
        assert together.damage == alone.damage == []
        for ours, expected in zip(together.components, alone.components, strict=True):
            np.testing.assert_array_equal(ours.corners, expected.corners)
            np.testing.assert_array_equal(ours.grid, expected.grid)
    assert parts


def test_nothing_is_read_of_a_scan() -> None:
    structure = parse_markers(FILES[0])
    nothing = [ComponentPlan(8, (0, 0, 0, 0)) for _ in structure.frame.components]
    decoded = numba_engine.decode(FILES[0], structure, nothing, threads=2)
    assert decoded.damage == []


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(number=st.integers(0, len(FILES) - 1), seed=st.integers(0, 2**32))
def test_damaged_scans_and_files(number: int, seed: int) -> None:
    check(damaged_scan(FILES[number], random.Random(seed)))
    check(mutated(FILES[number], seed))


def markers_of(data: bytes) -> list[int]:
    """Return where the restart markers of the first scan are."""
    scan = parse_markers(data).scans[0]
    return [i for i in range(scan.start, scan.end - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]


def lost(data: bytearray, places: list[int], rng: random.Random) -> None:
    start = rng.choice(places)
    del data[start : start + 2]


def doubled(data: bytearray, places: list[int], rng: random.Random) -> None:
    start = rng.choice(places)
    data[start:start] = data[start : start + 2]


def renumbered(data: bytearray, places: list[int], rng: random.Random) -> None:
    data[rng.choice(places) + 1] = 0xD0 + rng.randrange(8)


def interval_lost(data: bytearray, places: list[int], rng: random.Random) -> None:
    first = rng.randrange(len(places) - 1)
    del data[places[first] : places[first + 1]]


def interval_emptied(data: bytearray, places: list[int], rng: random.Random) -> None:
    first = rng.randrange(len(places) - 1)
    del data[places[first] + 2 : places[first + 1]]


def eight_lost(data: bytearray, places: list[int], rng: random.Random) -> None:
    first = rng.randrange(max(len(places) - 8, 1))
    del data[places[first] : places[min(first + 8, len(places) - 1)]]


def eight_doubled(data: bytearray, places: list[int], rng: random.Random) -> None:
    first = rng.randrange(max(len(places) - 8, 1))
    end = places[min(first + 8, len(places) - 1)]
    data[end:end] = data[places[first] : end]


def first_emptied(data: bytearray, places: list[int], rng: random.Random) -> None:
    start = parse_markers(bytes(data)).scans[0].start
    for first, end in reversed([*zip([start - 2, *places], places, strict=False)][: rng.randrange(1, 20)]):
        del data[first + 2 : end]


@pytest.mark.parametrize(
    "change",
    [lost, doubled, renumbered, interval_lost, interval_emptied, eight_lost, eight_doubled, first_emptied],
)
def test_restart_markers_out_of_order(
    change: Callable[[bytearray, list[int], random.Random], None],
) -> None:
    for number, data in enumerate(FILES):
        changed = bytearray(data)
        change(changed, markers_of(data), random.Random(number))
        check(bytes(changed))


def test_parts_are_few_whatever_the_intervals(parts: list[tuple[int, int]]) -> None:
    data = encode(photo_like(640, 480), 90, subsampling="4:4:4", restart_marker_blocks=1)
    dctafd.read(data, strict=True, threads=2)
    assert 4 <= len(parts) <= 8
    assert [first for first, _ in sorted(parts)[1:]] == [end for _, end in sorted(parts)[:-1]]
    sizes = [end - first for first, end in parts]
    assert max(sizes) <= 2 * min(sizes)
    parts.clear()
    dctafd.read(data, strict=True, threads=1000)
    assert len(parts) <= 60


def test_small_photos_and_single_threads_stay_in_one_piece(
    parts: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dctafd.read(FILES[0])
    monkeypatch.setattr(scan_parts, "_LEAST_BYTES", _LEAST_BYTES)
    dctafd.read(FILES[0], threads=8)
    assert not parts


def test_prepare_uses_them(parts: list[tuple[int, int]]) -> None:
    data = encode(photo_like(700, 600), 80, restart_marker_rows=1)
    alone, together = dctafd.prepare(data), dctafd.prepare(data, threads=2)
    assert parts
    np.testing.assert_array_equal(together.pixels, alone.pixels)
    np.testing.assert_array_equal(together.coefficients, alone.coefficients)


def test_less_than_one_thread() -> None:
    with pytest.raises(ValueError, match="threads is a whole number, at least 1, not 0"):
        dctafd.read(FILES[0], threads=0)
    assert Limits().threads == 1
