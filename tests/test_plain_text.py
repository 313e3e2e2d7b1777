"""Outside text as plain text, and objects on one line."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len

import dctafd
from dctafd.plain_text import counted, cut_middle, one_line, printable, rate_text, reason, size_text


def test_one_file_is_no_files() -> None:
    assert [counted(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


@given(st.text())
def test_nothing_that_drives_a_terminal_is_left(text: str) -> None:
    assert printable(text).isprintable()
    assert one_line(text).isprintable()


@given(st.text(), st.integers(0, 30))
def test_a_cut_text_fits_and_keeps_its_end(text: str, width: int) -> None:
    cut = cut_middle(text, width)
    assert cell_len(cut) <= width
    if cell_len(text) <= width:
        assert cut == text


def test_the_middle_goes_first() -> None:
    assert cut_middle("photos/2026/holiday-0001.jpg", 16) == "photo…y-0001.jpg"


def test_what_the_system_refused_is_said_without_its_number() -> None:
    error = FileNotFoundError(2, "No such file or directory", "a.jpg")
    assert reason(error) == "a.jpg: No such file or directory"
    assert reason(error, named=True) == "No such file or directory"
    assert reason(ValueError("odd")) == "odd"


def test_small_sizes_and_rates_are_no_zeros() -> None:
    sizes = (480, 9_100, 9_990, 12_300_000, 999_600_000, 5e12, 5e16)
    assert [size_text(size) for size in sizes] == [
        "480 bytes",
        "9.1 kB",
        "10 kB",
        "12 MB",
        "1.0 GB",
        "5.0 TB",
        "50000 TB",
    ]
    assert [rate_text(rate) for rate in (0.004, 1.25, 99.6, 12_345)] == ["0.004", "1.2", "100", "12,345"]


@pytest.fixture
def photo() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def test_what_the_library_returns_prints_on_one_short_line(photo: bytes) -> None:
    jpeg = dctafd.read(photo)
    assert repr(jpeg) == f"<JpegCoefficients 256 x 256 ycbcr 4:2:0 baseline, {len(photo)} bytes>"
    assert repr(jpeg.components[0]) == "<Component Y 2x2, 256 x 256 samples>"
    prepared = dctafd.prepare(photo, 32, 32)
    shown = [dctafd.read_header(photo), jpeg.components, prepared, dctafd.estimate_history(jpeg)]
    for value in shown:
        assert "\n" not in repr(value)
        assert len(repr(value)) < 300
    assert "pixels=float32 (3, 32, 32)" in repr(prepared)
