"""Take hidden channels out of FDE-Net, and channels out of the Feature Drifting Map that it makes.

Hidden channels leave as those of the corrections do (`narrow`). The FDM's channels are read by 3x3
convolutions only, after a linear resize, so that any linear combinations may take their place. Those are kept
that lose least of what the convolutions make of the FDM of real photos, as in a reduced-rank regression.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dctafd.nets.afd import AFDModule
from dctafd.nets.fe_net import FENet, StageCorrection
from dctafd.nets.least_squares import deployed, entries_of, kernel_of, narrow
from dctafd.nets.rep_conv import RepConv

# What an error in the drift counts, the other channels of the FDM 1 each: it gates every correction, and the
# drift is what tells quiet photos from others.
_DRIFT_COUNTS = 3.0
# Least energy that a channel or direction counts as, as a share of the greatest: some may have none.
_LEAST_ENERGY = 1e-12


def prune_fdm(afd: AFDModule, moments: Mapping[str, Tensor], channels: int) -> tuple[AFDModule, float]:
    """Return a module whose FDM has fewer channels, and what its readers lost.

    Channel 0, the drift, stays exactly as it is.

    Args:
        afd: a re-parameterised module, which stays as it is.
        moments: of what "fde.head" reads, as `collect_moments` returns them.
        channels: to keep, at least 1, at most as many as there are.

    Returns:
        The new module, re-parameterised, in eval mode; and the share of the energy that is lost of what the
        convolutions made of the FDM's channels but the drift, on the photos of the moments.
    """
    others = afd.config.fdm_channels - 1
    if channels - 1 == others:
        return afd, 0.0
    head = kernel_of(afd.fde.head)  # (hidden channels + 1, FDM channels)
    made = head[:, 1:].t() @ moments["fde.head"] @ head[:, 1:]  # (others, others)
    readers = _readers(afd)
    importance = torch.zeros(others, others, dtype=torch.float64)
    for reader in readers.values():
        read = deployed(reader).weight.detach()[:, -others:].transpose(0, 1).flatten(1).double()
        importance += read @ read.t()
    into, back, lost = _best_directions(made, importance, channels - 1)
    changes = entries_of("fde.head", afd.fde.head, torch.cat([head[:, :1], head[:, 1:] @ into], 1))
    for name, reader in readers.items():
        weight = deployed(reader).weight.detach()  # (outputs, own and FDM channels, 3, 3)
        combined = torch.einsum("oiyx,ic->ocyx", weight[:, -others:].double(), back).float()
        changes[f"{name}.deployed.weight"] = torch.cat([weight[:, :-others], combined], 1)
    return afd.rebuilt(changes, fdm_channels=channels), lost


def prune_fde_net(afd: AFDModule, moments: Mapping[str, Tensor], width: int) -> tuple[AFDModule, float]:
    """Return a module whose FDE-Net has fewer hidden channels, and what the FDM lost.

    Args:
        afd: a re-parameterised module, which stays as it is; its FDM may have been pruned.
        moments: of what "fde.neighbours" and "fde.head" read, as `collect_moments` returns them.
        width: hidden channels to keep, at least 1, at most as many as there are.

    Returns:
        The new module, re-parameterised, in eval mode; and the share of the FDM's energy that the fit of its
        last layer does not reach on the photos of the moments, channels weighted as in that fit.
    """
    fde = afd.fde
    if width == afd.config.fde_width:
        return afd, 0.0
    head = kernel_of(fde.head)  # (hidden channels + 1, FDM channels)
    read = moments["fde.head"][:-1, :-1]  # without the bias, which no channel has to make
    energy = (head[:-1] * (read @ head[:-1])).sum(0)  # (FDM channels,)
    counts = energy.clamp(min=_LEAST_ENERGY * float(energy.max())).rsqrt()
    counts[0] *= _DRIFT_COUNTS
    fitted = narrow(fde.neighbours, head * counts, (moments["fde.neighbours"], moments["fde.head"]), width)
    state = fde.state_dict()
    rows = ("block.weight", "block.bias", "context.weight", "context.bias")
    changes = {
        **{f"fde.{name}": state[name][fitted.kept] for name in rows},
        **entries_of("fde.neighbours", fde.neighbours, fitted.first),
        **entries_of("fde.head", fde.head, fitted.last / counts),
    }
    return afd.rebuilt(changes, fde_width=width), fitted.lost


def _readers(afd: AFDModule) -> dict[str, RepConv]:
    """Return the convolutions that read the FDM, as the last of their input channels, by their names."""
    readers = {
        f"stages.{index}.conv": stage.conv
        for index, stage in enumerate(afd.stages)
        if isinstance(stage, StageCorrection)
    }
    return {**readers, "fe.below_in": afd.fe.below_in} if isinstance(afd.fe, FENet) else readers


def _best_directions(made: Tensor, importance: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """Return the combinations of channels that lose least, and what stands for the channels then.

    Args:
        made: (C, C) float64, second moments of the channels.
        importance: (C, C) float64, sum of w w^T over the weights w (C,) by which the channels are read.
        count: combinations to keep.

    Returns:
        What makes the combinations of the channels, (C, count), of norm 1 each; what makes channels of them
        again, (C, count); and the share of the energy that is lost.
    """
    energies, axes = torch.linalg.eigh(made)
    scales = energies.clamp(min=_LEAST_ENERGY * float(energies.max())).sqrt()
    # Of channels made white by `inverse`, those directions lose least that have the greatest eigenvalues.
    root, inverse = (axes * scales) @ axes.t(), (axes / scales) @ axes.t()
    energy, directions = torch.linalg.eigh(root @ importance @ root)  # ascending
    best = directions[:, len(directions) - count :]
    into, back = inverse @ best, root @ best
    norms = into.norm(dim=0)
    return into / norms, back * norms, float(1 - energy[len(energy) - count :].sum() / energy.sum())
