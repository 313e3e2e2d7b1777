"""What `dctafd inspect` finds out about a file, and how it draws it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dctafd
from dctafd.analysis.drift_map import drift_map, drift_record
from dctafd.analysis.inspection import (
    HISTOGRAM_FREQUENCIES,
    blank_tail,
    coefficient_histogram,
    inspect_jpeg,
    inspection_record,
)
from dctafd.analysis.inspection_plots import save_inspection_plot
from dctafd.config import Preprocessing
from dctafd.inference.assembly import ModelFacts
from dctafd.inference.classifier import Classifier
from dctafd.inference.torch_network import TorchNetwork
from dctafd.nets.attach import FrozenClassifier, attach
from dctafd.nets.registry import Backbone
from tests.support.small_nets import CROP, small_backbone, trained_afd


def jpeg_bytes(seed: int = 0, width: int = 96, height: int = 80, quality: int = 70, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).normal(128, 40, (height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def classifier(module: FrozenClassifier, backbone: Backbone) -> Classifier:
    spec = backbone.spec
    sees = Preprocessing(spec.resize, spec.crop, spec.mean, spec.std)
    return Classifier(TorchNetwork(module, "cpu"), ModelFacts("small", backbone.labels), sees)


def test_a_record_is_json_and_says_what_the_file_is() -> None:
    inspection = inspect_jpeg(dctafd.read(jpeg_bytes(subsampling="4:2:2", icc_profile=b"x" * 9)))
    record = json.loads(json.dumps(inspection_record("photo.jpg", inspection), allow_nan=False))
    assert (record["source"], record["width"], record["height"]) == ("photo.jpg", 96, 80)
    assert (record["subsampling"], record["process"], record["icc_bytes"]) == ("4:2:2", "baseline", 9)
    assert record["quality"]["value"] == 70
    assert record["quality"]["exact"] is True
    assert record["history"]["primary_quality"] is None
    assert [component["name"] for component in record["components"]] == ["Y", "Cb", "Cr"]
    assert record["components"][0]["quant_table"][0][:2] == [10, 7]
    assert record["warnings"] == record["damage"] == []
    assert record["error"] is None


@pytest.mark.parametrize("frequency", HISTOGRAM_FREQUENCIES)
def test_histograms_count_every_block(frequency: tuple[int, int]) -> None:
    component = dctafd.read(jpeg_bytes()).components[0]
    histogram = coefficient_histogram(component, frequency)
    values = component.coefficients[:, :, frequency[0], frequency[1]].ravel()
    assert histogram.counts.sum() == values.size
    np.testing.assert_array_equal(np.repeat(histogram.values, histogram.counts), np.sort(values))
    assert histogram.step == component.quant_table[frequency]
    assert histogram.zero_rate == np.mean(values == 0)


def test_a_cut_file_tells_where_its_data_ends() -> None:
    whole = jpeg_bytes(width=256, height=256)
    jpeg = dctafd.read(whole[: len(whole) // 2])
    (tail, *_) = inspect_jpeg(jpeg).blank_tails
    assert tail.component == "Y"
    assert 0.3 < tail.share < 0.6
    assert 12 <= tail.row <= 22
    assert blank_tail(dctafd.read(whole).components[0]) is None


def test_a_flat_photo_is_not_damaged() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "navy").save(buffer, "JPEG")
    assert inspect_jpeg(dctafd.read(buffer.getvalue())).blank_tails == ()


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plots_are_written(tmp_path: Path, suffix: str) -> None:
    whole = jpeg_bytes(width=128, height=128)
    for name, data in (("whole", whole), ("cut", whole[: len(whole) // 2])):
        path = tmp_path / f"{name}.{suffix}"
        save_inspection_plot(inspect_jpeg(dctafd.read(data)), path, name)
        assert path.stat().st_size > 10_000


def test_a_gray_photo_has_one_table_to_draw(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "JPEG")
    save_inspection_plot(inspect_jpeg(dctafd.read(buffer.getvalue())), tmp_path / "gray.png", "gray")
    with Image.open(tmp_path / "gray.png") as drawn:
        assert drawn.size == (1650, 1620)


def test_a_drift_map_has_the_classifiers_grid_and_both_predictions() -> None:
    backbone = small_backbone()
    module = attach(backbone.module, trained_afd(backbone.module, "stem"))
    found = drift_map(classifier(module, backbone), jpeg_bytes())
    assert found.pixels.shape == (CROP, CROP, 3)
    assert found.drift.shape == (CROP // 8, CROP // 8)
    scores = [entry.score for entry in found.corrected]
    assert scores == sorted(scores, reverse=True)
    assert found.corrected != found.uncorrected
    record = json.loads(json.dumps(drift_record(found)))
    assert record["mean"] == pytest.approx(found.drift.mean())
    assert record["direct_predictions"][0]["label"] == f"class {found.uncorrected[0].index}"


def test_the_uncorrected_prediction_is_the_backbones_own(tmp_path: Path) -> None:
    backbone = small_backbone()
    corrected = classifier(attach(backbone.module, trained_afd(backbone.module, "stem")), backbone)
    plain = drift_map(classifier(attach(backbone.module), backbone), jpeg_bytes())
    found = drift_map(corrected, jpeg_bytes())
    assert (plain.drift, plain.corrected) == (None, ())
    assert [entry.label for entry in plain.uncorrected] == [entry.label for entry in found.uncorrected]
    for name, drift in (("plain", plain), ("corrected", found)):
        save_inspection_plot(inspect_jpeg(dctafd.read(jpeg_bytes())), tmp_path / f"{name}.png", name, drift)
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert drawn.size == (1650, 2160)
