"""The teacher: Apache-2.0 MobileNetV2 weights under a linear probe for the built-in classifier's classes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dctafd.nets.tf_padding import use_tf_same_padding

MIDDLE_BLOCK = 13  # last block at stride 16: 96 channels
DEEP_BLOCK = 17  # last block at stride 32: 320 channels
MIDDLE_CHANNELS, DEEP_CHANNELS, POOLED_CHANNELS = 96, 320, 1280


class TeacherFeatures(NamedTuple):
    """What the student learns to predict, for input of side S.

    Attributes:
        middle: (B, 96, S/16, S/16).
        deep: (B, 320, S/32, S/32).
        pooled: (B, 1280).
    """

    middle: torch.Tensor
    deep: torch.Tensor
    pooled: torch.Tensor


class Teacher(nn.Module):
    """MobileNetV2 with TensorFlow's SAME padding, giving features instead of logits.

    Args:
        weights: path of `mobilenet_v2_coral.npz`.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        network = torchvision.models.mobilenet_v2()
        with np.load(weights) as stored:
            state = {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files}
        missing = network.load_state_dict(state, strict=False).missing_keys
        if any("running" not in key and "num_batches" not in key for key in missing):
            raise ValueError(f"{weights} lacks {missing}")
        network.eval()
        _fuse_batch_norm(use_tf_same_padding(network))
        self.features = network.features.to(memory_format=torch.channels_last).requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> TeacherFeatures:
        """Return the features of RGB pixels (B, 3, S, S) in [0, 1]."""
        x = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.features):
            x = block(x)
            if index == MIDDLE_BLOCK:
                middle = x
            if index == DEEP_BLOCK:
                deep = x
        return TeacherFeatures(middle, deep, x.mean((2, 3)))


def _fuse_batch_norm(network: nn.Module) -> None:
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        names = list(sequence._modules)
        for first, second in itertools.pairwise(names):
            convolution, norm = sequence._modules[first], sequence._modules[second]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence._modules[first] = fuse_conv_bn_eval(convolution, norm)
                sequence._modules[second] = nn.Identity()


class Probe(NamedTuple):
    """A linear classifier on standardised pooled features."""

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return (B, classes) for pooled features (B, 1280)."""
        return functional.linear(pooled, self.weight, self.bias)


def fit_probe(pooled: torch.Tensor, labels: torch.Tensor, classes: int, epochs: int = 12) -> Probe:
    """Fit a linear probe by label-smoothed cross-entropy and return it with the scaling folded in.

    Args:
        pooled: (N, 1280) float32 features of augmented views.
        labels: (N,) class indices.
        classes: number of classes.
        epochs: passes over the N views.
    """
    generator = torch.Generator().manual_seed(0)
    mean, deviation = pooled.mean(0), pooled.std(0) + 1e-3
    inputs = (pooled - mean) / deviation
    head = nn.Linear(pooled.shape[1], classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    batch = 256
    steps = epochs * (len(labels) // batch + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(labels), (batch,), generator=generator)
        loss = functional.cross_entropy(head(inputs[rows]), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    weight = head.weight.detach() / deviation
    return Probe(weight, head.bias.detach() - weight @ mean)
