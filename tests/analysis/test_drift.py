"""Drift of coefficients and features: known vectors, and the whole measurement on a small network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import dctafd
from dctafd.analysis.drift import DriftMeasurement, angle, block_coefficients, measure_drift
from dctafd.analysis.drift_output import save_blocks, save_drift_figure
from dctafd.analysis.drift_summary import (
    average_ranks,
    block_columns,
    curve_records,
    drift_curves,
    rank_correlation,
    summary_records,
    table_records,
)
from dctafd.analysis.stem_features import StemFeatures
from dctafd.errors import DctafdError, WeightsError
from dctafd.nets.attach import attach
from tests.support.jpeg_files import encode, photo_like
from tests.support.small_nets import CROP, small_backbone, trained_afd

GRID = CROP // 8
QUALITIES = (10, 50, 90)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(encode(photo_like(64, 48, seed=number), 98, subsampling="4:4:4"))
    return paths


@pytest.fixture(scope="module")
def measurement(photos: list[Path]) -> DriftMeasurement:
    backbone = small_backbone()
    return measure_drift(photos, backbone, QUALITIES, afd=trained_afd(backbone.module, "stem"), batch_size=2)


def test_angles_of_known_vectors() -> None:
    a = np.array([[1.0, 0], [1, 0], [1, 0], [0, 0], [0, 0], [2, 2]])
    b = np.array([[3.0, 0], [0, 2], [-1, 0], [0, 0], [1, 0], [0, 1]])
    assert_allclose(angle(a, b), [0, 90, 180, 0, 90, 45], atol=1e-6)


def test_block_coefficients_are_those_of_a_jpeg_file() -> None:
    pixels = photo_like(32, 32, seed=5)
    jpeg = dctafd.read(encode(pixels, 100, subsampling="4:4:4"))
    ours = block_coefficients(pixels.transpose(2, 0, 1).astype(np.float64))
    assert ours.shape == (4, 4, 3, 8, 8)
    for plane, component in enumerate(jpeg.components):
        assert_allclose(
            ours[:, :, plane], component.coefficients, atol=2.5
        )  # steps are 1, samples were rounded


def test_block_angles_average_the_places_of_a_block() -> None:
    clean = torch.zeros(1, 2, 4, 4)
    clean[:, 0] = 1
    turned = clean.clone()
    turned[0, :, 0, 0] = torch.tensor([0.0, 1.0])  # one of four places of the first block, by 90 degrees
    assert_allclose(StemFeatures.block_angles(clean, turned, 2), np.array([[[22.5, 0], [0, 0]]]), atol=1e-5)
    nothing = torch.zeros_like(clean)
    assert not StemFeatures.block_angles(nothing, nothing, 2).any()
    assert_allclose(StemFeatures.block_angles(clean, nothing, 2), 90)


def test_the_stems_features_are_those_of_the_whole_network() -> None:
    backbone = small_backbone()
    pixels = torch.randn(2, 3, CROP, CROP)
    classifier = attach(backbone.module, trained_afd(backbone.module, "stem"))
    with torch.inference_mode():
        expected = classifier(pixels, record=True).features.stem_before
    torch.testing.assert_close(StemFeatures(backbone.module)(pixels), expected)
    torch.testing.assert_close(StemFeatures(backbone.module)(pixels), expected)  # the hook is gone in between


def test_a_stem_that_is_not_there_is_an_error() -> None:
    with pytest.raises(WeightsError, match="no layer 'conv9'"):
        StemFeatures(small_backbone().module, "conv9")


def test_shapes_and_names(measurement: DriftMeasurement, photos: list[Path]) -> None:
    shape = (len(QUALITIES), len(photos), GRID, GRID)
    for array in (
        measurement.coefficient_angles,
        measurement.feature_angles,
        measurement.measured_drift,
        measurement.predicted_drift,
    ):
        assert array is not None
        assert array.shape == shape
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert measurement.photos == tuple(path.name for path in photos)
    assert measurement.frequency_drift.shape == (3, 3, 8, 8)
    assert measurement.channel_drift.shape == (3, 8)
    assert measurement.failures == ()


def test_drift_grows_as_quality_falls(measurement: DriftMeasurement) -> None:
    for values in (
        measurement.coefficient_angles.mean(axis=(1, 2, 3)),
        measurement.feature_angles.mean(axis=(1, 2, 3)),
        measurement.measured_drift.mean(axis=(1, 2, 3)),
        measurement.frequency_drift.mean(axis=(1, 2, 3)),
        measurement.channel_drift.mean(axis=1),
    ):
        assert (np.diff(values) < 0).all()


def test_batches_do_not_matter(measurement: DriftMeasurement, photos: list[Path]) -> None:
    backbone = small_backbone()
    whole = measure_drift(photos, backbone, QUALITIES, batch_size=8, jobs=1)
    assert_allclose(whole.feature_angles, measurement.feature_angles, atol=1e-3)
    assert_allclose(whole.measured_drift, measurement.measured_drift, rtol=1e-5)
    assert whole.predicted_drift is None


def test_rank_correlation_is_spearmans() -> None:
    assert_array_equal(average_ranks(np.array([10.0, 20, 10, 5])), [1.5, 3, 1.5, 0])
    x = np.array([1.0, 2, 3, 4, 5])
    assert rank_correlation(x, x**3) == pytest.approx(1)
    assert rank_correlation(x, -x) == pytest.approx(-1)
    assert rank_correlation(x, np.array([5.0, 6, 7, 8, 7])) == pytest.approx(
        0.8207826816681233
    )  # textbook, a tie
    assert np.isnan(rank_correlation(x, np.ones(5)))


def test_curves_are_means_over_bins(measurement: DriftMeasurement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dctafd.analysis.drift_summary.LEAST_BLOCKS", 1)
    curve = drift_curves(measurement, width=5)[0]
    assert curve.blocks.sum() == measurement.feature_angles[0].size
    low = curve.coefficient_angle[0] - 2.5
    inside = (measurement.coefficient_angles[0] >= low) & (measurement.coefficient_angles[0] < low + 5)
    assert curve.feature_angle[0] == pytest.approx(measurement.feature_angles[0][inside].mean(), rel=1e-5)
    assert {record["quality"] for record in curve_records(measurement)} == set(QUALITIES)


def test_records_name_what_drifts_most(measurement: DriftMeasurement) -> None:
    record = summary_records(measurement)[0]
    assert (record["quality"], record["photos"], record["blocks"]) == (10, 3, 3 * GRID**2)
    plane = ("Y", "Cb", "Cr").index(record["top_frequencies"][0]["plane"])
    v, u = record["top_frequencies"][0]["frequency"]
    assert measurement.frequency_drift[0, plane, v, u] == measurement.frequency_drift[0].max()
    assert record["top_channels"][0]["channel"] == measurement.channel_drift[0].argmax()
    assert -1 <= record["fdm_rank_correlation"] <= 1
    assert len(table_records(measurement)) == 3


def test_a_measurement_is_plain_values_for_json(measurement: DriftMeasurement, photos: list[Path]) -> None:
    import json

    record = measurement.to_dict()
    assert json.loads(json.dumps(record)) == record
    assert (record["photos"], record["qualities"]) == (3, list(QUALITIES))
    assert [row["quality"] for row in record["rows"]] == list(QUALITIES)
    folder = measure_drift(photos[0].parent, small_backbone(), (10,), jobs=1)
    assert folder.photos == measurement.photos


def test_the_data_of_the_blocks_is_written(measurement: DriftMeasurement, tmp_path: Path) -> None:
    import csv

    import pyarrow.parquet

    save_blocks(measurement, tmp_path / "blocks.csv")
    save_blocks(measurement, tmp_path / "blocks.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "blocks.parquet").to_pydict()
    with open(tmp_path / "blocks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = block_columns(measurement)
    assert list(table) == list(rows[0]) == list(columns)
    assert len(rows) == measurement.feature_angles.size
    assert_allclose([float(row["feature_angle"]) for row in rows], columns["feature_angle"], rtol=1e-6)
    place = GRID**2 + GRID + 2  # of the second photo, row 1, column 2
    assert (rows[place]["photo"], rows[place]["row"], rows[place]["column"]) == ("1.jpg", "1", "2")
    assert table["measured_drift"][place] == measurement.measured_drift[0, 1, 1, 2]
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        save_blocks(measurement, tmp_path / "blocks.txt")


def test_figures_are_drawn_with_and_without_a_module(
    measurement: DriftMeasurement, photos: list[Path], tmp_path: Path
) -> None:
    from PIL import Image

    save_drift_figure(measurement, tmp_path / "with.png")
    save_drift_figure(measure_drift(photos, small_backbone(), (30,)), tmp_path / "without.png")
    for name in ("with.png", "without.png"):
        with Image.open(tmp_path / name) as drawn:
            assert drawn.size == (1650, 1200)


def test_originals_may_be_of_any_format(photos: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    for path in photos:
        with Image.open(path) as image:
            image.save(tmp_path / f"{path.stem}.png")
    kinds = [sorted(tmp_path.glob("*.png")), photos]
    as_png, as_jpeg = (measure_drift(paths, small_backbone(), (10, 50)) for paths in kinds)
    assert_allclose(as_png.measured_drift, as_jpeg.measured_drift, atol=0.1)
    assert_allclose(as_png.feature_angles.mean(), as_jpeg.feature_angles.mean(), rtol=0.05)


def test_photos_that_cannot_be_read_are_named(photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    found = measure_drift([bad, *photos], small_backbone(), (20,))
    assert found.photos == tuple(path.name for path in photos)
    assert [failure.file for failure in found.failures] == ["bad.jpg"]
    with pytest.raises(DctafdError, match="none of 1 photos"):
        measure_drift([bad], small_backbone(), (20,))
    with pytest.raises(DctafdError, match="no photos"):
        measure_drift([], small_backbone(), (20,))
