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

from builtin_training.mixing import paste_neighbours  # noqa: E402
from builtin_training.muon import orthogonalise  # noqa: E402
from builtin_training.shipping import write_weights  # noqa: E402
from builtin_training.split import part_of  # noqa: E402
from builtin_training.student import Targets  # noqa: E402
from builtin_training.training import Recipe, Trainer, schedule  # noqa: E402
from builtin_training.views import Photo, ViewCache, add_round  # noqa: E402

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


def test_a_run_may_begin_with_the_weights_of_a_shallower_network(tmp_path):
    views = ViewCache(tmp_path / "views", capacity=1)
    shallow = Trainer(Recipe(SMALL, seconds=1), views, tmp_path / "shallow.pt")
    shallow.save()
    deeper = Recipe({**SMALL, "blocks": [1, 1, 3, 1]}, seconds=1, seed=1)
    grown = Trainer(deeper, views, tmp_path / "grown.pt", start_from=tmp_path / "shallow.pt")
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    wanted, got = (trainer.student.network.eval()(pixels) for trainer in (shallow, grown))
    torch.testing.assert_close(got, wanted)
    assert grown.earlier == [{"steps": 0, "seconds": 0}]


def test_a_run_may_begin_with_a_shipped_file(tmp_path):
    trained = Trainer(Recipe(SMALL, seconds=1), ViewCache(tmp_path, capacity=1), tmp_path / "none.pt").average
    facts = {"architecture": SMALL, "training": {"steps": 7, "seconds": 9, "earlier": [{"steps": 1}]}}
    write_weights(tmp_path / "shipped.safetensors", trained, (144, 128), facts, list("abcde"))
    begun = Trainer(
        Recipe(SMALL, seconds=1, seed=1),
        ViewCache(tmp_path),
        tmp_path / "none.pt",
        tmp_path / "shipped.safetensors",
    )
    assert begun.earlier == [{"steps": 1}, {"steps": 7, "seconds": 9}]
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(begun.average.state_dict()[name], weight, atol=1e-3, rtol=1e-3)


def test_a_full_cache_of_views_says_so(tmp_path):
    photo = Photo(Image.new("RGB", (40, 40)), 0, 0.3)
    with pytest.raises(ValueError, match="made for 1 views, 0 are there"):
        add_round(ViewCache(tmp_path, capacity=1), [photo, photo], teacher=None)


def test_pasted_boxes_take_their_share_of_every_target():
    views = torch.arange(4.0)
    flat = {size: views[:, None, None, None].expand(4, 1, size, size) for size in (96, 12, 6)}
    targets = Targets(views[:, None], torch.arange(4), views[:, None], flat[6], flat[12])
    pixels, mixed = paste_neighbours(flat[96], targets)
    assert set(mixed.labels.tolist()) == {-1}
    for maps in (pixels, mixed.deep, mixed.middle):
        torch.testing.assert_close(maps.mean((1, 2, 3)), mixed.soft[:, 0])
    torch.testing.assert_close(mixed.pooled, mixed.soft)
    assert 0.05 < float((pixels[1] == 0).float().mean()) < 0.7
