"""Dataset statistics: against jpeglib + NumPy, on ImageNet-C's layout, with failures, samples and caches."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dctafd.analysis.dataset_records import (
    flat_records,
    median_quality,
    nested_records,
    summarize_counts,
    table_rows,
)
from dctafd.analysis.dataset_report import report_html
from dctafd.analysis.dataset_stats import choose_depth, dataset_statistics, sample_photos
from dctafd.analysis.folder_statistics import MOST_NAMES
from dctafd.config import Limits
from dctafd.errors import DctafdError
from tests.support import dataset_stats_reference

SEVERITIES = {"1": 25, "2": 18, "3": 15, "4": 10, "5": 7}


def photo(seed: int, size: int = 224) -> Image.Image:
    """Noise with a photo's spectrum."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1
    planes = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, size, size))) / frequency**1.2).real
    planes = planes / planes.std() * np.array([45, 20, 20])[:, None, None] + 128
    ycc = np.clip(planes, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return Image.merge("YCbCr", [Image.fromarray(plane) for plane in np.moveaxis(ycc, 2, 0)]).convert("RGB")


def save(path: Path, image: Image.Image, quality: int, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=quality, **options)
    return path


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.fixture(scope="module")
def imagenet_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files made as make_imagenet_c.py makes them: JPEG of the 224 crop in memory, saved again at 85."""
    root = tmp_path_factory.mktemp("imagenet-c")
    for severity, quality in SEVERITIES.items():
        for number in range(4):
            path = root / "jpeg_compression" / severity / f"n{number % 2:08}" / f"photo_{number}.JPEG"
            save(path, recompressed(photo(number), quality), 85, optimize=True)
    return root


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A few files of different kinds, one that is cut short and two that are no JPEG files."""
    save(tmp_path / "a" / "baseline.jpg", photo(1, 64), 80)
    save(tmp_path / "a" / "progressive.JPG", photo(2, 72), 60, progressive=True, subsampling="4:4:4")
    save(tmp_path / "a" / "gray.jpeg", photo(3, 40).convert("L"), 90)
    exif = Image.Exif()
    exif[274] = 6
    save(tmp_path / "b" / "turned.jpg", photo(4, 48), 75, exif=exif, icc_profile=b"profile")
    save(tmp_path / "b" / "cmyk.jpg", photo(5, 48).convert("CMYK"), 75)
    whole = save(tmp_path / "cut.jpg", photo(6, 96), 90).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "text.jpg").write_text("no photo")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("not looked at")
    return tmp_path


def test_frequency_statistics_equal_those_of_jpeglib_and_numpy(imagenet_c: Path) -> None:
    ours = dataset_statistics(imagenet_c)
    theirs = dataset_stats_reference.directory_sums(imagenet_c)
    assert ours.total.files == theirs["files"] == 20
    assert (ours.total.bytes, ours.total.pixels) == (theirs["bytes"], theirs["pixels"])
    sums = ours.total.frequencies
    np.testing.assert_array_equal(sums.blocks, theirs["blocks"])
    for name in dataset_stats_reference.STATISTICS:
        np.testing.assert_allclose(getattr(sums, name), theirs[name], rtol=1e-9, err_msg=name)


def test_imagenet_cs_layout_shows_table_and_primary_quality_side_by_side(imagenet_c: Path) -> None:
    records = {record["folder"]: record for record in nested_records(dataset_statistics(imagenet_c, jobs=2))}
    for severity, quality in SEVERITIES.items():
        record = records[f"jpeg_compression/{severity}"]
        assert record["files"] == 4
        assert record["quality"]["histogram"] == {"85": 4}
        assert record["primary_quality"]["histogram"] == {str(quality): 4}
    assert records["jpeg_compression/3/n00000001"]["files"] == 2
    assert records["total"]["files"] == 20
    assert list(records)[-1] == "total"


def test_facts_of_a_mixed_folder(mixed: Path) -> None:
    dataset = dataset_statistics(mixed)
    records = {record["folder"]: record for record in nested_records(dataset)}
    total = records["total"]
    assert total["files"] == 8
    assert total["failures"]["kinds"] == {"NotAJpegError": 2}
    assert {failed["path"] for failed in total["failures"]["first"]} == {"b/text.jpg", "empty.jpg"}
    assert records["a"]["process"] == {"baseline": 2, "progressive": 1}
    assert records["a"]["subsampling"] == {"4:2:0": 1, "4:4:4": 1, "gray": 1}
    assert records["a"]["quality"]["histogram"] == {"60": 1, "80": 1, "90": 1}
    assert records["a"]["quality"]["exact"] == 3
    assert (records["b"]["icc"], records["b"]["exif"], records["b"]["rotated"]) == (1, 1, 1)
    assert total["damaged"] == 1
    assert {odd["path"] for odd in total["odd"]["first"]} == {"b/cmyk.jpg", "b/turned.jpg", "cut.jpg"}
    assert total["megapixels"] == pytest.approx((64**2 + 72**2 + 40**2 + 2 * 48**2 + 96**2) / 1e6)
    assert total["bits_per_pixel"] == pytest.approx(8 * total["bytes"] / (1e6 * total["megapixels"]))
    assert total["tables"] == 8  # gray has one, CMYK one, which is the luma table of quality 75


