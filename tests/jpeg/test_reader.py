import io
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest

import dctafd
from dctafd.errors import CorruptJpegError, LimitExceededError, NotAJpegError
from dctafd.jpeg.coefficients import JpegCoefficients, subsampling_name
from dctafd.jpeg.foreign import START_BYTES
from dctafd.jpeg.reader import read_bytes, read_header
from tests.support.jpeg_files import all_kinds, encode, photo_like
from tests.support.jpeg_writer import frame_of, random_coefficients, segment, write_sequential

DATA = all_kinds()["4:2:0 baseline"]


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_like_and_file_objects(wrap: type) -> None:
    assert read_bytes(wrap(DATA)) == DATA
    assert dctafd.read(wrap(DATA)).width == 93


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_paths(tmp_path: Path, as_path: type | Callable[..., Any]) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(DATA)
    jpeg = dctafd.read(as_path(path))
    assert (jpeg.width, jpeg.height, jpeg.file_size) == (93, 61, len(DATA))
    with pytest.raises(FileNotFoundError):
        dctafd.read(as_path(tmp_path / "none.jpg"))


def test_wrong_sources_and_engines() -> None:
    with pytest.raises(TypeError, match="path, bytes"):
        dctafd.read(42)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary"):
        dctafd.read(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine"):
        dctafd.read(DATA, engine="libjpeg")  # type: ignore[arg-type]
    with pytest.raises(NotAJpegError):
        dctafd.read(io.BytesIO(b"PK" + bytes(100)))


def test_what_is_no_jpeg_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        asked = 0

        def read(self, size: int = -1) -> Any:
            self.asked += size
            assert size >= 0
            return bytes(size)

    source: Any = Endless()
    with pytest.raises(NotAJpegError):
        dctafd.read(source)
    assert source.asked <= 2 + START_BYTES


class Trickle(io.RawIOBase):
    """A source that gives a few bytes a read, as pipes and sockets do."""

    def __init__(self, data: bytes, most: int) -> None:
        self.rest, self.most = data, most

    def read(self, size: int = -1) -> Any:
        assert size >= 0, "a read without a limit"
        size = min(size, self.most)
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece


def trickle(data: bytes, most: int) -> BinaryIO:
    return cast(BinaryIO, Trickle(data, most))


@pytest.mark.parametrize("most", [1, 2, 3, 1000, 10**9])
def test_short_reads_are_not_the_end(most: int) -> None:
    assert read_bytes(trickle(DATA, most)) == DATA
    assert read_bytes(trickle(DATA, most), max_bytes=len(DATA)) == DATA
    assert dctafd.read(trickle(DATA, most)).warnings == ()
    with pytest.raises(LimitExceededError):
        read_bytes(trickle(DATA, most), max_bytes=len(DATA) - 1)
    with pytest.raises(NotAJpegError):
        read_bytes(trickle(b"\xff", most))


def test_a_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            for start in range(0, len(DATA), 700):
                pipe.write(DATA[start : start + 700])
                time.sleep(0.001)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        assert dctafd.read(pipe).warnings == ()
    thread.join()


def test_a_source_that_does_not_wait_is_named() -> None:
    class Empty(io.RawIOBase):
        def read(self, size: int = -1) -> Any:
            return None

    with pytest.raises(BlockingIOError, match="blocking"):
        dctafd.read(cast(BinaryIO, Empty()))


@pytest.mark.parametrize("buffering", [None, 0, -1])
def test_buffers_are_in_proportion_to_the_file(tmp_path: Path, buffering: int | None) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(DATA)
    dctafd.read(path)
    tracemalloc.start()
    try:
        if buffering is None:
            dctafd.read(path)
        else:
            with path.open("rb", buffering) as file:
                dctafd.read(file)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_sparse_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.write(DATA)
        file.truncate(2**36)
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceededError, match="larger than"):
            dctafd.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_files_larger_than_any_image_are_refused() -> None:
    with pytest.raises(LimitExceededError, match="larger than"):
        read_bytes(io.BytesIO(DATA), max_bytes=len(DATA) - 1)
    assert read_bytes(io.BytesIO(DATA), max_bytes=len(DATA)) == DATA


def test_header_facts() -> None:
    jpeg = dctafd.read(all_kinds()["4:2:2 progressive"])
    assert (jpeg.process, jpeg.subsampling, jpeg.scans, jpeg.orientation) == ("progressive", "4:2:2", 10, 1)
    assert [component.block_columns for component in jpeg.components] == [12, 6, 6]
    for component in jpeg.components:
        assert component.coefficients.shape == (component.block_rows, component.block_columns, 8, 8)
        assert component.coefficients.dtype == np.int16
        assert component.coefficients.flags.c_contiguous
        assert component.quant_table.shape == (8, 8)
    header = read_header(all_kinds()["4:2:2 progressive"])
    assert (header.width, header.height, header.scans) == (93, 61, 10)
    assert dctafd.read(all_kinds()["restart every row"]).restart_interval == 6


