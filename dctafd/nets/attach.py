"""Attach an AFD-Module to a frozen classifier, without touching the classifier."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule, Guidance
from dctafd.nets.fe_net import StageCorrection
from dctafd.nets.in_place import may_overwrite
from dctafd.nets.stem import features_at


@dataclass(slots=True)
class Features:
    """What one forward pass gives besides logits.

    Attributes:
        logits: (B, classes).
        fdm: (B, F, G, G), None for the uncorrected network.
        stem_before: (B, C, H, W), the stem's features before the correction.
        layers: the (corrected) features of the stem and of each stage that the module knows.
    """

    logits: Tensor
    fdm: Tensor | None
    stem_before: Tensor
    layers: list[Tensor]


@dataclass(slots=True)
class _ForwardPass:
    """The state of one forward pass, which the hooks on the backbone's layers read and fill."""

    guidance: Guidance | None
    record: bool
    stem_before: Tensor | None = None
    layers: list[Tensor] = field(default_factory=list)


_forward_pass: ContextVar[_ForwardPass | None] = ContextVar("dctafd_forward_pass", default=None)


class CorrectedClassifier(nn.Module):
    """A frozen classifier whose features an AFD-Module corrects on their way.

    The backbone that was given is neither changed nor moved: this module holds a copy of its structure
    that shares its weights, in eval mode, with hooks on the stem and the stages. `direct` runs it as it was.

    Args:
        backbone: the classifier.
        afd: the module, made for this backbone's layers.
        layer: name of the stem layer where it is not the one that `afd` was made for.
    """

    def __init__(self, backbone: nn.Module, afd: AFDModule, layer: str | None = None) -> None:
        super().__init__()
        self.backbone = _frozen_copy(backbone)
        self.afd = afd
        layers = afd.config.layers
        self._stem = layer or layers.stem.name
        self._hook(self._stem, partial(_correct_stem, afd=afd))
        for index, stage in enumerate(layers.stages):
            self._hook(stage.name, partial(_correct_stage, afd=afd, index=index))
        for index, norm in enumerate(layers.norms if afd.modulation is not None else ()):
            self._hook(norm.name, partial(_modulate, index=index))
        self.train(afd.training)

    def _hook(self, name: str, hook: Any) -> None:
        try:
            self.backbone.get_submodule(name).register_forward_hook(hook)
        except AttributeError as error:
            raise WeightsError(f"{type(self.backbone).__name__} has no layer {name!r}") from error

    def train(self, mode: bool = True) -> CorrectedClassifier:
        """Set the AFD-Module's mode; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(
        self,
        pixels: Tensor,
        coefficients: Tensor,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
    ) -> Tensor:
        """Return logits (B, classes) for a batch; inputs as in `InputBatch`."""
        return self.forward_with_fdm(pixels, coefficients, steps, survival, scale, primary_quality)[0]

    def forward_with_fdm(
        self,
        pixels: Tensor,
        coefficients: Tensor,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes) and the Feature Drifting Map (B, F, G, G)."""
        guidance = self.afd.guide(coefficients, steps, survival, scale, primary_quality)
        with _passing(_ForwardPass(guidance, record=False)):
            return self.backbone(pixels), guidance.fdm

    def forward_features(
        self,
        pixels: Tensor,
        coefficients: Tensor,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
    ) -> Features:
        """Return logits, FDM and the corrected features of the stem and the stages."""
        return self._recorded(pixels, self.afd.guide(coefficients, steps, survival, scale, primary_quality))

    def direct(self, pixels: Tensor) -> Tensor:
        """Return the uncorrected backbone's logits (B, classes) for pixels (B, 3, S, S)."""
        with _passing(None):
            return self.backbone(pixels)

    def direct_features(self, pixels: Tensor) -> Features:
        """Return the uncorrected backbone's logits and features for pixels (B, 3, S, S)."""
        return self._recorded(pixels, None)

    def direct_stem(self, pixels: Tensor) -> Tensor:
        """Return the uncorrected stem's features (B, C, H, W); the forward pass ends there."""
        with _passing(None):
            return features_at(self.backbone, self._stem, pixels)

    def _recorded(self, pixels: Tensor, guidance: Guidance | None) -> Features:
        state = _ForwardPass(guidance, record=True)
        with _passing(state):
            logits = self.backbone(pixels)
        assert state.stem_before is not None
        fdm = None if guidance is None else guidance.fdm
        return Features(logits, fdm, state.stem_before, state.layers)


