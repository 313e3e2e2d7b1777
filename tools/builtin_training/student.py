"""The student: the built-in network with the heads that only distillation needs, its batches and its loss."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from builtin_training.teacher import DEEP_CHANNELS, MIDDLE_CHANNELS, POOLED_CHANNELS, Probe
from builtin_training.views import UNLABELLED, ViewCache
from dctafd.inputs.model_input import IMAGENET_MEAN, IMAGENET_STD
from dctafd.nets.builtin import build_builtin

SOFTENING = 2.0  # temperature of the distilled distribution
LOSS_WEIGHTS = {"soft": 1.0, "hard": 0.3, "pooled": 1.0, "deep": 2.0, "middle": 1.0}


class StudentOutput(NamedTuple):
    """Logits (B, classes) and the predicted teacher features."""

    logits: torch.Tensor
    pooled: torch.Tensor
    deep: torch.Tensor
    middle: torch.Tensor


class Student(nn.Module):
    """The built-in network and linear heads that predict the teacher's features from its stages."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = build_builtin(config)
        *_, third, fourth = config["widths"]
        self.to_middle = nn.Conv2d(third, MIDDLE_CHANNELS, 1)
        self.to_deep = nn.Conv2d(fourth, DEEP_CHANNELS, 1)
        self.to_pooled = nn.Linear(fourth, POOLED_CHANNELS)

    def forward(self, pixels: torch.Tensor) -> StudentOutput:
        """Return logits and predicted features for normalised pixels (B, 3, S, S)."""
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(pixels))))
        third = net.layer3(net.layer2(net.layer1(x)))
        fourth = net.layer4(third)
        pooled = fourth.mean((2, 3))
        return StudentOutput(
            net.fc(pooled), self.to_pooled(pooled), self.to_deep(fourth), self.to_middle(third)
        )


class Targets(NamedTuple):
    """What a batch of views is taught, features standardised per channel; label `UNLABELLED` for none."""

    soft: torch.Tensor
    labels: torch.Tensor
    pooled: torch.Tensor
    deep: torch.Tensor
    middle: torch.Tensor


class Standardiser:
    """Channel means and deviations of the teacher's features, from a sample of the cache."""

    def __init__(self, cache: ViewCache, sample: int = 2000) -> None:
        rows = np.sort(np.random.default_rng(0).choice(cache.count, min(sample, cache.count), replace=False))
        self._moments = {
            name: self._channel_moments(torch.from_numpy(getattr(cache, name)[rows]).float())
            for name in ("pooled", "deep", "middle")
        }

    @staticmethod
    def _channel_moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        dims = (0, *range(2, features.ndim))
        return features.mean(dims, keepdim=True), features.std(dims, keepdim=True) + 1e-3

    def __call__(self, name: str, features: torch.Tensor) -> torch.Tensor:
        """Return features (B, C, ...) with every channel at mean 0 and deviation 1."""
        mean, deviation = self._moments[name]
        return (features - mean) / deviation


class BatchMaker:
    """Reads views from the cache and augments them further in ways that leave the targets true."""

    def __init__(self, cache: ViewCache, probe: Probe) -> None:
        self.cache, self.probe = cache, probe
        self.standardise = Standardiser(cache)

    def __call__(self, rows: np.ndarray, size: int) -> tuple[torch.Tensor, Targets]:
        """Return normalised pixels (B, 3, size, size) and targets for rows of the cache."""
        rows = np.sort(rows)
        pixels = torch.from_numpy(self.cache.pixels[rows]).permute(0, 3, 1, 2).float().div_(255)
        pooled = torch.from_numpy(self.cache.pooled[rows]).float()
        deep = self.standardise("deep", torch.from_numpy(self.cache.deep[rows]).float())
        middle = self.standardise("middle", torch.from_numpy(self.cache.middle[rows]).float())
        labels = torch.from_numpy(self.cache.labels[rows].astype(np.int64))
        if size != pixels.shape[-1]:
            pixels = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
        if random.random() < 0.5:
            pixels, deep, middle = pixels.flip(3), deep.flip(3), middle.flip(3)
        pixels = _colour_shift(pixels)
        soft = functional.softmax(self.probe.logits(pooled) / SOFTENING, dim=1)
        return normalise(pixels), Targets(soft, labels, self.standardise("pooled", pooled), deep, middle)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels (B, 3, S, S) in [0, 1] with ImageNet's mean and deviation removed."""
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    deviation = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return ((pixels - mean) / deviation).contiguous(memory_format=torch.channels_last)


def _colour_shift(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels with a little gain a photo and a channel."""
    gain = 1 + 0.1 * torch.randn(len(pixels), 3, 1, 1).clamp(-2, 2)
    return (pixels * gain).clamp_(0, 1)


def distillation_loss(output: StudentOutput, targets: Targets) -> dict[str, torch.Tensor]:
    """Return the loss's weighted terms, whose sum is to be minimised."""
    log_soft = functional.log_softmax(output.logits / SOFTENING, dim=1)
    terms = {
        "soft": functional.kl_div(log_soft, targets.soft, reduction="batchmean") * SOFTENING**2,
        "hard": functional.cross_entropy(
            output.logits, targets.labels, ignore_index=UNLABELLED, label_smoothing=0.05, reduction="sum"
        )
        / len(targets.labels),
        "pooled": functional.mse_loss(output.pooled, targets.pooled),
        "deep": functional.mse_loss(output.deep, _pooled_like(targets.deep, output.deep)),
        "middle": functional.mse_loss(output.middle, _pooled_like(targets.middle, output.middle)),
    }
    return {name: LOSS_WEIGHTS[name] * term for name, term in terms.items()}


def _pooled_like(target: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    """Average (B, C, H, W) over cells so that its grid is that of `predicted`."""
    height, width = predicted.shape[2:]
    return functional.adaptive_avg_pool2d(target, (height, width))
