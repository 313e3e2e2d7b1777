"""Quality from tables: exact on every IJG table, sensible on the tables of other encoders."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dctafd.jpeg.coefficients import ComponentHeader, JpegHeader
from dctafd.jpeg.ijg_tables import CHROMINANCE, LUMINANCE, QUALITIES, quality_scaling, scaled_table
from dctafd.jpeg.quality import QualityEstimate, estimate_quality, estimate_quality_of_tables

YCCK = ("Y", "Cb", "Cr", "K")
PHOTOSHOP_CS4_MAXIMUM = (  # "12, maximum"
    [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 2],
        [1, 1, 1, 1, 1, 1, 2, 2],
        [1, 1, 1, 1, 1, 2, 2, 3],
        [1, 1, 1, 1, 2, 2, 3, 3],
        [1, 1, 1, 2, 2, 3, 3, 3],
        [1, 1, 2, 2, 3, 3, 3, 3],
    ],
    [
        [1, 1, 1, 1, 2, 3, 3, 3],
        [1, 1, 1, 2, 3, 3, 3, 3],
        [1, 1, 1, 3, 3, 3, 3, 3],
        [1, 2, 3, 3, 3, 3, 3, 3],
        [2, 3, 3, 3, 3, 3, 3, 3],
        [3, 3, 3, 3, 3, 3, 3, 3],
        [3, 3, 3, 3, 3, 3, 3, 3],
        [3, 3, 3, 3, 3, 3, 3, 3],
    ],
)
PHOTOSHOP_CC2019_LOW = (
    [
        [18, 14, 14, 20, 29, 34, 34, 38],
        [14, 15, 15, 19, 25, 24, 29, 38],
        [14, 15, 17, 20, 24, 33, 45, 60],
        [20, 19, 20, 26, 32, 47, 60, 65],
        [29, 25, 24, 32, 50, 65, 65, 65],
        [34, 24, 33, 47, 65, 65, 65, 65],
        [34, 29, 45, 60, 65, 65, 65, 65],
        [38, 38, 60, 65, 65, 65, 65, 65],
    ],
    [
        [19, 19, 22, 27, 26, 32, 48, 61],
        [19, 24, 23, 21, 26, 32, 44, 54],
        [22, 23, 25, 28, 32, 38, 58, 65],
        [27, 21, 28, 35, 38, 50, 65, 65],
        [26, 26, 32, 38, 50, 61, 65, 65],
        [32, 32, 38, 50, 61, 65, 65, 65],
        [48, 44, 58, 65, 65, 65, 65, 65],
        [61, 54, 65, 65, 65, 65, 65, 65],
    ],
)
PIXEL_6_CAMERA = (
    [
        [3, 3, 1, 1, 1, 3, 7, 8],
        [4, 5, 4, 4, 4, 6, 8, 10],
        [2, 4, 4, 4, 5, 7, 9, 10],
        [1, 4, 4, 5, 7, 8, 9, 10],
        [1, 3, 5, 7, 8, 9, 11, 12],
        [3, 6, 7, 9, 11, 11, 12, 11],
        [6, 7, 8, 9, 11, 12, 12, 11],
        [8, 7, 7, 8, 9, 10, 11, 10],
    ],
    [
        [3, 3, 5, 7, 11, 11, 11, 12],
        [3, 4, 6, 8, 11, 11, 12, 12],
        [5, 6, 8, 11, 11, 11, 12, 12],
        [7, 8, 11, 11, 11, 11, 12, 12],
        [11, 11, 11, 11, 11, 12, 12, 12],
        [11, 11, 11, 12, 12, 12, 12, 12],
        [11, 12, 12, 12, 12, 12, 12, 12],
        [12, 12, 12, 12, 12, 12, 12, 12],
    ],
)
MOZJPEG_BASE = [  # its default table 3, for luma and chroma alike
    [16, 16, 16, 18, 25, 37, 56, 85],
    [16, 17, 20, 27, 34, 40, 53, 75],
    [16, 20, 24, 31, 43, 62, 91, 135],
    [18, 27, 31, 40, 53, 74, 106, 156],
    [25, 34, 43, 53, 69, 94, 131, 189],
    [37, 40, 62, 74, 94, 124, 169, 238],
    [56, 53, 91, 106, 131, 169, 226, 311],
    [85, 75, 135, 156, 189, 238, 311, 418],
]


def header(*tables: Any, names: Sequence[str] = ("Y", "Cb", "Cr"), color_space: Any = "ycbcr") -> JpegHeader:
    """A header of 8x8 pixels whose components use the given tables; the last table serves those left over."""
    components = tuple(
        ComponentHeader(
            name, number, 1, 1, 8, 8, np.asarray(tables[min(number, len(tables) - 1)], dtype=np.uint16)
        )
        for number, name in enumerate(names)
    )
    return JpegHeader(
        width=8,
        height=8,
        color_space=color_space,
        adobe_inverted=False,
        process="baseline",
        orientation=1,
        components=components,
        icc_profile=None,
        has_exif=False,
        file_size=0,
        scans=1,
        restart_interval=0,
        warnings=(),
    )


def pillow_tables(quality: int) -> list[np.ndarray]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    with JpegImageFile(buffer) as image:
        return [np.reshape(table, (8, 8)) for table in image.quantization.values()]


@pytest.mark.parametrize("quality", [1, 2, 7, 10, 24, 25, 49, 50, 75, 85, 99, 100])
def test_scaled_tables_are_those_that_libjpeg_writes(quality: int) -> None:
    luma, chroma = pillow_tables(quality)
    np.testing.assert_array_equal(scaled_table(LUMINANCE, quality), luma)
    np.testing.assert_array_equal(scaled_table(CHROMINANCE, quality), chroma)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_outside_the_scale_is_refused(quality: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.100"):
        quality_scaling(quality)


@pytest.mark.parametrize("baseline", [True, False])
def test_every_ijg_quality_is_exact_from_a_single_table_and_from_a_pair(baseline: bool) -> None:
    """All hundred: at the ends neighbours differ by little, and baseline tables are cut off at 255."""
    for quality in QUALITIES.tolist():
        luma = scaled_table(LUMINANCE, quality, baseline=baseline)
        chroma = scaled_table(CHROMINANCE, quality, baseline=baseline)
        for estimate in (
            estimate_quality(header(luma, names=("Y",), color_space="gray")),
            estimate_quality(header(luma, chroma)),
            estimate_quality(header(luma, names=("R", "G", "B"), color_space="rgb")),
            estimate_quality(header(luma, names=("C", "M", "Y", "K"), color_space="cmyk")),
            estimate_quality(
                header(luma, chroma, chroma, luma, names=("Y", "Cb", "Cr", "K"), color_space="ycck")
            ),
            estimate_quality_of_tables(luma, chroma),
        ):
            assert (estimate.value, estimate.exact, estimate.residual) == (quality, True, 0.0)


def test_luma_and_chroma_of_different_qualities_are_told_apart() -> None:
    estimate = estimate_quality_of_tables(scaled_table(LUMINANCE, 90), scaled_table(CHROMINANCE, 60))
    assert (estimate.luma_value, estimate.chroma_value) == (90, 60)
    assert not estimate.exact
    assert 60 < estimate.value < 90
    assert estimate.residual > 1


def test_one_changed_step_is_not_exact() -> None:
    luma = scaled_table(LUMINANCE, 80)
    luma[7, 7] += 1
    estimate = estimate_quality_of_tables(luma, scaled_table(CHROMINANCE, 80))
    assert estimate == QualityEstimate(80, False, estimate.residual, estimate.relative_residual, 80, 80)
    assert estimate.residual == pytest.approx((1 / 128) ** 0.5)


def test_a_clamp_in_one_entry_only_is_not_exact() -> None:
    luma = scaled_table(LUMINANCE, 5, baseline=False)  # many steps beyond 255
    luma[luma > 255] = 255
    luma[0, 0] = 255  # 160 at quality 5: not what a clamp at 255 makes
    estimate = estimate_quality_of_tables(luma)
    assert not estimate.exact
    assert estimate.residual > 0


@pytest.mark.parametrize(
    ("tables", "low", "high"),
    [
        (PHOTOSHOP_CS4_MAXIMUM, 98, 99),
        (PHOTOSHOP_CC2019_LOW, 65, 80),
        (PIXEL_6_CAMERA, 93, 96),
    ],
)
def test_tables_of_photoshop_and_cameras_get_a_near_quality_and_a_residual(
    tables: tuple[list[list[int]], list[list[int]]], low: int, high: int
) -> None:
    estimate = estimate_quality(header(*tables))
    assert low <= estimate.value <= high
    assert not estimate.exact
    assert 0.1 < estimate.relative_residual < 0.5


@pytest.mark.parametrize("quality", [20, 50, 75, 90])
def test_mozjpegs_tables_get_a_quality_below_the_one_asked_for(quality: int) -> None:
    """They are coarser than IJG's at high frequencies, which weigh most in least squares."""
    steps = (np.array(MOZJPEG_BASE) * quality_scaling(quality) + 50) // 100
    table = np.clip(steps, 1, 255)
    estimate = estimate_quality(header(table, table))
    assert quality - 20 <= estimate.value <= quality
    assert estimate.relative_residual > 0.1
    assert not estimate.exact
    assert estimate.chroma_value is None  # one table for all components counts once, as luma


def test_a_file_with_one_table_for_all_components_is_judged_by_luma() -> None:
    luma = scaled_table(LUMINANCE, 40)
    estimate = estimate_quality(header(luma, luma, luma))
    assert (estimate.value, estimate.exact) == (40, True)


def test_an_rgb_file_may_use_the_chroma_table() -> None:
    estimate = estimate_quality(
        header(scaled_table(CHROMINANCE, 70), names=("R", "G", "B"), color_space="rgb")
    )
    assert (estimate.value, estimate.exact) == (70, True)


def test_low_qualities_are_not_raised_by_the_clamp_at_255() -> None:
    """The mean ratio to Annex K, which JPEGsnoop reports, says 10.4 for luma at quality 7."""
    noisy = scaled_table(LUMINANCE, 7).astype(np.int64)
    noisy[noisy < 255] += np.tile([1, -1], 32)[: np.count_nonzero(noisy < 255)]
    assert estimate_quality_of_tables(noisy).value == 7
