"""Measure a classifier on labelled photos, compressed by a protocol, with and without its AFD-Module.

Both answers come from the same prepared inputs, so that their difference is the module's doing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dctafd.analysis.protocols import Condition, compressed_input
from dctafd.errors import DctafdError
from dctafd.inputs.model_input import InputBatch, ModelInput, collate
from dctafd.nets.attach import CorrectedClassifier
from dctafd.nets.registry import Backbone, ModelSpec

CONFIDENCE = 0.95
_BOOTSTRAP_SAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo and the index of its class."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """Accuracy under one condition; percentages, None where there is no module.

    Attributes:
        quality: of the JPEG compression; None where it is drawn, or the files are taken as they are.
        times: how many times a photo was compressed, for protocol "repeated".
        direct_top1, direct_top5: without the module.
        afd_top1, afd_top5: with it.
        top1_gain: points of top-1 that the module gives.
        top1_gain_low, top1_gain_high: their 95 % interval (bootstrap over photos, paired).
        regained: per cent of what compression took from top-1; None where it took nothing.
    """

    quality: int | None
    times: int | None
    direct_top1: float
    direct_top5: float
    afd_top1: float | None = None
    afd_top5: float | None = None
    top1_gain: float | None = None
    top1_gain_low: float | None = None
    top1_gain_high: float | None = None
    regained: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record; `times` is in it for protocol "repeated" only."""
        record = {name: getattr(self, name) for name in self.__slots__}
        if self.times is None:
            del record["times"]
        return record


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        model: name of the classifier.
        images: photos that were measured.
        protocol: how they were compressed.
        clean: accuracy on the photos as they are; its `afd_` figures say what the module does to them.
        rows: one a condition.
        failures: (file, message) of photos that could not be read.
    """

    model: str
    images: int
    protocol: str
    clean: EvaluationRow
    rows: tuple[EvaluationRow, ...]
    failures: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the record of `dctafd evaluate --format json`."""
        names = ("top1", "top5", "afd_top1", "afd_top5")
        values = (self.clean.direct_top1, self.clean.direct_top5, self.clean.afd_top1, self.clean.afd_top5)
        return {
            "model": self.model,
            "images": self.images,
            "protocol": self.protocol,
            "clean": dict(zip(names, values, strict=True)),
            "rows": [row.to_json() for row in self.rows],
            "failures": [{"file": file, "message": message} for file, message in self.failures],
        }


def read_labels(labels: Path, images: Path) -> list[LabelledPhoto]:
    """Read a CSV file with the columns `file` (relative to `images`) and `label` (0-based class index).

    Raises:
        ValueError: a column is missing, or a label is no class index.
        OSError: the file cannot be read.
    """
    with labels.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"file", "label"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{labels} has no column {' and no column '.join(sorted(missing))}")
        photos = []
        for row in reader:
            if not row["label"].strip().isdecimal():
                raise ValueError(f"{labels}, line {reader.line_num}: {row['label']!r} is no class index")
            photos.append(LabelledPhoto(images / row["file"], int(row["label"])))
    if not photos:
        raise ValueError(f"{labels} names no photos")
    return photos


