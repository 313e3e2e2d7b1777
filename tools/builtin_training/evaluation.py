"""Top-1 and calibration of the built-in classifier, and the inputs that it is measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from builtin_training.split import LabelledPhoto
from builtin_training.student import normalise
from dctafd.inputs.model_input import InputBatch, collate
from dctafd.inputs.prepare import prepare
from dctafd.nets.registry import ModelSpec


def prepared_batches(files: Sequence[bytes], spec: ModelSpec, size: int = 64) -> Iterator[InputBatch]:
    """Prepare JPEG files for a model, in order; yield batches of `size`, of which the last may be smaller."""
    for start in range(0, len(files), size):
        part = files[start : start + size]
        yield collate([prepare(data, spec.resize, spec.crop, mean=spec.mean, std=spec.std) for data in part])


def centre_crops(
    photos: Sequence[LabelledPhoto], resize: int, crop: int, normalised: bool = True
) -> torch.Tensor:
    """Return centre crops (N, 3, crop, crop), shorter side resized to `resize`, normalised or in [0, 1]."""
    pixels = torch.stack([_centre_crop(photo, resize, crop) for photo in photos])
    return normalise(pixels) if normalised else pixels


def _centre_crop(photo: LabelledPhoto, resize: int, crop: int) -> torch.Tensor:
    with Image.open(photo.path) as stored:
        image = stored.convert("RGB")
    scale = resize / min(image.size)
    width, height = (max(resize, int(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    pixels = np.array(image.crop((left, top, left + crop, top + crop)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@torch.inference_mode()
def predict(network: nn.Module, pixels: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Return logits (N, classes) of a network in evaluation mode."""
    network.eval()
    return torch.cat([network(part) for part in pixels.split(batch)])


def top1(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the percentage of rows whose largest logit is at the label."""
    return 100 * (logits.argmax(1) == labels).float().mean().item()


def best_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature with the least cross-entropy."""
    candidates = np.geomspace(0.2, 4.0, 121)
    losses = [functional.cross_entropy(logits / float(t), labels).item() for t in candidates]
    return float(candidates[int(np.argmin(losses))])


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """Return the expected calibration error over equal-width confidence bins, in [0, 1]."""
    confidence, predicted = functional.softmax(logits, dim=1).max(1)
    correct = (predicted == labels).float()
    index = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [
        (correct[index == b].mean() - confidence[index == b].mean()).abs() * (index == b).float().mean()
        for b in range(bins)
        if (index == b).any()
    ]
    return float(torch.stack(gaps).sum())
