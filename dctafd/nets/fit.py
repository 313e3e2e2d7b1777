"""Whether an AFD-Module fits a network: how every layer that it corrects responds to a fixed pattern.

A module corrects what one network's weights make of compressed photos. A network of the same architecture
with other weights has other features, to which its corrections are noise, so a weights file keeps the
fingerprint of each layer that the module corrects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.layers import BackboneLayers

#: Relative difference of a layer's responses up to which it counts as the same layer. Two networks that were
#: rounded or fine-tuned up to this distance kept a gain whose 95 % interval lies above 0 (docs/results.md);
#: two checkpoints of ResNet-50 of different origin are 0.78 (stem) to 1.05 (last stage) apart.
TOLERANCE = 0.3
#: The same where a file tells of the stem alone, as those of before do: stems are nearer than what follows.
STEM_TOLERANCE = 0.02
_PATTERN_SIDE = 64  # stages of stride 32 still give 2x2 cells

Fingerprints = dict[str, tuple[float, ...]]


def fingerprints(network: nn.Module, names: Sequence[str]) -> Fingerprints:
    """Return the mean response of each channel of layers to a fixed pattern, 5 significant digits.

    Equal layers have equal fingerprints however their batch norms are stored.

    Args:
        network: from pixels (B, 3, S, S) to logits, in eval mode; left as it is.
        names: of the layers.

    Raises:
        WeightsError: the network has no such layer.
    """
    found: dict[str, Tensor] = {}

    def record(module: nn.Module, inputs: Any, output: Tensor, name: str) -> None:
        found[name] = output.float().mean((0, 2, 3))

    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise WeightsError(f"{type(network).__name__} has no layer {name!r}")
    handles = [modules[name].register_forward_hook(partial(record, name=name)) for name in names]
    try:
        with torch.no_grad():
            network(_pattern(next(network.parameters())))
    finally:
        for handle in handles:
            handle.remove()
    return {name: tuple(float(f"{value:.5g}") for value in found[name].tolist()) for name in names}


def telling_layers(layers: BackboneLayers) -> tuple[str, ...]:
    """Return the names of the layers whose responses tell whether a module fits: all that it may correct.

    Those of a module that corrects the stem alone, too: it was trained for what the stages make of the stem.
    """
    return tuple(layer.name for layer in (layers.stem, *layers.stages, *layers.norms))


def distances(own: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the relative difference of each layer's fingerprints; infinite where their widths differ."""
    return {name: _distance(own[name], other[name]) for name in own if name in other}


def tolerance(own: Mapping[str, Sequence[float]]) -> float:
    """Return the largest distance at which layers still count as those of a module's fingerprints."""
    return TOLERANCE if len(own) > 1 else STEM_TOLERANCE


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    if len(first) != len(second):
        return math.inf
    return math.dist(first, second) / max(math.hypot(*first), math.hypot(*second), 1e-12)


def _pattern(like: Tensor) -> Tensor:
    """Return two normalised pictures, (2, 3, S, S), of waves of ever higher frequency and their negatives."""
    cells = torch.arange(3 * _PATTERN_SIDE**2, dtype=torch.float32)
    waves = 2 * torch.sin(0.37 * cells + 1e-4 * cells.square()).reshape(3, _PATTERN_SIDE, _PATTERN_SIDE)
    return torch.stack([waves, -waves]).to(like.device, like.dtype)
