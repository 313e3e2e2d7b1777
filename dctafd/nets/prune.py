"""Take channels out of the later stages' corrections, and let those that stay do what the others did.

A bottleneck that was trained wide does with fewer channels nearly what it did, once the weights that read
them are fitted anew, by least squares, to what the bottleneck made of real photos (He, Zhang and Sun, ICCV
2017). Channels leave one by one, each time the one whose loss the others make up for best, which the inverse
of the second moments tells at once (Hassibi and Stork, 1993).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import CorrectedClassifier
from dctafd.nets.fe_net import StageCorrection
from dctafd.nets.rep_conv import RepConv

# Added to the diagonal of the second moments, times its mean: channels may be copies of each other.
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class StageMoments:
    """Second moments of what one stage's correction reads and makes, summed over all cells.

    Attributes:
        patches: (9 I + 1, 9 I + 1) float64, of the 3x3 neighbourhoods that the RepConv reads, I channels, as
            `functional.unfold` orders them, and of a constant 1, which stands for the bias.
        inner: (W, W) float64, of the W channels that the last layer reads.
    """

    patches: Tensor
    inner: Tensor


@dataclass(frozen=True, slots=True)
class _Fit:
    """Which channels stay, and the least-squares weights that read them.

    Attributes:
        kept: numbers of the channels that stay, in order.
        weights: (inputs that stay, outputs) float64.
        lost: share of the outputs' energy that the fit does not reach.
    """

    kept: list[int]
    weights: Tensor
    lost: float


def collect_moments(
    classifier: CorrectedClassifier, batches: Iterable[Sequence[Tensor]]
) -> list[StageMoments]:
    """Run photos through a corrected classifier and sum up what its stages' corrections see.

    Args:
        classifier: with a re-parameterised module, in eval mode.
        batches: the arguments of its `forward`.

    Returns:
        The moments of each of the module's stages.
    """
    stages = [stage for stage in classifier.afd.stages if isinstance(stage, StageCorrection)]
    moments = [_no_moments(stage) for stage in stages]
    with _watching(stages, moments), torch.no_grad():
        for batch in batches:
            classifier(*batch, record=True)  # which calls the last layers, too, rather than adding in place
    return moments


def prune_stages(
    afd: AFDModule, moments: Sequence[StageMoments], widths: Sequence[int]
) -> tuple[AFDModule, list[float]]:
    """Return a module with narrower corrections after the stages, and what each of them lost.

    Args:
        afd: a re-parameterised module, which stays as it is.
        moments: of its stages, as `collect_moments` returns them.
        widths: channels that each correction keeps, at most as many as it has.

    Returns:
        The new module, re-parameterised, in eval mode; and for each stage the share of the correction's
        energy that the fit of its last layer does not reach on the photos of the moments.

    Raises:
        WeightsError: the module is not re-parameterised, or a width is 0 or more than what there is.
    """
    own = afd.config.stage_widths
    if not afd.reparameterized:
        raise WeightsError("only a re-parameterised module can be pruned: call reparameterize() first")
    if len(widths) != len(own) or not all(1 <= new <= old for new, old in zip(widths, own, strict=True)):
        raise WeightsError(f"widths {tuple(widths)} do not prune a module of {own}")
    pruned = AFDModule(replace(afd.config, stage_widths=tuple(widths))).eval().reparameterize()
    state, lost = afd.state_dict(), []
    for index, (stage, width) in enumerate(zip(afd.stages, widths, strict=True)):
        assert isinstance(stage, StageCorrection)
        layers, share = _prune_stage(stage, moments[index], width)
        state |= {f"stages.{index}.{name}": value for name, value in layers.items()}
        lost.append(share)
    pruned.load_state_dict(state)
    return pruned, lost


def _prune_stage(
    stage: StageCorrection, moments: StageMoments, width: int
) -> tuple[dict[str, Tensor], float]:
    """Return the state dict's changed entries of one correction, and the share of its energy that is lost."""
    if width == stage.reduce.out_channels:
        return {}, 0.0
    expand = stage.expand.weight.detach().flatten(1).t().double()  # (W, C)
    inner = _keep_best(moments.inner, expand, [[c] for c in range(len(expand))], width)

    conv = _deployed(stage.conv)
    kernel = torch.cat([conv.weight.flatten(1), _bias(conv)[:, None]], 1).detach().double()[inner.kept].t()
    # What an error in each of them does to the correction.
    importance = inner.weights.norm(dim=1).clamp(min=1e-12)
    own = [list(range(9 * channel, 9 * channel + 9)) for channel in range(stage.reduce.out_channels)]
    guides_and_bias = range(9 * stage.reduce.out_channels, len(kernel))
    read = _keep_best(moments.patches, kernel * importance, own, width, guides_and_bias)
    fitted = (read.weights / importance).t().float()  # (width, 9 inputs + 1)
    return {
        "reduce.weight": stage.reduce.weight[read.kept],
        "reduce.bias": _bias(stage.reduce)[read.kept],
        "conv.deployed.weight": fitted[:, :-1].unflatten(1, (-1, 3, 3)),
        "conv.deployed.bias": fitted[:, -1],
        "expand.weight": inner.weights.t().float()[..., None, None],
    }, inner.lost


