"""What a training of the AFD-Module makes, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from dctafd.nets.afd import Variant
from dctafd.nets.device import choose_device
from dctafd.training.degrade import DegradationRange
from dctafd.training.losses import LossWeights

#: What recipes and checkpoints of before call a setting -> its name.
OLD_NAMES = {"shape": "variant", "boxes": "fixed_crops"}


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides what a training makes, apart from photos and classifier.

    Attributes:
        variant: "stem" or "deep".
        layer: name of the stem layer, None to find it.
        fe_width, stage_widths, fde_width, fdm_channels: widths in place of the defaults
            (`AFDConfig.for_layers`).
        rep_conv: train RepConv's branches; else its single 3x3 convolution from the start.
        steps: optimiser steps; None where `minutes` limits the training.
        minutes: time for training and validation, over all resumed runs; the schedule follows it.
        batch_size: pairs a step.
        crop: side of the views in pixels, a multiple of 8; None for the classifier's own. Smaller views cost
            less.
        fixed_crops: see each photo through so many fixed crops, and run the teacher once for each
            (`Teacher`); None draws a new crop every time.
        cutmix: share of the views into which part of another photo's view is pasted (`Patch`), so that fewer
            views look alike. The teacher sees them as they are.
        stretch: views are squeezed or stretched by up to this factor, at least 1 (`random_view`).
        rep_conv_rate: learning rate of RepConv's branches, as a multiple of `learning_rate`. A weight of the
            folded kernel is a sum over some hundred products of the branches' weights, all of which AdamW
            moves by the learning rate: at the full rate kernels are turned over within a few steps.
        learning_rate: its highest value; it warms up, then falls along a cosine to a hundredth.
        weight_decay: of AdamW.
        warm_up: optimiser steps until the highest learning rate; a twentieth of the training at most.
        ema_decay: of the running average of the weights, which is what is saved.
        seed: of weights, photos and degradations.
        losses: weights of the loss's terms.
        divergence_knee: of the loss's term "logits" (`logits_loss`), in nats; None for the plain divergence.
        degradations: what the photos go through.
        teachers: other networks whose answers on the clean photos are learnt beside the classifier's own
            (`Teacher`): the model's name, or "model=file of weights".
        teacher_share: what they count, all together; the classifier's own answer counts the rest.
        teacher_size: side to which views are enlarged for them, None for none.
    """

    variant: Variant = "deep"
    layer: str | None = None
    fe_width: int | None = None
    stage_widths: tuple[int, ...] | None = None
    fde_width: int | None = None
    fdm_channels: int | None = None
    rep_conv: bool = True
    steps: int | None = 20_000
    minutes: float | None = None
    batch_size: int = 32
    crop: int | None = None
    fixed_crops: int | None = None
    cutmix: float = 0.0
    stretch: float = 1.0
    learning_rate: float = 2e-3
    rep_conv_rate: float = 0.1
    weight_decay: float = 1e-2
    warm_up: int = 100
    ema_decay: float = 0.999
    seed: int = 0
    losses: LossWeights = field(default_factory=LossWeights)
    divergence_knee: float | None = 0.3
    degradations: DegradationRange = field(default_factory=DegradationRange)
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.5
    teacher_size: int | None = None

    def __post_init__(self) -> None:
        if self.crop is not None and (self.crop < 8 or self.crop % 8):
            raise ValueError(f"the crop has to be a multiple of 8 pixels, not {self.crop}")
        if self.fixed_crops is not None and self.fixed_crops < 1:
            raise ValueError(f"a photo needs at least one fixed crop, not {self.fixed_crops}")
        if not 0 <= self.cutmix <= 1:
            raise ValueError(f"the share of pasted views has to be 0 to 1, not {self.cutmix}")
        if not 1 <= self.stretch <= 2:
            raise ValueError(f"views can be stretched by factors of 1 to 2, not {self.stretch}")
        if not 0 <= self.teacher_share <= 1:
            raise ValueError(f"the teachers' share has to be 0 to 1, not {self.teacher_share}")
        if self.divergence_knee is not None and self.divergence_knee <= 0:
            raise ValueError(f"the knee has to be above 0, not {self.divergence_knee}")


@dataclass(frozen=True, slots=True)
class TrainingRuntime:
    """Where and how a training runs; changes nothing of its result but rounding.

    Attributes:
        device: "cpu", "cuda" and so on.
        jobs: threads that make training pairs.
        bf16: whether the networks run in bfloat16 (see `bf16_helps`).
        compile: whether to use torch.compile.
    """

    device: torch.device
    jobs: int = 2
    bf16: bool = False
    compile: bool = False

    @classmethod
    def choose(cls, device: str = "auto", jobs: int = 2, compile: bool = False) -> TrainingRuntime:
        """Choose the GPU if there is one ("auto"), and bfloat16 where it helps."""
        chosen = choose_device(device)
        return cls(chosen, jobs, bf16_helps(chosen), compile)

    def autocast(self) -> torch.autocast:
        """Return the context in which the networks run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def bf16_helps(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic; CPUs without it are several times slower with it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
