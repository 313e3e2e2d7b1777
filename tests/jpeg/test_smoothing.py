"""Progressive files whose scans did not all come: pixels as Pillow's, and said in `warnings`."""

import io
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

import dctafd
from dctafd.errors import CorruptJpegError
from dctafd.inputs import crop_coefficients
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.pixels import decode_window
from dctafd.jpeg.smoothing import with_lowest
from tests.support.jpeg_files import encode, photo_like, with_sampling

EOI = b"\xff\xd9"
SIZES = [(1, 1), (8, 8), (9, 40), (16, 16), (17, 24), (40, 25), (97, 61), (101, 67)]


@pytest.fixture(autouse=True)
def truncated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Pillow end files without EOI by one, as libjpeg's own sources do."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


def pillow(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def progressive(width: int, height: int, quality: int = 80, channels: int = 3, **options: Any) -> bytes:
    return encode(photo_like(width, height, channels), quality, progressive=True, **options)


def pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """Split a file before each scan: what comes before the first, and each scan with the tables before it."""
    scans = parse_markers(data).scans
    ends = [scan.end for scan in scans]
    first = data.find(b"\xff\xda")
    return data[:first], [data[start:end] for start, end in zip([first, *ends], ends, strict=False)]


def with_scans(data: bytes, kept: list[int]) -> bytes:
    head, scans = pieces(data)
    return head + b"".join(scans[number] for number in kept) + EOI


def check(data: bytes) -> dctafd.JpegCoefficients:
    jpeg = dctafd.read(data)
    np.testing.assert_array_equal(dctafd.decode(jpeg), pillow(data))
    return jpeg


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", SIZES)
def test_files_that_end_after_any_scan(size: tuple[int, int], sampling: str) -> None:
    data = progressive(*size, subsampling=sampling)
    count = len(parse_markers(data).scans)
    for kept in range(1, count + 1):
        jpeg = check(with_scans(data, list(range(kept))))
        assert bool(jpeg.warnings) == (kept < count)
        assert (jpeg.components[0].missing_bits is not None) == (kept < count)


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_one_scan_missing(options: dict[str, int], channels: int) -> None:
    data = progressive(101, 67, channels=channels, **options)
    count = len(parse_markers(data).scans)
    for missing in range(1, count):
        jpeg = check(with_scans(data, [number for number in range(count) if number != missing]))
        assert any("never came" in warning for warning in jpeg.warnings)


@pytest.mark.parametrize("quality", [3, 40, 97])
def test_random_choices_of_scans(quality: int) -> None:
    rng = random.Random(quality)
    for size in ((33, 75), (64, 41), (24, 9)):
        data = progressive(*size, quality=quality)
        count = len(parse_markers(data).scans)
        for _ in range(12):
            check(with_scans(data, [0, *sorted(rng.sample(range(1, count), rng.randrange(count - 1)))]))


def cuts(data: bytes, every: int) -> Iterator[bytes]:
    """Cut a file within its entropy-coded data; of one cut in a segment Pillow shows nothing at all."""
    for scan in parse_markers(data).scans:
        for place in range(scan.start, scan.end, every):
            yield data[:place]


@pytest.mark.parametrize(
    "options", [{"subsampling": "4:2:0"}, {"subsampling": "4:4:4"}, {"restart_marker_blocks": 5}]
)
def test_files_cut_anywhere(options: dict) -> None:
    """Rows of the last scan that its data does not reach are smoothed by what was known before it."""
    data = progressive(75, 61, **options)
    for cut in cuts(data, 37):
        check(cut)
        check(cut + EOI)


def test_a_scan_that_ends_early_before_others() -> None:
    data = progressive(75, 61)
    scans = parse_markers(data).scans
    for scan in scans:
        for share in (0.1, 0.5, 0.9):
            place = scan.start + int(share * (scan.end - scan.start))
            check(data[:place] + data[scan.end :])


FACTORS = [
    [(1, 2), (1, 1), (1, 1)],
    [(1, 4), (1, 1), (1, 1)],
    [(1, 3), (1, 1), (1, 1)],
    [(1, 4), (1, 1), (1, 2)],
    [(4, 1), (1, 1), (1, 1)],
    [(1, 1), (2, 2), (1, 2)],
]


@pytest.mark.parametrize("factors", FACTORS, ids=str)
@pytest.mark.parametrize("height", [8, 16, 17, 25, 33, 41, 47, 65, 72])
def test_rows_that_pad_the_last_mcus(factors: list[tuple[int, int]], height: int) -> None:
    """Which of them libjpeg looks at depends on the sampling and on the number of rows."""
    data = with_scans(progressive(90, 80, subsampling="4:4:4"), [0])
    check(with_sampling(data, factors, (40, height)))


def test_luma_alone_or_chroma_alone() -> None:
    data = progressive(101, 67)
    scans = parse_markers(data).scans
    for index in range(3):
        kept = [
            number
            for number, scan in enumerate(scans)
            if scan.spectral_start == 0 or scan.components[0].index == index
        ]
        jpeg = check(with_scans(data, kept))
        assert [part.missing_bits is None for part in jpeg.components] == [i == index for i in range(3)]


def test_steps_of_zero_forbid_smoothing() -> None:
    data = with_scans(progressive(75, 61), [0])
    table = data.find(b"\xff\xdb") + 5
    for place in (0, 3, 9, 10):
        check(data[: table + place] + b"\0" + data[table + place + 1 :])


def test_sequential_files_are_not_smoothed() -> None:
    data = encode(photo_like(75, 61), 80)
    jpeg = dctafd.read(data)
    assert all(part.missing_bits is None and part.lowest is None for part in jpeg.components)
    check(data[: len(data) // 2])


def test_what_never_came_is_said_by_bits_and_coefficients() -> None:
    data = progressive(64, 48)
    jpeg = dctafd.read(with_scans(data, [0]))
    lines = [f"component {name}: coefficients 1 to 63 never came" for name in ("Y", "Cb", "Cr")]
    lines.insert(0, "component Y: the lowest bit of coefficient 0 never came")
    lines.insert(2, "component Cb: the lowest bit of coefficient 0 never came")
    lines.insert(4, "component Cr: the lowest bit of coefficient 0 never came")
    assert sorted(jpeg.warnings) == sorted(lines)
    missing = jpeg.components[0].missing_bits
    assert missing is not None
    assert missing[0, 0] == 1
    assert (missing.ravel()[1:] == -1).all()
    with pytest.raises(CorruptJpegError, match="never came"):
        dctafd.read(with_scans(data, [0]), strict=True)
    count = len(parse_markers(data).scans)
    last = dctafd.read(with_scans(data, list(range(count - 1))))
    assert last.warnings == ("component Y: the lowest bit of coefficients 1 to 63 never came",)


def test_bits_that_some_blocks_lack_count_as_missing() -> None:
    data = progressive(64, 48)
    scans = parse_markers(data).scans
    middle = (scans[-1].start + scans[-1].end) // 2
    jpeg = dctafd.read(data[:middle] + EOI)
    missing = jpeg.components[0].missing_bits
    assert missing is not None
    assert missing[0, 0] == 0
    assert (missing.ravel()[1:] == 1).all()


@pytest.mark.parametrize("kept", [[0], [0, 1], [0, 1, 2, 3]])
def test_coefficients_stay_what_the_file_gave_and_regions_are_crops(kept: list[int]) -> None:
    data = with_scans(progressive(101, 67), kept)
    jpeg = dctafd.read(data)
    raw = dctafd.read(data, engine="jpeglib")
    for ours, theirs in zip(jpeg.components, raw.components, strict=True):
        np.testing.assert_array_equal(ours.coefficients, theirs.coefficients)
    whole = dctafd.decode(jpeg)
    for left, top, right, bottom in ((0, 0, 1, 1), (13, 7, 60, 66), (100, 66, 101, 67)):
        part = dctafd.decode(jpeg, (left, top, right, bottom))
        np.testing.assert_array_equal(part, whole[top:bottom, left:right])


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("kept", [[0], [0, 1, 2], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("channels", [1, 3])
def test_reduced_pixels_are_those_of_pillows_draft(reduction: int, kept: list[int], channels: int) -> None:
    data = with_scans(progressive(202, 134, channels=channels), kept)
    with Image.open(io.BytesIO(data)) as image:
        image.draft(image.mode, (202 // reduction, 134 // reduction))
        expected = np.asarray(image.convert("RGB"))
    jpeg = dctafd.read(data)
    out = np.empty(expected.shape, np.uint8)
    windows = [with_lowest(part.coefficients, part.lowest) for part in jpeg.components]
    decode_window(jpeg, windows, (0, 0, *expected.shape[1::-1]), out=out, reduction=reduction)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("kept", [[0], [0, 1], [0, 1, 2, 3, 4, 5]])
@pytest.mark.parametrize(("resize", "crop"), [(64, 56), (24, 16), (8, 8), (None, 56)])
@pytest.mark.parametrize("small", [0, 1 << 20])
def test_prepare_reads_what_read_and_decode_give(
    kept: list[int], resize: int | None, crop: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_coefficients, "SMALL", small)
    data = with_scans(progressive(150, 101), kept)
    from_source = dctafd.prepare(data, resize, crop)
    from_coefficients = dctafd.prepare(dctafd.read(data), resize, crop)
    np.testing.assert_array_equal(from_source.pixels, from_coefficients.pixels)
    np.testing.assert_array_equal(from_source.coefficients, from_coefficients.coefficients)
    if resize is None:
        mean, std = ([value] for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        levels = (from_source.pixels.transpose(1, 2, 0) * std + mean) * 255
        rows, columns = round((101 - 56) / 2.0), round((150 - 56) / 2.0)
        np.testing.assert_allclose(levels, pillow(data)[rows : rows + 56, columns : columns + 56], atol=1e-3)


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_missing_bits_are_no_earlier_compression(quality: int) -> None:
    data = progressive(400, 320, quality=quality)
    count = len(parse_markers(data).scans)
    for kept in range(1, count + 1):
        partial = with_scans(data, list(range(kept)))
        assert dctafd.estimate_history(dctafd.read(partial)).primary_quality is None
        assert dctafd.prepare(partial).primary_quality is None
    last = parse_markers(data).scans[-1]
    cut = data[: (last.start + last.end) // 2] + EOI
    assert dctafd.estimate_history(dctafd.read(cut)).primary_quality is None
    assert dctafd.prepare(cut).primary_quality is None


def test_an_earlier_compression_is_still_found_in_a_whole_progressive_file() -> None:
    first = pillow(encode(photo_like(400, 320), 15))
    assert dctafd.estimate_history(dctafd.read(encode(first, 90, progressive=True))).primary_quality == 15