@pytest.mark.parametrize(
    ("factors", "name"),
    [
        ([(1, 1)], "gray"),
        ([(2, 2)], "gray"),
        ([(1, 1)] * 3, "4:4:4"),
        ([(2, 2)] * 3, "4:4:4"),
        ([(2, 1), (1, 1), (1, 1)], "4:2:2"),
        ([(2, 2), (1, 2), (1, 2)], "4:2:2"),
        ([(2, 2), (1, 1), (1, 1)], "4:2:0"),
        ([(1, 2), (1, 1), (1, 1)], "4:4:0"),
        ([(4, 1), (1, 1), (1, 1)], "4:1:1"),
        ([(4, 2), (1, 1), (1, 1)], "4:1:0"),
        ([(2, 2), (1, 1), (1, 2)], "2x2,1x1,1x2"),
        ([(1, 1), (2, 2), (2, 2)], "1x1,2x2,2x2"),
        ([(3, 1), (2, 1), (2, 1)], "3x1,2x1,2x1"),
        ([(2, 2), (1, 1), (1, 1), (2, 2)], "4:2:0"),
        ([(2, 2), (1, 1), (1, 1), (1, 1)], "2x2,1x1,1x1,1x1"),
    ],
)
def test_subsampling_names(factors: list[tuple[int, int]], name: str) -> None:
    assert subsampling_name(factors) == name


def test_pixel_limit_comes_before_memory() -> None:
    frame = frame_of(65500, 65500, [(1, 1)] * 3)
    small = random_coefficients(frame_of(8, 8, [(1, 1)] * 3))
    data = write_sequential(frame_of(8, 8, [(1, 1)] * 3), small)
    start = data.find(b"\xff\xc0")
    bomb = data[: start + 5] + frame.height.to_bytes(2, "big") * 2 + data[start + 9 :]
    with pytest.raises(LimitExceededError, match="65500 x 65500"):
        dctafd.read(bomb)
    with pytest.raises(LimitExceededError, match="max_pixels is 5672"):
        dctafd.read(DATA, max_pixels=93 * 61 - 1)
    assert dctafd.read(DATA, max_pixels=93 * 61).width == 93


def test_scans_that_visit_too_many_blocks_for_their_bytes() -> None:
    frame = frame_of(4096, 4096, [(1, 1)])
    head = [b"\xff\xd8", segment(0xDB, b"\0" + bytes([1] * 64))]
    head.append(segment(0xC2, b"\x08" + frame.height.to_bytes(2, "big") * 2 + b"\1\1\x11\0"))
    head.append(segment(0xC4, b"\x10" + bytes([0, 1] + [0] * 14) + b"\xe0"))
    scan = segment(0xDA, b"\1\1\0\1\x3f\0") + b"\0\0\0\0"
    bomb = b"".join([*head, *[scan] * 200, b"\xff\xd9"])
    with pytest.raises(LimitExceededError, match="200 scans visit"):
        dctafd.read(bomb)
    few = b"".join([*head, *[scan] * 10, b"\xff\xd9"])
    assert dctafd.read(few).warnings


def test_large_arithmetic_file_without_data() -> None:
    frame = b"\x08" + (12_000).to_bytes(2, "big") * 2 + b"\1\1\x11\0"
    parts = [segment(0xDB, b"\0" + bytes([1] * 64)), segment(0xC9, frame), segment(0xDA, b"\1\1\0\0\x3f\0")]
    with pytest.raises(LimitExceededError, match="visit 2250000 blocks"):
        dctafd.read(b"\xff\xd8" + b"".join(parts) + b"\x12\x34\xff\xd9")


def test_arithmetic_files_go_to_jpeglib_unless_told_otherwise(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(DATA)
    data[data.find(b"\xff\xc0") + 1] = 0xC9
    jpeg = dctafd.read(bytes(data))  # Huffman bits read as arithmetic ones: nonsense, but a valid request
    assert jpeg.process == "arithmetic"
    capfd.readouterr()


def test_threads_give_what_one_thread_gives() -> None:
    files = list(all_kinds().values()) * 2
    engines: list[Any] = ["auto", "jpeglib"]
    expected = [dctafd.read(data).components[0].coefficients for data in files]
    start = threading.Barrier(4)

    def read_all(number: int) -> list[JpegCoefficients]:
        start.wait()
        return [dctafd.read(data, engine=engines[number % 2]) for data in files]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(read_all, range(4)):
            for jpeg, coefficients in zip(results, expected, strict=True):
                np.testing.assert_array_equal(jpeg.components[0].coefficients, coefficients)


def test_jpeglibs_choice_of_back_end_is_left_alone() -> None:
    import jpeglib

    from dctafd.jpeg import jpeglib_engine

    jpeglib_engine._library.cache_clear()
    jpeglib.version.set("6b")
    dctafd.read(DATA, engine="jpeglib")
    assert jpeglib.version.get() == "6b"


def test_jpeglib_engine_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    jpeg = dctafd.read(DATA, engine="jpeglib")
    np.testing.assert_array_equal(
        jpeg.components[2].coefficients, dctafd.read(DATA).components[2].coefficients
    )


def test_jpeglib_refusal_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(photo_like(16, 16))
    start = data.find(b"\xff\xc4")
    broken = bytearray(data)
    broken[start + 5] = 200  # 200 codes of one bit
    broken[start + 6 : start + 21] = bytes(15)
    broken[start + 2 : start + 4] = (2 + 17 + 200).to_bytes(2, "big")
    with pytest.raises(CorruptJpegError):
        dctafd.read(bytes(broken), engine="jpeglib")
    capfd.readouterr()
