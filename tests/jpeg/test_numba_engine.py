import numpy as np
import pytest

import dctafd
from dctafd.errors import CorruptJpegError, UnsupportedJpegError
from tests.support.jpeg_files import all_kinds, encode, photo_like
from tests.support.jpeg_writer import frame_of, random_coefficients, write_sequential

SAMPLINGS = [
    [(1, 1)],
    [(2, 2)],
    [(3, 4)],
    [(1, 1), (1, 1), (1, 1)],
    [(2, 2), (1, 1), (1, 1)],
    [(4, 1), (1, 1), (1, 1)],
    [(4, 2), (1, 1), (1, 1)],
    [(1, 4), (1, 1), (1, 1)],
    [(3, 2), (1, 1), (3, 1)],
    [(1, 2), (2, 1), (1, 1)],
    [(1, 1), (2, 2), (2, 1)],
    [(2, 1), (1, 1), (1, 1), (2, 1)],
    [(1, 1), (1, 1), (1, 1), (1, 1)],
]


@pytest.mark.parametrize("name", all_kinds())
def test_coefficients_equal_jpeglib(name: str) -> None:
    ours = dctafd.read(all_kinds()[name], engine="numba", strict=True)
    theirs = dctafd.read(all_kinds()[name], engine="jpeglib", strict=True)
    for mine, reference in zip(ours.components, theirs.components, strict=True):
        np.testing.assert_array_equal(mine.coefficients, reference.coefficients)


@pytest.mark.parametrize("factors", SAMPLINGS, ids=str)
@pytest.mark.parametrize("restart_interval", [0, 3])
def test_any_sampling_gives_what_was_written(factors: list[tuple[int, int]], restart_interval: int) -> None:
    for size in ((1, 1), (37, 50), (64, 33)):
        frame = frame_of(*size, factors)
        written = random_coefficients(frame, seed=sum(size))
        data = write_sequential(frame, written, restart_interval=restart_interval)
        jpeg = dctafd.read(data, engine="numba", strict=True)
        for component, expected in zip(jpeg.components, written, strict=True):
            np.testing.assert_array_equal(component.coefficients, expected)


def test_scans_of_their_own_and_in_groups() -> None:
    frame = frame_of(45, 39, [(2, 2), (1, 1), (2, 1)])
    written = random_coefficients(frame)
    for scans in ([[0], [1], [2]], [[2, 0], [1]], [[1], [0, 2]]):
        data = write_sequential(frame, written, scans=scans, restart_interval=2)
        jpeg = dctafd.read(data, engine="numba", strict=True)
        assert jpeg.scans == len(scans)
        for component, expected in zip(jpeg.components, written, strict=True):
            np.testing.assert_array_equal(component.coefficients, expected)


def test_what_a_later_scan_says_is_zero_stays_what_an_earlier_one_said() -> None:
    frame = frame_of(45, 39, [(2, 2), (1, 1), (1, 1)])
    first, later = random_coefficients(frame, 1), random_coefficients(frame, 2)
    again = write_sequential(frame, later, scans=[[0]])
    data = write_sequential(frame, first)[:-2] + again[again.rfind(b"\xff\xda") :]
    expected = np.where(later[0] != 0, later[0], first[0])
    expected[..., 0, 0] = later[0][..., 0, 0]
    found = dctafd.read(data, engine="numba").components
    np.testing.assert_array_equal(found[0].coefficients, expected)
    np.testing.assert_array_equal(found[1].coefficients, first[1])


def test_height_from_dnl_and_tables_from_the_standard() -> None:
    frame = frame_of(30, 21, [(2, 1), (1, 1), (1, 1)])
    written = random_coefficients(frame)
    jpeg = dctafd.read(write_sequential(frame, written, dnl=True, tables=False), engine="numba", strict=True)
    assert (jpeg.width, jpeg.height) == (30, 21)
    for component, expected in zip(jpeg.components, written, strict=True):
        np.testing.assert_array_equal(component.coefficients, expected)


def test_standard_tables_are_those_that_pillow_writes() -> None:
    data = encode(photo_like(40, 40), 75)
    without = data
    while (start := without.find(b"\xff\xc4")) >= 0:
        end = start + 2 + int.from_bytes(without[start + 2 : start + 4], "big")
        without = without[:start] + without[end:]
    with_tables, without_tables = dctafd.read(data), dctafd.read(without, strict=True)
    for a, b in zip(with_tables.components, without_tables.components, strict=True):
        np.testing.assert_array_equal(a.coefficients, b.coefficients)


def test_arithmetic_coding_is_refused_by_the_engine_alone() -> None:
    data = bytearray(encode(photo_like(16, 16)))
    data[data.find(b"\xff\xc0") + 1] = 0xC9
    with pytest.raises(UnsupportedJpegError, match="jpeglib"):
        dctafd.read(bytes(data), engine="numba")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (bytes([3] + [0] * 15), "no Huffman code"),
        (bytes([2] + [0] * 15), "no Huffman code"),
        (bytes([0, 0, 0, 9] + [0] * 12), "over 15"),
    ],
)
def test_bad_tables_are_named(counts: bytes, message: str) -> None:
    data = encode(photo_like(16, 16))
    start = data.find(b"\xff\xc4")
    symbols = bytes(range(100, 100 + sum(counts))) if message == "over 15" else bytes(sum(counts))
    payload = b"\0" + counts + symbols
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    table = b"\xff\xc4" + (len(payload) + 2).to_bytes(2, "big") + payload
    with pytest.raises(CorruptJpegError, match=message):
        dctafd.read(data[:start] + table + data[end:], engine="numba")


def test_arrays_share_nothing_between_reads() -> None:
    data = encode(photo_like(32, 32))
    first = dctafd.read(data).components[0].coefficients
    expected = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(dctafd.read(data).components[0].coefficients, expected)
