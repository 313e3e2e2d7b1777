"""What a training of the AFD-Module minimises; the teacher is the frozen network on the clean photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import Output


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term of the loss, in units of its value before training; 0 leaves a term out.

    Attributes:
        logits: KL divergence of the corrected network's answer from the teacher's.
        features: squared difference of the stages' features, relative to the teacher's.
        stem: absolute difference of the stem's features, in units of `AFDModule.stem_rms`.
        drift: difference of FDM channel 0 from the measured drift, block by block.
    """

    logits: float = 1.0
    features: float = 0.5
    stem: float = 0.1
    drift: float = 0.1


def afd_losses(
    student: Output,
    teacher: Output,
    afd: AFDModule,
    temperature: float = 1.0,
    knee: float | None = None,
) -> dict[str, Tensor]:
    """Return the terms of the loss by name, scalars, unweighted.

    Args:
        student: the corrected network on the compressed photos, with its features.
        teacher: the uncorrected network on the clean photos, without gradients, with its features; may know
            only the last of the stages.
        afd: the module that is trained.
        temperature: divides both networks' logits.
        knee: as in `logits_loss`.
    """
    own, wanted = student.features, teacher.features
    assert student.fdm is not None
    assert own is not None
    assert wanted is not None
    grid, stages = student.fdm.shape[-1], wanted.layers[1:]
    with torch.no_grad():
        measured = afd.measured_drift(own.stem_before.float(), wanted.stem_before.float(), grid)
    stem_error = (own.layers[0].float() - wanted.layers[0].float()).abs().mean() / afd.stem_rms
    return {
        "logits": logits_loss(student.logits / temperature, teacher.logits / temperature, knee),
        "features": features_loss(own.layers[1:][-len(stages) :], stages),
        "stem": stem_error,
        "drift": functional.l1_loss(student.fdm[:, 0].float(), measured),
    }


def logits_loss(student: Tensor, teacher: Tensor, knee: float | None = None) -> Tensor:
    """KL divergence of (B, classes) logits from the teacher's, mean over the batch.

    At quality 7 the answers of an ImageNet classifier diverge five times as far as at 18, and a few photos'
    by far the most. With a knee k, the divergence d of each photo counts as k log(1 + d / k), so that what
    can be won where little was lost weighs as much as what can be won where most is.
    """
    log_student, log_teacher = (logits.float().log_softmax(1) for logits in (student, teacher))
    divergence = functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)  # (B,)
    if knee is not None:
        # Rounding may leave it a little below 0.
        divergence = knee * torch.log1p(divergence.clamp(min=0) / knee)
    return divergence.mean()


def features_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean over the stages of the squared difference, relative to the teacher's mean square."""
    terms = [
        functional.mse_loss(own.float(), wanted.float()) / wanted.float().square().mean().clamp(min=1e-6)
        for own, wanted in zip(student, teacher, strict=True)
    ]
    return torch.stack(terms).mean()


def weighted_sum(losses: dict[str, Tensor], weights: LossWeights, scales: dict[str, float]) -> Tensor:
    """Return the loss that is minimised, a scalar; `scales` are the terms' values before training."""
    terms = [getattr(weights, name) / scales[name] * value for name, value in losses.items()]
    return torch.stack(terms).sum()
