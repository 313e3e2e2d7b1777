"""The teacher of a training: the frozen network on clean photos, run once for each box that comes again."""

from __future__ import annotations

import torch
from torch import Tensor

from dctafd.nets.attach import CorrectedClassifier, Features
from dctafd.research.training_data import TrainingBatch


class Teacher:
    """Answers with the features and logits that the frozen network has for the clean photos of a batch.

    Where boxes are fixed (`FixedBox`), the network runs for boxes that were not seen before only: their
    logits and the last stage's features are remembered, in half precision and in main memory (68 KB a box
    for ResNet-50 and views of 128 pixels). The stem alone runs every time, because its features depend on
    how a pair was resized.

    Args:
        classifier: holds the frozen network.
    """

    def __init__(self, classifier: CorrectedClassifier) -> None:
        self._classifier = classifier
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, batch: TrainingBatch) -> Features:
        """Return the teacher's features; with fixed boxes `layers` are the stem's and the last stage's."""
        if batch.pristine is None:
            return self._classifier.direct_features(batch.clean)
        self._learn(batch.boxes, batch.pristine)
        known = [self._known[box] for box in batch.boxes]
        logits, last = (
            torch.stack(parts).to(batch.clean.device, torch.float32) for parts in zip(*known, strict=True)
        )
        stem = self._classifier.direct_stem(batch.clean)
        return Features(logits, None, stem, [stem, last])

    def _learn(self, boxes: tuple[int, ...], pristine: Tensor) -> None:
        new = [index for index, box in enumerate(boxes) if box not in self._known]
        if not new:
            return
        features = self._classifier.direct_features(pristine[new])
        answers = (features.logits.half().cpu(), features.layers[-1].half().cpu())
        for index, logits, last in zip(new, *answers, strict=True):
            self._known[boxes[index]] = (logits.clone(), last.clone())