def _keep_best(
    moments: Tensor, weights: Tensor, channels: list[list[int]], width: int, always: Sequence[int] = ()
) -> _Fit:
    """Take channels out until `width` are left, and fit the weights of what is left to all outputs.

    Args:
        moments: (inputs, inputs), of all inputs.
        weights: (inputs, outputs), what the outputs are made with.
        channels: the inputs of each channel.
        width: channels to keep.
        always: inputs that stay.
    """
    moments = moments + _RIDGE * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    kept = list(range(len(channels)))
    while True:
        inputs = torch.tensor([number for channel in kept for number in channels[channel]] + list(always))
        inverse = torch.linalg.inv(moments[inputs][:, inputs])
        fitted = inverse @ (moments[inputs] @ weights)  # (inputs left, outputs)
        if len(kept) == width:
            break
        kept.pop(_cheapest(fitted, inverse, [len(channels[channel]) for channel in kept]))
    energy = (weights * (moments @ weights)).sum()
    return _Fit(kept, fitted, float(1 - (fitted * (moments[inputs] @ weights)).sum() / energy))


def _cheapest(fitted: Tensor, inverse: Tensor, sizes: list[int]) -> int:
    """Return which of the channels, one after the other in `fitted`, costs least energy if it is left out."""
    costs, start = [], 0
    for size in sizes:
        own = slice(start, start + size)
        costs.append(float((fitted[own] * torch.linalg.solve(inverse[own, own], fitted[own])).sum()))
        start += size
    return min(range(len(costs)), key=costs.__getitem__)


@contextmanager
def _watching(stages: Sequence[StageCorrection], moments: Sequence[StageMoments]) -> Iterator[None]:
    """Add to the moments whatever passes through the stages' corrections."""
    handles = []
    for stage, sums in zip(stages, moments, strict=True):

        def add_patches(_: nn.Module, inputs: tuple[Tensor, ...], sums: StageMoments = sums) -> None:
            patches = functional.unfold(inputs[0].detach(), 3, padding=1).mT.flatten(0, 1)
            _add_moments(sums.patches, functional.pad(patches, (0, 1), value=1.0))

        def add_inner(_: nn.Module, inputs: tuple[Tensor, ...], sums: StageMoments = sums) -> None:
            _add_moments(sums.inner, inputs[0].detach().flatten(2).mT.flatten(0, 1))

        handles.append(stage.conv.register_forward_pre_hook(add_patches))
        handles.append(stage.expand.register_forward_pre_hook(add_inner))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add_moments(sums: Tensor, rows: Tensor) -> None:
    rows = rows.to(sums.dtype)
    sums.addmm_(rows.t(), rows)


def _no_moments(stage: StageCorrection) -> StageMoments:
    inputs, width = 9 * stage.conv.in_channels + 1, stage.expand.in_channels
    return StageMoments(*(torch.zeros(size, size, dtype=torch.float64) for size in (inputs, width)))


def _deployed(conv: RepConv) -> nn.Conv2d:
    assert conv.deployed is not None
    return conv.deployed


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
