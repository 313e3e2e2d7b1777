"""Measure, during a training, how often the corrected network agrees with itself on clean photos.

No labels are needed: "right" is what the frozen network says of the clean photo.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dctafd.inputs.pictures import centre_crop
from dctafd.nets.attach import CorrectedClassifier
from dctafd.nets.model_specs import ModelSpec
from dctafd.training.data import TrainingPair, collate_pairs, make_pair
from dctafd.training.degrade import Degradation
from dctafd.training.losses import logits_loss
from dctafd.training.views import Photo

VALIDATION_QUALITIES = (7, 10, 15, 18, 25, 90)


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """Agreement with the frozen network's answers on clean photos, at one quality.

    Attributes:
        quality: of the JPEG compression (4:2:0, on the crop's grid).
        uncorrected: per cent of photos whose top class stays the same without the module.
        corrected: the same with the module.
        divergence: mean KL divergence of the corrected answers.
        stem_change: mean absolute correction of the stem's features, in units of `AFDModule.stem_rms`. At 0
            FE-Net does nothing.
    """

    quality: int
    uncorrected: float
    corrected: float
    divergence: float
    stem_change: float


class Validation:
    """A fixed set of photos, compressed at fixed qualities.

    Args:
        photos: clean photos that are not trained on, at their own size; what is kept of each is the crop that
            the classifier sees, resized and cut out as evaluations do.
        spec: the classifier's preprocessing.
        jobs: threads that prepare the photos.
        qualities: that are measured.
        batch_size: photos a forward pass.
    """

    def __init__(
        self,
        photos: Iterable[Photo],
        spec: ModelSpec,
        jobs: int = 2,
        qualities: Sequence[int] = VALIDATION_QUALITIES,
        batch_size: int = 32,
    ) -> None:
        self.views = [centre_crop(photo, spec.resize, spec.crop) for photo in photos]
        self.spec, self.jobs = spec, jobs
        self.qualities, self.batch_size = tuple(qualities), batch_size

    def measure(self, classifier: CorrectedClassifier, device: torch.device) -> tuple[ValidationRow, ...]:
        """Return one row per quality; the classifier stays in the mode in which it is."""
        return tuple(self._row(classifier, device, quality) for quality in self.qualities)

    @torch.no_grad()
    def _row(self, classifier: CorrectedClassifier, device: torch.device, quality: int) -> ValidationRow:
        uncorrected, corrected, divergence, stem_change = 0, 0, 0.0, 0.0
        with ThreadPoolExecutor(self.jobs) as pool:
            for start in range(0, len(self.views), self.batch_size):
                views = self.views[start : start + self.batch_size]
                pairs = list(pool.map(lambda view: self._pair(view, quality), views))
                batch = collate_pairs(pairs).to(device)
                clean = classifier(batch.clean).logits
                answer = classifier(*batch.compressed.tensors(), record=True)
                uncorrected += _agreeing(classifier(batch.compressed.pixels).logits, clean)
                corrected += _agreeing(answer.logits, clean)
                divergence += len(views) * float(logits_loss(answer.logits, clean))
                assert answer.features is not None
                stem = answer.features.layers[0]
                change = (stem - answer.features.stem_before).abs().mean() / classifier.afd.stem_rms
                stem_change += len(views) * float(change)
        count = len(self.views)
        return ValidationRow(
            quality,
            100 * uncorrected / count,
            100 * corrected / count,
            divergence / count,
            stem_change / count,
        )

    def _pair(self, view: Photo, quality: int) -> TrainingPair:
        return make_pair(view, Degradation(quality), self.spec)


def split_photos(paths: Sequence[Path], held_out: int) -> tuple[list[Path], list[Path]]:
    """Split photos into those to train on and `held_out` others, chosen by a hash of their names.

    Raises:
        ValueError: no photo would be left to train on.
    """
    if held_out >= len(paths):
        raise ValueError(f"{held_out} photos held out of {len(paths)} leave none to train on")
    by_hash = sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).digest())
    chosen = set(by_hash[:held_out])
    return [path for path in paths if path not in chosen], by_hash[:held_out]


def _agreeing(logits: Tensor, others: Tensor) -> int:
    return int((logits.argmax(1) == others.argmax(1)).sum())