def test_the_result_does_not_depend_on_the_number_of_threads(mixed: Path) -> None:
    assert nested_records(dataset_statistics(mixed, jobs=1)) == nested_records(
        dataset_statistics(mixed, jobs=3)
    )


def test_folders_hold_what_is_below_them_down_to_the_depth(imagenet_c: Path) -> None:
    names = [[row[0] for row in table_rows(dataset_statistics(imagenet_c, depth=d))] for d in (0, 1, 2)]
    assert names[0] == ["total"]
    assert names[1] == ["jpeg_compression", "total"]
    assert names[2] == ["jpeg_compression", *(f"jpeg_compression/{s}" for s in SEVERITIES), "total"]
    assert choose_depth(imagenet_c) == 3


def test_too_many_folders_are_not_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dctafd.analysis.dataset_stats.MOST_FOLDERS", 5)
    for number in range(6):
        (tmp_path / "split" / str(number)).mkdir(parents=True)
    assert choose_depth(tmp_path) == 1


def test_a_sample_is_always_the_same(imagenet_c: Path) -> None:
    chosen = sample_photos(imagenet_c, 7)
    assert len(chosen) == 7
    assert chosen == sample_photos(imagenet_c, 7)
    assert set(sample_photos(imagenet_c, 3)) < set(chosen)
    assert dataset_statistics(imagenet_c, sample=7).total.files == 7
    assert len(sample_photos(imagenet_c, 1000)) == 20


def test_a_second_run_reads_only_what_changed(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.mktemp("cache") / "stats.db"
    first = dataset_statistics(mixed, cache=cache)
    assert first.cached == 0
    second = dataset_statistics(mixed, cache=cache)
    assert second.cached == first.total.readable == 6
    assert nested_records(first) == nested_records(second)
    changed = save(mixed / "a" / "baseline.jpg", photo(9, 64), 30)
    os.utime(changed, ns=(1, 1))
    third = dataset_statistics(mixed, cache=cache)
    assert third.cached == 5
    assert nested_records(third) == nested_records(dataset_statistics(mixed))


def test_the_cache_obeys_a_lower_limit_of_pixels(
    mixed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache") / "stats.db"
    dataset_statistics(mixed, cache=cache)
    limited = dataset_statistics(mixed, cache=cache, limits=Limits(48 * 48))
    assert limited.total.failures["LimitExceededError"] == 3


def test_a_file_that_is_no_cache_is_refused(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "notes.txt"
    other.write_text("this is not a database, and it stays as it is" * 50)
    with pytest.raises(DctafdError, match="as a cache"):
        dataset_statistics(mixed, cache=other)
    assert other.read_text().startswith("this is not")


def test_names_of_failures_are_bounded(tmp_path: Path) -> None:
    for number in range(MOST_NAMES + 20):
        (tmp_path / f"{number}.jpg").touch()
    total = dataset_statistics(tmp_path).total
    assert total.failure_count == MOST_NAMES + 20
    assert [failed.path for failed in total.failed] == [f"{number}.jpg" for number in range(MOST_NAMES)]


def test_an_exception_of_on_file_ends_the_run(imagenet_c: Path) -> None:
    seen = []

    def stop(name: str, facts: object) -> None:
        seen.append(name)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset_statistics(imagenet_c, jobs=2, on_file=stop)
    assert len(seen) == 1


def test_an_empty_directory_has_a_total_of_nothing(tmp_path: Path) -> None:
    (record,) = nested_records(dataset_statistics(tmp_path))
    assert (record["files"], record["bits_per_pixel"], record["quality"]["median"]) == (0, None, None)
    assert record["frequencies"]["luma"]["zero_rate"] is None
    assert "every file was read" in report_html(dataset_statistics(tmp_path))


def test_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        dataset_statistics(tmp_path / "missing")


def test_flat_records_are_scalars_and_lists(imagenet_c: Path) -> None:
    records = flat_records(dataset_statistics(imagenet_c))
    assert {type(value) for record in records for value in record.values()} <= {str, int, float, bool, list}
    assert [record["depth"] for record in records[:3]] == [1, 2, 3]
    assert len(records[-1]["luma_entropy"]) == 64
    histogram = json.loads(records[-1]["primary_quality_histogram"])
    assert histogram == {str(q): 4 for q in sorted(SEVERITIES.values())}


def test_a_report_is_one_page_with_a_text_for_each_figure(mixed: Path) -> None:
    (mixed / "a" / "<script>.jpg").write_bytes(b"")
    page = report_html(dataset_statistics(mixed))
    assert page.count("<svg") == page.count('role="img" aria-label="') == 2 + 2 * 5
    assert "<script>.jpg" not in page
    assert "&lt;script&gt;.jpg" in page
    assert "http-equiv" not in page
    assert 'src="' not in page
    assert "b/cmyk.jpg" in page


def test_summaries_name_the_most_frequent_first() -> None:
    assert summarize_counts({}) == ""
    assert summarize_counts({"4:2:0": 3}) == "4:2:0"
    assert summarize_counts({"a": 1, "b": 998, "c": 1}) == "b 100 %, a < 1 %, 1 more"
    counts = np.zeros(101, np.int64)
    assert median_quality(counts) is None
    counts[[0, 10, 20, 30]] = (9, 2, 1, 1)
    assert median_quality(counts) == 10