def attach(backbone: nn.Module, afd: AFDModule, layer: str | None = None) -> CorrectedClassifier:
    """Return the corrected classifier; the backbone stays as it is and can be used on its own.

    Args:
        backbone: a convolutional classifier, (B, 3, S, S) -> (B, classes), S a multiple of 8.
        afd: the AFD-Module (`AFDModule.for_backbone`, `load_afd`).
        layer: name of the stem layer where it is not the one that `afd` was made for.

    Raises:
        WeightsError: the backbone lacks a layer that `afd` corrects.

    Example:
        >>> backbone = dctafd.load_backbone("efficientnet_lite0").module
        >>> afd = dctafd.AFDModule.for_backbone(backbone)  # or dctafd.load_afd(...)
        >>> corrected = dctafd.attach(backbone, afd)
        >>> corrected(*dctafd.collate([dctafd.prepare("photo.jpg")]).tensors()).shape
        torch.Size([1, 1000])
    """
    return CorrectedClassifier(backbone, afd, layer)


def _frozen_copy(backbone: nn.Module) -> nn.Module:
    """Copy a network's structure in eval mode; the weights are shared and need no gradients."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.data, requires_grad=False) for p in backbone.parameters()}
    memo |= {id(buffer): buffer for buffer in backbone.buffers()}
    return copy.deepcopy(backbone, memo).eval()


@contextmanager
def _passing(state: _ForwardPass | None) -> Iterator[None]:
    token = _forward_pass.set(state)
    try:
        yield
    finally:
        _forward_pass.reset(token)


def _correct_stem(module: nn.Module, inputs: Any, stem: Tensor, *, afd: AFDModule) -> Tensor | None:
    """Forward hook of the stem layer."""
    state = _forward_pass.get()
    if state is None:
        return None
    channels = afd.config.layers.stem.channels
    if stem.shape[1] != channels:
        raise WeightsError(
            f"the AFD-Module is for a stem of {channels} channels, this one has {stem.shape[1]}"
        )
    corrected = stem
    if state.guidance is not None:
        # What records the stem as it was still needs it.
        correct = afd.fe.correct_ if not state.record and _is_disposable(module, inputs, stem) else afd.fe
        corrected = correct(stem, state.guidance.acting)
    if state.record:
        state.stem_before = stem
        state.layers.append(corrected)
    return corrected


def _correct_stage(
    module: nn.Module, inputs: Any, features: Tensor, *, afd: AFDModule, index: int
) -> Tensor | None:
    """Forward hook of a later stage; shape "stem" records its features and corrects nothing."""
    state = _forward_pass.get()
    if state is None:
        return None
    if state.guidance is not None and index < len(afd.stages):
        stage = afd.stages[index]
        assert isinstance(stage, StageCorrection)
        correct = stage.correct_ if _is_disposable(module, inputs, features) else stage
        features = correct(features, state.guidance.acting)
    if state.record:
        state.layers.append(features)
    return features


def _modulate(module: nn.Module, inputs: Any, features: Tensor, *, index: int) -> Tensor | None:
    """Forward hook of a batch norm."""
    state = _forward_pass.get()
    if state is None or state.guidance is None:
        return None
    return state.guidance.affines[index](features)


def _is_disposable(module: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> bool:
    """Whether a layer's output may be overwritten: nothing asks for it and it is not the layer's input.

    An in-place layer's output is its input, but has overwritten it already, so that nothing waits for it.
    """
    others_wait = not getattr(module, "inplace", False) and any(features is other for other in inputs)
    return may_overwrite(features) and not others_wait
