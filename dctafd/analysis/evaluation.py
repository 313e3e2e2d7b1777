"""What an evaluation found: `Evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dctafd.analysis.evaluation_rows import EvaluationRow, Measure, mean_row
from dctafd.analysis.failures import FileFailure
from dctafd.analysis.labelled_photos import UnmatchedLabel
from dctafd.analysis.photo_scores import MeasuredPhoto
from dctafd.analysis.protocols import Condition, Protocol


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        model: name of the classifier.
        images: photos that were measured.
        protocol: how they were compressed.
        measure: "accuracy" (right is the label) or "agreement" (right is the classifier's own answer on the
            uncompressed photo).
        labels: where the labels come from; None without.
        clean: the photos as they are; its `afd_` figures say what the module does to them. None for protocol
            "stored", which has no uncompressed photos.
        rows: one a condition; for protocol "stored" one a folder that holds class folders.
        means: means over the rows: of each corruption's severities, and of all.
        failures: photos that could not be measured, folders and archives that could not be looked into.
        unmatched: labels that are no class of the model, whose photos were left out.
        photos: every photo's scores; `conditions` says of what.
        conditions: of `MeasuredPhoto.scores`.
    """

    model: str
    images: int
    protocol: Protocol
    measure: Measure
    labels: str | None
    clean: EvaluationRow | None
    rows: tuple[EvaluationRow, ...]
    means: tuple[EvaluationRow, ...] = ()
    failures: tuple[FileFailure, ...] = ()
    unmatched: tuple[UnmatchedLabel, ...] = ()
    photos: tuple[MeasuredPhoto, ...] = field(default=(), repr=False)
    conditions: tuple[Condition, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the record of `dctafd evaluate --format json`; `photos` are not in it."""
        keys = {"stored": ("folder", "table_quality", "primary_quality"), "repeated": ("times",)}
        shown = keys.get(self.protocol, ())
        return {
            "model": self.model,
            "images": self.images,
            "protocol": self.protocol,
            "measure": self.measure,
            "labels": self.labels,
            "clean": self._clean_record(),
            "rows": [row.to_dict(shown) for row in self.rows],
            "means": [row.to_dict(("folder",) if self.protocol == "stored" else ()) for row in self.means],
            "failures": [failure.to_dict() for failure in self.failures],
            "unmatched_labels": [label.to_dict() for label in self.unmatched],
        }

    def mean_over(self, qualities: Sequence[int]) -> EvaluationRow:
        """Return the mean over the rows of some qualities, with intervals.

        Raises:
            ValueError: a quality was not measured.
        """
        by_quality = {row.quality: row for row in self.rows}
        if missing := [quality for quality in qualities if quality not in by_quality]:
            raise ValueError(f"quality {missing[0]} was not measured")
        numbers = [self.conditions.index(self._condition_of(quality)) for quality in qualities]
        good = [photo for photo in self.photos if photo.failure is None]
        top1 = None if self.clean is None else self.clean.direct_top1
        rows = [by_quality[quality] for quality in qualities]
        return mean_row(rows, [good] * len(rows), numbers, clean_top1=top1)

    def _condition_of(self, quality: int) -> Condition:
        return next(condition for condition in self.conditions if condition.quality == quality)

    def _clean_record(self) -> dict[str, Any]:
        if self.clean is None:
            return dict.fromkeys(("top1", "top5", "afd_top1", "afd_top5"))
        record = self.clean.to_dict()
        del record["quality"]
        return {name.removeprefix("direct_"): value for name, value in record.items()}
