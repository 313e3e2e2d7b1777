"""Attach an AFD-Module to a frozen classifier, without touching the classifier."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, overload

from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule, Guidance
from dctafd.nets.fde_net import BlockSums
from dctafd.nets.fe_net import StageCorrection
from dctafd.nets.in_place import may_overwrite


@dataclass(frozen=True, slots=True)
class Features:
    """The features of the layers that a module knows, as one forward pass made them.

    Attributes:
        stem_before: (B, C, H, W), the stem's before the correction.
        layers: the (corrected) ones of the stem and of each stage.
    """

    stem_before: Tensor
    layers: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """What a classifier makes of B photos, corrected or not.

    Attributes:
        logits: (B, classes).
        fdm: the Feature Drifting Map, (B, F, G, G), whose channel 0 is the predicted drift; None where
            nothing was corrected.
        features: of the layers that the module knows, where they were asked for; None otherwise, and without
            a module.
    """

    logits: Tensor
    fdm: Tensor | None = None
    features: Features | None = None


@dataclass(slots=True)
class _ForwardPass:
    """The state of one forward pass, which the hooks on the backbone's layers read and fill."""

    guidance: Guidance | None
    record: bool
    stem_before: Tensor | None = None
    layers: list[Tensor] = field(default_factory=list)

    def features(self) -> Features | None:
        """Return what was recorded."""
        return None if self.stem_before is None else Features(self.stem_before, tuple(self.layers))


_forward_pass: ContextVar[_ForwardPass | None] = ContextVar("dctafd_forward_pass", default=None)


class FrozenClassifier(nn.Module):
    """A frozen classifier that no module corrects: `CorrectedClassifier`'s contract without its work.

    The backbone that was given is neither changed nor moved: this module holds a copy of its structure
    that shares its weights, in eval mode.

    Attributes:
        corrects: whether it has an AFD-Module, and so reads more than pixels.

    Args:
        backbone: the classifier.
    """

    corrects = False
    __call__: Callable[..., Output]  # nn.Module's, which does not tell what `forward` returns

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = _frozen_copy(backbone)

    def train(self, mode: bool = True) -> Self:
        """Set the AFD-Module's mode, if there is one; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(
        self,
        pixels: Tensor,
        coefficients: Tensor | BlockSums | None = None,
        steps: Tensor | None = None,
        survival: Tensor | None = None,
        scale: Tensor | None = None,
        primary_quality: Tensor | None = None,
        *,
        record: bool = False,
    ) -> Output:
        """Answer for pixels (B, 3, S, S); the rest is there for the contract and changes nothing."""
        return Output(self.backbone(pixels))


class CorrectedClassifier(FrozenClassifier):
    """A frozen classifier whose features an AFD-Module corrects on their way.

    Its copy of the backbone has hooks on the stem and the stages.

    Args:
        backbone: the classifier.
        afd: the module, made for this backbone's layers.
        layer: name of the stem layer where it is not the one that `afd` was made for.
    """

    corrects = True

    def __init__(self, backbone: nn.Module, afd: AFDModule, layer: str | None = None) -> None:
        super().__init__(backbone)
        self.afd = afd
        layers = afd.config.layers
        self.stem = layer or layers.stem.name
        self._hook(self.stem, partial(_correct_stem, afd=afd))
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

    def forward(
        self,
        pixels: Tensor,
        coefficients: Tensor | BlockSums | None = None,
        steps: Tensor | None = None,
        survival: Tensor | None = None,
        scale: Tensor | None = None,
        primary_quality: Tensor | None = None,
        *,
        record: bool = False,
    ) -> Output:
        """Answer for a batch, the tensors of an `InputBatch`; for pixels alone as without the module.

        Args:
            pixels: (B, 3, S, S), normalised.
            coefficients, steps, survival, scale, primary_quality: what the photos' files tell, all of it or
                nothing.
            record: whether to keep the features, too. What is kept is not overwritten, which costs time.

        Raises:
            TypeError: only some of what the files tell is given.
        """
        file: tuple[Any, ...] = (coefficients, steps, survival, scale, primary_quality)
        told = [part for part in file if part is not None]
        if told and len(told) < len(file):
            raise TypeError("a corrected classifier reads pixels alone or all tensors of an InputBatch")
        guidance = self.afd.guide(*told) if told else None
        state = _ForwardPass(guidance, record) if guidance is not None or record else None
        with _passing(state):
            logits = self.backbone(pixels)
        return Output(
            logits,
            None if guidance is None else guidance.fdm,
            None if state is None else state.features(),
        )

    def corrected(self, pixels: Tensor, guidance: Guidance) -> Tensor:
        """Return logits (B, classes) for pixels (B, 3, S, S) and what `AFDModule.guidance` returns."""
        with _passing(_ForwardPass(guidance, record=False)):
            logits: Tensor = self.backbone(pixels)
        return logits


@overload
def attach(backbone: nn.Module, afd: AFDModule, layer: str | None = None) -> CorrectedClassifier: ...
@overload
def attach(
    backbone: nn.Module, afd: AFDModule | None = None, layer: str | None = None
) -> FrozenClassifier: ...
def attach(backbone: nn.Module, afd: AFDModule | None = None, layer: str | None = None) -> FrozenClassifier:
    """Return the corrected classifier; the backbone stays as it is and can be used on its own.

    Args:
        backbone: a convolutional classifier, (B, 3, S, S) -> (B, classes), S a multiple of 8.
        afd: the AFD-Module (`AFDModule.for_backbone`, `load_afd`); None for none, under the same contract.
        layer: name of the stem layer where it is not the one that `afd` was made for.

    Returns:
        A module whose call gives an `Output`: logits, the Feature Drifting Map and, with `record=True`,
        features.

    Raises:
        WeightsError: the backbone lacks a layer that `afd` corrects.

    Example:
        >>> backbone = dctafd.load_backbone("efficientnet_lite0")
        >>> afd = dctafd.load_afd("efficientnet_lite0")  # a new one: AFDModule.for_backbone(backbone.module)
        >>> corrected = dctafd.attach(backbone.module, afd)
        >>> photo = dctafd.prepare("photo.jpg", preprocessing=backbone.spec.preprocessing)
        >>> output = corrected(*dctafd.collate([photo]).tensors())
        >>> output.logits.shape, output.fdm.shape
        (torch.Size([1, 1000]), torch.Size([1, 4, 28, 28]))
    """
    return FrozenClassifier(backbone) if afd is None else CorrectedClassifier(backbone, afd, layer)


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
        # What records the stem still needs it as it was.
        correct = afd.fe.correct_ if not state.record and _is_disposable(module, inputs, stem) else afd.fe
        corrected = correct(stem, state.guidance.acting)
    if state.record:
        state.stem_before = stem
        state.layers.append(corrected)
    return corrected


def _correct_stage(
    module: nn.Module, inputs: Any, features: Tensor, *, afd: AFDModule, index: int
) -> Tensor | None:
    """Forward hook of a later stage; variant "stem" records its features and corrects nothing."""
    state = _forward_pass.get()
    if state is None:
        return None
    if state.guidance is not None and index < len(afd.stages):
        stage = afd.stages[index]
        assert isinstance(stage, StageCorrection)
        correct = stage.correct_ if not state.record and _is_disposable(module, inputs, features) else stage
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
