"""The teacher of a training: frozen networks on clean photos, run once for each crop that comes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets.attach import CorrectedClassifier, Features, Output
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.model_specs import ModelSpec
from dctafd.nets.registry import Backbone
from dctafd.nets.stem import features_at
from dctafd.training.data import TrainingBatch


class Teacher:
    """Answers with the features and logits that the frozen network has for the clean photos of a batch.

    Other networks may have a say: the logits are then those of a mean of the classifier's probabilities and
    the others' (`OtherTeacher`), by `share`; the features remain the classifier's own.

    Where crops are fixed (`FixedCrop`), the networks run for crops that were not seen before only: their
    logits and the last stage's features are remembered, in half precision and in main memory (68 KB a crop
    for ResNet-50 and views of 128 pixels). The stem alone runs every time, because its features depend on
    how a pair was resized.

    Args:
        classifier: holds the frozen network.
        others: networks with the same classes.
        temperature: of the classifier (`ModelSpec`).
        share: what the others count, all together; half where nothing is said.
    """

    def __init__(
        self,
        classifier: CorrectedClassifier,
        others: Sequence[OtherTeacher] = (),
        temperature: float = 1.0,
        share: float = 0.5,
    ) -> None:
        self._classifier, self._others = classifier, tuple(others)
        self._temperature, self._share = temperature, share
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, batch: TrainingBatch) -> Output:
        """Answer with features; with fixed crops `layers` are the stem's and the last stage's."""
        if batch.pristine is None:
            return self._answers(batch.clean)
        self._learn(batch.fixed_crops, batch.pristine)
        known = [self._known[crop] for crop in batch.fixed_crops]
        logits, last = (  # float() first: a CPU's autocast to bfloat16 refuses to stack half precision
            torch.stack([part.float() for part in parts]).to(batch.clean.device)
            for parts in zip(*known, strict=True)
        )
        stem = features_at(self._classifier.backbone, self._classifier.stem, batch.clean)
        return Output(logits, features=Features(stem, (stem, last)))

    def _learn(self, crops: tuple[int, ...], pristine: Tensor) -> None:
        if all(crop in self._known for crop in crops):
            return
        # An epoch's crops are all new or all known, so that a batch has both only where two epochs meet. The
        # known ones are then run again: the batch keeps its size, for which the networks may be compiled.
        answer = self._answers(pristine)
        assert answer.features is not None
        parts = (answer.logits.half().cpu(), answer.features.layers[-1].half().cpu())
        for crop, logits, last in zip(crops, *parts, strict=True):
            self._known[crop] = (logits.clone(), last.clone())

    def _answers(self, clean: Tensor) -> Output:
        """Answer with features for normalised pixels (B, 3, S, S), which are views of one size."""
        answer = self._classifier(clean, record=True)
        if not self._others:
            return answer
        others = torch.stack([other.probabilities(clean) for other in self._others]).mean(0)
        own = (answer.logits.float() / self._temperature).softmax(1)
        mixed = (1 - self._share) * own + self._share * others  # (B, classes)
        # 1e-7: of less, half precision, in which answers are remembered, would make nothing better.
        return replace(answer, logits=mixed.clamp(min=1e-7).log() * self._temperature)


class OtherTeacher:
    """A network that is not the one being corrected; asked for a view and for its mirror image.

    Args:
        backbone: the network; its batch norms are folded.
        spec: of the corrected classifier, whose normalisation the views have.
        size: side to which views are enlarged first, None to take them as they are.
        device: where the views are.
    """

    def __init__(
        self, backbone: Backbone, spec: ModelSpec, size: int | None, device: torch.device | str = "cpu"
    ) -> None:
        self._size = size
        module: nn.Module = fold_batch_norms(backbone.module).requires_grad_(False)
        self._network = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        own, its = (
            torch.tensor([part.mean, part.std], device=device)[..., None, None]
            for part in (spec, backbone.spec)
        )
        self._gain, self._offset = own[1] / its[1], (own[0] - its[0]) / its[1]  # (3, 1, 1) each
        self._temperature = backbone.spec.temperature

    def compile(self) -> None:
        """Compile the network for the size that the next batches have."""
        self._network.compile(dynamic=False)

    @torch.no_grad()
    def probabilities(self, views: Tensor) -> Tensor:
        """Return (B, classes), the mean over a view and its mirror image, for normalised (B, 3, S, S)."""
        views = views * self._gain + self._offset
        if self._size is not None and self._size != views.shape[-1]:
            views = functional.interpolate(views, (self._size, self._size), mode="bilinear", antialias=True)
        mirrored = views.flip(3).contiguous(memory_format=torch.channels_last)  # flip would lose the layout
        logits = torch.stack([self._network(views), self._network(mirrored)])  # (2, B, classes)
        return (logits.float() / self._temperature).softmax(2).mean(0)
