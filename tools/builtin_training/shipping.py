"""Writing the shipped file: averaged weights, calibrated, as fp16 with everything needed to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from builtin_training.evaluation import best_temperature, centre_crops, predict, top1
from builtin_training.split import LabelledPhoto
from dctafd.files import atomic_path
from dctafd.inputs.model_input import IMAGENET_MEAN, IMAGENET_STD

GEOMETRIES = ((128, 128), (144, 128), (144, 144), (160, 144), (160, 160), (176, 160))  # (resize, crop)
TOLERANCE = 1.0  # points of top-1: a larger crop costs by its area and has to be worth it


def choose_geometry(network: nn.Module, photos: Sequence[LabelledPhoto]) -> tuple[int, int]:
    """Return the (resize, crop) with the smallest crop whose top-1 is within `TOLERANCE` of the best.

    Top-1 is the mean over each photo and its mirror image.
    """
    labels = torch.tensor([photo.label for photo in photos])
    scores = {
        geometry: _top1_of_both(network, centre_crops(photos, *geometry), labels) for geometry in GEOMETRIES
    }
    good = [geometry for geometry, score in scores.items() if score >= max(scores.values()) - TOLERANCE]
    return min(good, key=lambda geometry: (geometry[1], -scores[geometry]))


def _top1_of_both(network: nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    both = (pixels, pixels.flip(3))
    return sum(top1(predict(network, view), labels) for view in both) / len(both)


def calibrate(network: nn.Module, photos: Sequence[LabelledPhoto], resize: int, crop: int) -> float:
    """Fold the temperature that fits the photos best into the last layer, and return it."""
    labels = torch.tensor([photo.label for photo in photos])
    temperature = best_temperature(predict(network, centre_crops(photos, resize, crop)), labels)
    head = network.get_submodule("fc")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
    return temperature


def write_weights(
    path: Path, network: nn.Module, geometry: tuple[int, int], facts: Mapping[str, Any], labels: Sequence[str]
) -> None:
    """Write the network as fp16 .safetensors, whole or not at all.

    Args:
        path: the file.
        network: the calibrated network.
        geometry: (resize, crop) in pixels.
        facts: further metadata; what is no string is written as JSON.
        labels: class names by index.
    """
    resize, crop = geometry
    preprocessing = {"resize": resize, "crop": crop, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    metadata = {"format": "dctafd-classifier", "preprocessing": preprocessing, "labels": labels, **facts}
    state = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    with atomic_path(path) as partial:
        save_file(state, partial, text)
