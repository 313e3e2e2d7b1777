"""Let some of a layer's inputs do, by least squares, what all of them did on real photos.

Channels leave one by one, each time the one whose loss the others make up for best, which the inverse of the
second moments tells at once (Hassibi and Stork, 1993); the weights that read the others are fitted anew (He,
Zhang and Sun, ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets.rep_conv import RepConv

# Added to the diagonal of the second moments, times its mean: channels may be copies of each other.
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Fit:
    """Which channels stay, and the least-squares weights that read them.

    Attributes:
        kept: numbers of the channels that stay, in order.
        weights: (inputs that stay, outputs) float64.
        lost: share of the outputs' energy that the fit does not reach.
    """

    kept: list[int]
    weights: Tensor
    lost: float


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A 3x3 convolution and the 1x1 convolution after it, with fewer channels before and between them.

    Attributes:
        kept: numbers of the channels before the first that stay, in order.
        first, last: their kernels, as `kernel_of` returns them.
        lost: share of the energy of what `last` makes that its fit does not reach.
    """

    kept: list[int]
    first: Tensor
    last: Tensor
    lost: float


def deployed(layer: RepConv | nn.Conv2d) -> nn.Conv2d:
    """Return the convolution that a layer is; a RepConv has to be re-parameterised."""
    if isinstance(layer, RepConv):
        assert layer.deployed is not None
        return layer.deployed
    return layer


def kernel_of(layer: RepConv | nn.Conv2d) -> Tensor:
    """Return a convolution as a matrix, (inputs, outputs) float64.

    Inputs are ordered as `functional.unfold` orders them. Where there is a bias, it is the weight of one more
    input at the end, a constant 1.
    """
    convolution = deployed(layer)
    kernel = convolution.weight.detach().flatten(1)  # (outputs, inputs)
    if convolution.bias is not None:
        kernel = torch.cat([kernel, convolution.bias.detach()[:, None]], 1)
    return kernel.t().double()


def entries_of(name: str, layer: RepConv | nn.Conv2d, kernel: Tensor) -> dict[str, Tensor]:
    """Return what a state dict holds of a convolution like `layer`, but with another kernel.

    Args:
        name: of the layer in the state dict.
        layer: tells the sides of the kernel, and whether it has a bias.
        kernel: (inputs, outputs), as `kernel_of` returns it, of any number of channels.
    """
    convolution = deployed(layer)
    prefix = f"{name}.deployed" if isinstance(layer, RepConv) else name
    rows = kernel.t().float()  # (outputs, inputs)
    bias = {}
    if convolution.bias is not None:
        rows, bias = rows[:, :-1], {f"{prefix}.bias": rows[:, -1]}
    return {f"{prefix}.weight": rows.unflatten(1, (-1, *convolution.kernel_size)), **bias}


@contextmanager
def summing_moments(layers: Mapping[str, RepConv | nn.Conv2d]) -> Iterator[dict[str, Tensor]]:
    """Sum up the second moments of what convolutions read, as long as it is open.

    Args:
        layers: convolutions of stride 1, 3x3 with a padding of 1 or 1x1, by name.

    Yields:
        For each name (inputs, inputs) float64, inputs as in `kernel_of`, summed over all cells.
    """
    moments, handles = {}, []
    for name, layer in layers.items():
        inputs = len(kernel_of(layer))
        moments[name] = torch.zeros(inputs, inputs, dtype=torch.float64)

        def add(layer: nn.Module, read: tuple[Tensor, ...], *, sums: Tensor = moments[name]) -> None:
            assert isinstance(layer, RepConv | nn.Conv2d)
            rows = _rows(deployed(layer), read[0].detach()).to(sums.dtype)
            sums.addmm_(rows.t(), rows)

        handles.append(layer.register_forward_pre_hook(add))
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def _rows(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    """Return what a convolution reads of features (B, C, H, W) at each cell, (B H W, inputs)."""
    side = convolution.kernel_size[0]
    cells = functional.unfold(features, side, padding=side // 2) if side > 1 else features.flatten(2)
    rows = cells.mT.flatten(0, 1)
    return rows if convolution.bias is None else functional.pad(rows, (0, 1), value=1.0)


def narrow(first: RepConv, last: Tensor, moments: tuple[Tensor, Tensor], width: int) -> Narrowed:
    """Leave as many channels between two convolutions, and of what the first reads, as `width` says.

    Args:
        first: a 3x3 convolution; of its inputs as many channels may leave as it has outputs, the first ones.
        last: (inputs, outputs), the kernel of a 1x1 convolution that reads what `first` makes; it may be
            scaled by what an error in each output does.
        moments: of what either reads (`summing_moments`).
        width: channels to keep.
    """
    between = keep_best(moments[1], last, channels=first.out_channels, size=1, width=width)
    # What an error in each of them does to what `last` makes.
    importance = between.weights[:width].norm(dim=1).clamp(min=1e-12)
    kernel = kernel_of(first)[:, between.kept] * importance
    read = keep_best(moments[0], kernel, channels=first.out_channels, size=9, width=width)
    return Narrowed(read.kept, read.weights / importance, between.weights, between.lost)


def keep_best(moments: Tensor, weights: Tensor, *, channels: int, size: int, width: int) -> Fit:
    """Take channels out until `width` are left, and fit the weights of what is left to all outputs.

    Args:
        moments: (inputs, inputs) float64, second moments of all inputs.
        weights: (inputs, outputs) float64, what the outputs are made with.
        channels: how many of them may leave; theirs are the first inputs, the others stay.
        size: inputs of each channel.
        width: channels to keep.
    """
    moments = moments + _RIDGE * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    always = torch.arange(channels * size, len(moments))
    kept = list(range(channels))
    while True:
        own = (torch.tensor(kept)[:, None] * size + torch.arange(size)).flatten()
        inputs = torch.cat([own, always])
        inverse = torch.linalg.inv(moments[inputs][:, inputs])
        fitted = inverse @ (moments[inputs] @ weights)  # (inputs left, outputs)
        if len(kept) == width:
            break
        kept.pop(_cheapest(fitted, inverse, len(kept), size))
    energy = (weights * (moments @ weights)).sum()
    return Fit(kept, fitted, float(1 - (fitted * (moments[inputs] @ weights)).sum() / energy))


def _cheapest(fitted: Tensor, inverse: Tensor, channels: int, size: int) -> int:
    """Return which of the channels, one after the other in `fitted`, costs least energy if it is left out."""
    costs = []
    for channel in range(channels):
        own = slice(channel * size, (channel + 1) * size)
        costs.append(float((fitted[own] * torch.linalg.solve(inverse[own, own], fitted[own])).sum()))
    return min(range(channels), key=costs.__getitem__)
