"""Take channels out of a trained AFD-Module, and let those that stay do what the others did.

A bottleneck that was trained wide does with fewer channels nearly what it did, once the weights that read
them are fitted anew, by least squares, to what the bottleneck made of real photos (`least_squares.py`). So it
is with FDE-Net and the FDM (`prune_fde.py`). No training is needed, but one afterwards regains more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import CorrectedClassifier
from dctafd.nets.fe_net import StageCorrection
from dctafd.nets.least_squares import entries_of, kernel_of, narrow, summing_moments
from dctafd.nets.prune_fde import prune_fde_net, prune_fdm
from dctafd.nets.rep_conv import RepConv


@dataclass(frozen=True, slots=True)
class PrunedWidths:
    """What is left of a module's widths; None for as many as there are.

    Attributes:
        stage_widths: channels of the corrections after the stages; those after the last stages are left out
            where there are fewer than before.
        fde_width: hidden channels of FDE-Net.
        fdm_channels: channels of the FDM, channel 0 among them.
    """

    stage_widths: tuple[int, ...] | None = None
    fde_width: int | None = None
    fdm_channels: int | None = None


def collect_moments(
    classifier: CorrectedClassifier, batches: Iterable[Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Run photos through a corrected classifier and sum up what the layers that can be pruned read.

    Args:
        classifier: with a re-parameterised module, in eval mode.
        batches: the arguments of its `forward`.

    Returns:
        Second moments (`summing_moments`) by the layer's name in the module: "fde.neighbours", "fde.head",
        and of each stage, as of the first, "stages.0.conv" and "stages.0.expand".

    Raises:
        WeightsError: the module is not re-parameterised.
    """
    _require_folded(classifier.afd)
    fde = classifier.afd.fde
    layers: dict[str, RepConv | nn.Conv2d] = {"fde.neighbours": fde.neighbours, "fde.head": fde.head}
    for index, stage in enumerate(classifier.afd.stages):
        assert isinstance(stage, StageCorrection)
        layers |= {f"stages.{index}.conv": stage.conv, f"stages.{index}.expand": stage.expand}
    with summing_moments(layers) as moments, torch.no_grad():
        for batch in batches:
            classifier(*batch, record=True)  # which calls the last layers, too, rather than adding in place
    return moments


def prune(
    afd: AFDModule, moments: Mapping[str, Tensor], widths: PrunedWidths
) -> tuple[AFDModule, dict[str, float]]:
    """Return a narrower module, and what each of its parts lost.

    Args:
        afd: a re-parameterised module, which stays as it is.
        moments: of what its layers read, as `collect_moments` returns them.
        widths: channels to keep, at most as many as there are.

    Returns:
        The new module, re-parameterised, in eval mode; and for each correction, by the stage's number, for
        the FDM and for FDE-Net the share of what it made, by energy, that it does not make any more on the
        photos of the moments.

    Raises:
        WeightsError: the module is not re-parameterised, or a width is 0 or more than what there is.
    """
    _require_folded(afd)
    own = afd.config
    wanted = replace(own, **{name: value for name, value in asdict(widths).items() if value is not None})
    pairs = [
        *zip(wanted.stage_widths, own.stage_widths, strict=False),
        (wanted.fde_width, own.fde_width),
        (wanted.fdm_channels, own.fdm_channels),
    ]
    if len(wanted.stage_widths) > len(own.stage_widths) or not all(1 <= new <= old for new, old in pairs):
        there = (own.stage_widths, own.fde_width, own.fdm_channels)
        raise WeightsError(f"{widths} do not prune a module of stages, FDE-Net and FDM {there}")
    pruned, lost = _prune_stages(afd, moments, wanted.stage_widths)
    # The FDM first, whose channels tell which of FDE-Net's matter; what FDE-Net's layers read is as it was.
    pruned, lost["FDM"] = prune_fdm(pruned, moments, wanted.fdm_channels)
    pruned, lost["FDE-Net"] = prune_fde_net(pruned, moments, wanted.fde_width)
    return pruned, lost


def _prune_stages(
    afd: AFDModule, moments: Mapping[str, Tensor], widths: tuple[int, ...]
) -> tuple[AFDModule, dict[str, float]]:
    """Return a module with narrower corrections after its first stages, and what each of them lost."""
    changes: dict[str, Tensor] = {}
    lost = {}
    for index, (stage, width) in enumerate(zip(afd.stages, widths, strict=False)):
        assert isinstance(stage, StageCorrection)
        name = f"stages.{index}"
        layers, lost[f"stage {index + 1}"] = _prune_stage(stage, name, moments, width)
        changes |= layers
    return afd.rebuilt(changes, stage_widths=widths), lost


def _prune_stage(
    stage: StageCorrection, name: str, moments: Mapping[str, Tensor], width: int
) -> tuple[dict[str, Tensor], float]:
    """Return the state dict's changed entries of one correction, and the share of its energy that is lost."""
    if width == stage.reduce.out_channels:
        return {}, 0.0
    read = (moments[f"{name}.conv"], moments[f"{name}.expand"])
    fitted = narrow(stage.conv, kernel_of(stage.expand), read, width)
    return {
        **entries_of(f"{name}.reduce", stage.reduce, kernel_of(stage.reduce)[:, fitted.kept]),
        **entries_of(f"{name}.conv", stage.conv, fitted.first),
        **entries_of(f"{name}.expand", stage.expand, fitted.last),
    }, fitted.lost


def _require_folded(afd: AFDModule) -> None:
    if not afd.reparameterized:
        raise WeightsError("only a re-parameterised module can be pruned: call reparameterize() first")
