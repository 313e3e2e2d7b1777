"""The shipped classifier's file, its architecture, and the split and loss that made it."""

import io
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from dctafd.nets.builtin import build_builtin
from dctafd.nets.layers import find_stem
from dctafd.nets.registry import BUILTIN_WEIGHTS, WEIGHTS_DIRECTORY, load_backbone
from dctafd.nets.state_dict import read_metadata

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

from builtin_training.muon import orthogonalise  # noqa: E402
from builtin_training.split import part_of  # noqa: E402
from builtin_training.training import schedule  # noqa: E402

SMALL = {"name": "slim_resnet", "widths": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "num_classes": 5}


def test_builds_a_resnet_of_any_width():
    network = build_builtin(SMALL).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    assert find_stem(network) == "relu"
    assert [network.layer3[0].conv1.out_channels, network.fc.in_features] == [16, 16]


def test_refuses_an_architecture_it_does_not_know():
    with pytest.raises(ValueError, match="slim_vgg"):
        build_builtin({**SMALL, "name": "slim_vgg"})


def test_shipped_weights_load_and_say_what_they_are():
    backbone = load_backbone("builtin")
    metadata = read_metadata(BUILTIN_WEIGHTS)
    assert len(backbone.labels) == len(set(backbone.labels)) == 100
    assert set(json.loads(metadata["preprocessing"])) == {"resize", "crop", "mean", "std"}
    assert {"architecture", "licence", "data", "teacher", "training", "command"} <= set(metadata)
    assert backbone.spec.crop % 8 == 0
    pixels = torch.zeros(1, 3, backbone.spec.crop, backbone.spec.crop)
    with torch.inference_mode():
        assert torch.isfinite(backbone.module(pixels)).all()


def test_shipped_files_stay_within_eight_megabytes():
    sizes = [path.stat().st_size for path in WEIGHTS_DIRECTORY.glob("builtin*.safetensors")]
    assert 0 < sum(sizes) <= 8_000_000


def test_the_examples_are_small_jpegs():
    files = sorted((REPOSITORY / "examples").glob("*.jpg"))
    assert len(files) >= 3
    assert sum(file.stat().st_size for file in files) < 200_000
    for file in files:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            assert image.format == "JPEG"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("accordion/image_0001.jpg", "test"),
        ("accordion/image_0002.jpg", "validation"),
        ("wrench/image_0005.jpg", "train"),
    ],
)
def test_a_photo_never_changes_its_part(name, part):
    assert part_of(name) == part


def test_a_fifth_of_all_photos_tests_and_a_twentieth_validates():
    counts = Counter(part_of(f"class/image_{index:05d}.jpg") for index in range(20_000))
    assert counts["test"] / 20_000 == pytest.approx(0.20, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_muon_steps_have_singular_values_near_one(shape):
    values = torch.linalg.svdvals(
        orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    )
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_learning_rate_warms_up_and_ends_at_zero():
    assert schedule(0.0) < 0.1 < schedule(0.02)
    assert schedule(1.0) == pytest.approx(0.0, abs=1e-6)
