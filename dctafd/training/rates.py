"""How fast which weights learn: the rate over a training, and groups of parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from dctafd.nets.afd import AFDModule
from dctafd.nets.rep_conv import RepConv

WARM_UP_SHARE = 0.05  # of the training, at most
FULL_RATE_FAN_IN = 64  # weights of larger layers learn more slowly, see `parameter_groups`


def learning_rate_factor(step: int, progress: float, warm_up: int) -> float:
    """Return the share of the highest learning rate: linear warm-up, then a cosine down to a hundredth.

    A training of a few minutes on a CPU has not many more steps than a warm-up; it ends after
    `WARM_UP_SHARE` of the training at the latest.
    """
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, max((step + 1) / warm_up, progress / WARM_UP_SHARE)) * cosine


def parameter_groups(afd: AFDModule, weight_decay: float, rep_conv_rate: float) -> list[dict[str, Any]]:
    """Group the parameters by their learning rate, a multiple of the training's, and by whether they decay.

    AdamW moves each weight by about the learning rate, hence a layer's output by that times its fan-in: the
    rate falls with it (Yang et al. 2021, Tensor Programs V). Biases and gates do not decay.
    """
    rates = {id(p): min(1.0, FULL_RATE_FAN_IN / fan_in) for p, fan_in in _fan_ins(afd)}
    rates |= {id(p): rep_conv_rate for m in afd.modules() if isinstance(m, RepConv) for p in m.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in afd.parameters():
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rates.get(id(parameter), 1.0), decay), []).append(parameter)
    return [
        {"params": parameters, "rate": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _fan_ins(afd: AFDModule) -> Iterator[tuple[Tensor, int]]:
    """Yield the weights of convolutions and linear layers, and how many inputs make one output."""
    for module in afd.modules():
        if isinstance(module, nn.ConvTranspose2d):  # patches do not overlap
            yield module.weight, module.in_channels
        elif isinstance(module, nn.Conv2d | nn.Linear):
            yield module.weight, module.weight[0].numel()