def evaluate(
    backbone: Backbone,
    classifier: CorrectedClassifier | None,
    photos: Sequence[LabelledPhoto],
    protocol: str,
    conditions: Sequence[Condition],
    *,
    batch_size: int = 32,
    threads: int = 2,
    device: torch.device | str = "cpu",
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Measure top-1 and top-5 accuracy under each condition.

    Args:
        backbone: the classifier.
        classifier: the same with its module attached, re-parameterised; None measures the classifier only.
        photos: labelled photos; JPEG files.
        protocol: name of the protocol, for the record.
        conditions: of the protocol (`protocol_conditions`).
        batch_size: photos a forward pass.
        threads: that compress and prepare photos.
        device: where the networks run.
        seed: of the qualities that protocol "repeated" draws.
        advance: called with the number of photos that are done.
    """
    network = _Network(backbone, classifier, torch.device(device))
    ranks: list[NDArray[np.int64]] = []
    failures: list[tuple[str, str]] = []
    for batch in _prepared_batches(photos, backbone.spec, conditions, batch_size, threads, seed):
        good = [photo for photo in batch if photo.error is None]
        failures += [(photo.path.name, photo.error) for photo in batch if photo.error is not None]
        if good:
            labels = torch.tensor([photo.label for photo in good])
            inputs = zip(*(photo.inputs for photo in good), strict=True)
            ranks.append(np.stack([network.ranks(collate(group), labels) for group in inputs]))
        advance(len(batch))
    if not ranks:
        raise DctafdError(f"none of {len(photos)} photos could be read; the first: {': '.join(failures[0])}")
    clean, *rows = np.concatenate(ranks, 2)  # each (2, photos): direct, corrected
    clean_row = _row(Condition(None), clean, None, classifier is not None)
    return Evaluation(
        backbone.spec.name,
        clean.shape[1],
        protocol,
        clean_row,
        tuple(
            _row(condition, row, clean_row.direct_top1, classifier is not None)
            for condition, row in zip(conditions, rows, strict=True)
        ),
        tuple(failures),
    )


class _Network:
    """Gives the rank of the right class, without and with the module."""

    def __init__(
        self, backbone: Backbone, classifier: CorrectedClassifier | None, device: torch.device
    ) -> None:
        self.direct = backbone.module.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classifier = classifier
        if classifier is not None:
            classifier.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device

    @torch.inference_mode()
    def ranks(self, batch: InputBatch, labels: torch.Tensor) -> NDArray[np.int64]:
        """Return how many classes score above the right one, (2, B): direct and corrected."""
        batch = batch.to(self.device)
        pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
        logits = [self.direct(pixels)]
        corrected = self.classifier and self.classifier(pixels, *batch.tensors()[1:])
        logits.append(logits[0] if corrected is None else corrected)
        return np.stack([_rank(scores.float().cpu(), labels) for scores in logits])


def _rank(scores: torch.Tensor, labels: torch.Tensor) -> NDArray[np.int64]:
    if int(labels.max()) >= scores.shape[1]:
        raise DctafdError(f"there is a label {int(labels.max())}; the model has {scores.shape[1]} classes")
    right = scores.gather(1, labels[:, None])  # (B, 1)
    return (scores > right).sum(1).numpy()


@dataclass(frozen=True, slots=True, eq=False)
class _PreparedPhoto:
    """A photo as it is and under each condition, or why there is none."""

    path: Path
    label: int
    inputs: tuple[ModelInput, ...]
    error: str | None = None


def _prepared_batches(
    photos: Sequence[LabelledPhoto],
    spec: ModelSpec,
    conditions: Sequence[Condition],
    batch_size: int,
    threads: int,
    seed: int,
) -> Iterator[list[_PreparedPhoto]]:
    """Yield batches; the next is prepared while the networks work on this one."""
    with ThreadPoolExecutor(threads) as pool:

        def start(first: int) -> list[Future[_PreparedPhoto]]:
            return [
                pool.submit(_prepare_photo, photos[index], spec, conditions, [seed, index])
                for index in range(first, min(first + batch_size, len(photos)))
            ]

        waiting = start(0)
        for first in range(batch_size, len(photos) + batch_size, batch_size):
            batch, waiting = waiting, start(first)
            yield [future.result() for future in batch]


def _prepare_photo(
    photo: LabelledPhoto, spec: ModelSpec, conditions: Sequence[Condition], seed: list[int]
) -> _PreparedPhoto:
    try:
        stored = photo.path.read_bytes()
        inputs = tuple(
            compressed_input(stored, condition, spec, np.random.default_rng(seed))
            for condition in (Condition(None), *conditions)
        )
    except (DctafdError, OSError, SyntaxError) as error:  # Pillow raises SyntaxError for some broken files
        return _PreparedPhoto(photo.path, photo.label, (), str(error))
    return _PreparedPhoto(photo.path, photo.label, inputs)


def _row(
    condition: Condition, ranks: NDArray[np.int64], clean_top1: float | None, has_module: bool
) -> EvaluationRow:
    direct, corrected = ranks
    figures = {"direct_top1": _per_cent(direct < 1), "direct_top5": _per_cent(direct < 5)}
    if has_module:
        low, high = gain_interval(direct < 1, corrected < 1)
        gain = _per_cent(corrected < 1) - figures["direct_top1"]
        figures |= {"afd_top1": _per_cent(corrected < 1), "afd_top5": _per_cent(corrected < 5)}
        figures |= {"top1_gain": gain, "top1_gain_low": low, "top1_gain_high": high}
        taken = 0.0 if clean_top1 is None else clean_top1 - figures["direct_top1"]
        if taken > 0:
            figures["regained"] = 100 * gain / taken
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return EvaluationRow(condition.quality, condition.times, **rounded)


def _per_cent(right: NDArray[np.bool_]) -> float:
    return 100 * float(right.mean())


def gain_interval(
    direct: NDArray[np.bool_], corrected: NDArray[np.bool_], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval, in points, of the gain in accuracy: a paired bootstrap over the photos.

    Each photo's difference is 1, 0 or -1, so that resampling photos is drawing from a multinomial.

    Args:
        direct, corrected: (photos,), whether each answer was right.
    """
    count = len(direct)
    shares = [float((corrected & ~direct).mean()), float((direct & ~corrected).mean())]
    drawn = np.random.default_rng(seed).multinomial(count, [*shares, 1 - sum(shares)], _BOOTSTRAP_SAMPLES)
    gains = 100 * (drawn[:, 0] - drawn[:, 1]) / count
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(gains, [tail, 100 - tail])
    return float(low), float(high)
