"""Real checkpoints in ../shared: named variants load and classify."""

import csv
from pathlib import Path

import pytest
import torch

from dctafd.analysis.evaluate import plan_evaluation
from dctafd.inputs.prepare import prepare
from dctafd.nets.afd_weights import select_afd
from dctafd.nets.registry import Backbone, load_backbone
from tools.places import SHARED, shared_checkpoint

PHOTOS = 16

pytestmark = pytest.mark.shared("weights", "images/eval")


def shared_backbone(model: str, tmp_path: Path) -> Backbone:
    weights = tmp_path / f"{model}.pth"
    torch.save(shared_checkpoint(model), weights)
    return load_backbone(model, weights)


@pytest.mark.parametrize("model", ["mobilenet_v2_coral", "squeezenet1_1_onnxzoo", "resnet18_ktb"])
def test_named_variants_recognise_photos(model: str, tmp_path: Path) -> None:
    backbone = shared_backbone(model, tmp_path)
    spec = backbone.spec
    folder = SHARED / "images" / "eval"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:PHOTOS]
    inputs = [
        prepare(folder / row["file"], spec.resize, spec.crop, mean=spec.mean, std=spec.std) for row in rows
    ]
    pixels = torch.stack([torch.from_numpy(item.pixels) for item in inputs])
    with torch.inference_mode():
        answers = backbone.module(pixels).argmax(1).tolist()
    right = sum(answer == int(row["label"]) for answer, row in zip(answers, rows, strict=True))
    assert right >= 0.6 * PHOTOS  # all three reach 69 to 83 % on 100 photos; chance is 0.1 %


@pytest.mark.parametrize("model", ["resnet18_ktb", "squeezenet1_1_onnxzoo"])
def test_the_shipped_module_helps_at_quality_7(model: str, tmp_path: Path) -> None:
    backbone = shared_backbone(model, tmp_path)
    selected = select_afd("auto", backbone)
    assert selected is not None
    assert selected.name == model
    folder = SHARED / "images/eval"
    evaluation = plan_evaluation(
        folder, backbone, selected.module, labels=folder / "labels.csv", qualities=(7,), limit=64
    ).run()
    (row,) = evaluation.rows
    assert row.afd_top1 is not None
    assert row.direct_top1 is not None
    assert row.afd_top1 >= row.direct_top1 + 5  # points; docs/results.md has more photos
    assert evaluation.clean is not None
    assert evaluation.clean.afd_top1 is not None
    assert evaluation.clean.direct_top1 is not None
    assert evaluation.clean.afd_top1 >= evaluation.clean.direct_top1 - 4
