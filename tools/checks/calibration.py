"""How far a classifier's scores are from how often it is right, and the temperature that brings them nearest.

    python -m tools.checks.calibration --fit ../shared/images/train --test ../shared/images/eval \
        -o docs/results/calibration.json

The temperature divides the logits before the softmax (Guo et al., "On Calibration of Modern Neural Networks",
ICML 2017). It is fitted by cross-entropy to uncompressed photos of `--fit`, without a module; what comes of
it is measured on photos of `--test`, which have a labels.csv. In ../shared/images/train the photos named
elischwartz_NNNN have a class each: NNNN is its index, as in the collection of one photo per class that they
are from.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.protocols import AS_IT_IS, Condition, protocol_conditions
from dctafd.inputs.model_input import collate
from dctafd.nets.afd_weights import select_afd
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.registry import Backbone, load_backbone
from tools.checks.provenance import provenance

BATCH = 16
BINS = 15
_NUMBERED = re.compile(r"elischwartz_(\d{4})\.jpg")
_TEMPERATURES = np.geomspace(0.3, 3.0, 231)


@dataclass(frozen=True, slots=True)
class Row:
    """How a classifier's scores fit on some photos.

    Attributes:
        model: the classifier's name.
        temperature: that was fitted.
        quality: of the compression; None for photos as they are.
        corrected: whether the module corrected.
        photos: how many.
        top1: per cent.
        confidence, error: mean score of the best class and expected calibration error, at temperature 1.
        confidence_then, error_then: the same at the fitted temperature.
        best: the temperature that would suit these photos best.
    """

    model: str
    temperature: float
    quality: int | None
    corrected: bool
    photos: int
    top1: float
    confidence: float
    error: float
    confidence_then: float
    error_then: float
    best: float


Labelled = tuple[Path, int]


def numbered_photos(folder: Path) -> list[Labelled]:
    """Return the photos whose number is their class."""
    found = ((path, _NUMBERED.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [(path, int(match[1])) for path, match in found if match]


def listed_photos(folder: Path) -> list[Labelled]:
    """Return the photos of a folder's labels.csv."""
    with (folder / "labels.csv").open() as file:
        return [(folder / row["file"], int(row["label"])) for row in csv.DictReader(file)]


def spread(photos: Sequence[Labelled], limit: int) -> list[Labelled]:
    """Return at most so many of them, evenly spread."""
    step = max(1.0, len(photos) / limit)
    return [photos[int(index * step)] for index in range(min(limit, len(photos)))]


@torch.inference_mode()
def logits(
    photos: Sequence[Labelled],
    backbone: Backbone,
    classifier: CorrectedClassifier | None,
    conditions: Sequence[Condition],
) -> dict[tuple[int | None, bool], NDArray[np.float32]]:
    """Return logits (photos, classes) by quality and whether the module corrected."""
    found: dict[tuple[int | None, bool], list[NDArray[np.float32]]] = {}
    for start in range(0, len(photos), BATCH):
        files = [path.read_bytes() for path, _ in photos[start : start + BATCH]]
        prepared = zip(*(compressed_inputs(file, conditions, backbone.spec) for file in files), strict=True)
        for condition, inputs in zip(conditions, prepared, strict=True):
            batch = collate(list(inputs))
            direct = backbone.module(batch.pixels).numpy()
            found.setdefault((condition.quality, False), []).append(direct)
            if classifier is not None:
                corrected = classifier(*batch.tensors()).logits.numpy()
                found.setdefault((condition.quality, True), []).append(corrected)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def log_scores(found: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return log probabilities (B, classes)."""
    scaled = found.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(1, keepdims=True))


def best_temperature(found: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature with the least cross-entropy."""
    rows = np.arange(len(labels))
    losses = [-log_scores(found, t)[rows, labels].mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def confidence_and_error(
    found: NDArray[np.float32], labels: NDArray[np.int64], temperature: float
) -> tuple[float, float]:
    """Return the mean score of the best class, and the expected calibration error over `BINS` equal bins.

    Both are 0..1. Of n photos of a perfectly calibrated classifier the error is not 0, but some sqrt(1 / n).
    """
    scores = np.exp(log_scores(found, temperature))
    confidence, right = scores.max(1), scores.argmax(1) == labels
    numbers = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = 0.0
    for number in np.unique(numbers):
        inside = numbers == number
        error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(confidence.mean()), float(error)


def rows_of(
    answers: dict[tuple[int | None, bool], NDArray[np.float32]],
    labels: NDArray[np.int64],
    model: str,
    temperature: float,
) -> Iterator[Row]:
    """Yield a row a condition, without and with the module."""
    for (quality, corrected), found in answers.items():
        before = confidence_and_error(found, labels, 1.0)
        then = confidence_and_error(found, labels, temperature)
        top1 = 100 * float((found.argmax(1) == labels).mean())
        confidence, error, confidence_then, error_then = (round(number, 4) for number in (*before, *then))
        best = round(best_temperature(found, labels), 3)
        fitted = round(temperature, 3)
        yield Row(
            model,
            fitted,
            quality,
            corrected,
            len(labels),
            round(top1, 2),
            confidence,
            error,
            confidence_then,
            error_then,
            best,
        )


_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--fit", type=_FOLDER, required=True, help="Photos named elischwartz_NNNN.jpg.")
@click.option("--test", type=_FOLDER, required=True, help="Photos with a labels.csv.")
@click.option("--fit-limit", default=1000, show_default=True, help="Photos to fit to, at most.")
@click.option("--test-limit", default=1000, show_default=True, help="Photos to measure on, at most.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(model: str, fit: Path, test: Path, fit_limit: int, test_limit: int, output: Path | None) -> None:
    """Fit a temperature on some photos and measure the scores on others."""
    backbone = load_backbone(model)
    selected = select_afd("auto", backbone)
    classifier = None if selected is None else attach(backbone.module, selected.module.reparameterize())
    fitted_to = spread(numbered_photos(fit), fit_limit)
    found = logits(fitted_to, backbone, None, [AS_IT_IS])[None, False]
    labels = np.array([label for _, label in fitted_to])
    temperature = best_temperature(found, labels)
    top1 = 100 * float((found.argmax(1) == labels).mean())
    click.echo(f"temperature {temperature:.3f} on {len(labels)} photos, top-1 {top1:.1f} %")
    tested = spread(listed_photos(test), test_limit)
    conditions = [AS_IT_IS, *protocol_conditions("single", (10, 25))]
    answers = logits(tested, backbone, classifier, conditions)
    rows = list(rows_of(answers, np.array([label for _, label in tested]), model, temperature))
    for row in rows:
        where = "as stored" if row.quality is None else f"quality {row.quality}"
        score = f"mean score {row.confidence:.3f} -> {row.confidence_then:.3f}"
        error = f"error {row.error:.3f} -> {row.error_then:.3f}"
        module = "with" if row.corrected else "without"
        click.echo(f"{where:10} {module:7} top-1 {row.top1:5.1f}  {score}  {error}  (best {row.best})")
    if output is not None:
        record = {
            **provenance(),
            "fitted_to": {"photos": len(labels), "top1": round(top1, 2)},
            "rows": [asdict(row) for row in rows],
        }
        output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
