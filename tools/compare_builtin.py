"""Compare AFD-Modules of the built-in classifier on the validation slice of Caltech-101.

    python tools/compare_builtin.py --afd before.safetensors --afd after.safetensors

A cell has the top-1 (%) and the mean KL divergence from the uncorrected classifier's answer on the clean
view. JPEG takes too few photos for a choice by top-1, and the divergence does not know the label. So the
last column has the cross-entropy with the label, of all qualities together, at the temperature that suits
each module best, and the standard error of its difference from the first module's, over photos: the choice
between modules is to be made by that. None of these photos was trained on, unlike most of those that
`compare_afd.py` can take for this classifier, whose answers it knows by heart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
import numpy as np
import torch
from builtin_training.evaluation import best_temperature, prepared_batches
from builtin_training.split import labelled_photos
from measure_builtin import CALTECH, view_files
from torch import Tensor
from torch.nn import functional

from dctafd.nets.afd_weights import afd_path, load_afd
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import ModelSpec, load_backbone


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a module gives for N views of the same photos.

    Attributes:
        top1: percentage of right answers, for each quality; None stands for the clean views.
        divergence: mean KL divergence from the uncorrected answer on the clean view, likewise.
        cross_entropy: (N,), with the label, mean over qualities without the clean views, at `temperature`.
        temperature: with the least of it.
    """

    top1: Mapping[int | None, float]
    divergence: Mapping[int | None, float]
    cross_entropy: Tensor
    temperature: float


@torch.inference_mode()
def answers(
    classifiers: Sequence[CorrectedClassifier], files: Sequence[bytes], spec: ModelSpec
) -> list[Tensor]:
    """Return logits for JPEG files, (N, classes) each: without a module, then with each module."""
    parts: list[list[Tensor]] = []
    for batch in prepared_batches(files, spec):
        direct = classifiers[0].direct(batch.pixels)
        parts.append([direct, *(classifier(*batch.tensors()) for classifier in classifiers)])
    return [torch.cat(rows) / spec.temperature for rows in zip(*parts, strict=True)]


def compare(logits: Mapping[int | None, Tensor], clean: Tensor, labels: Tensor) -> Comparison:
    """Judge one module.

    Args:
        logits: (N, classes) for each quality; None stands for the clean views.
        clean: (N, classes), of the uncorrected classifier for the clean views.
        labels: (N,).
    """
    saved = [rows for quality, rows in logits.items() if quality is not None]
    temperature = best_temperature(torch.cat(saved), labels.repeat(len(saved)))
    losses = [functional.cross_entropy(rows / temperature, labels, reduction="none") for rows in saved]
    target = clean.log_softmax(1)
    return Comparison(
        {quality: 100 * float((rows.argmax(1) == labels).float().mean()) for quality, rows in logits.items()},
        {
            quality: float(
                functional.kl_div(rows.log_softmax(1), target, log_target=True, reduction="batchmean")
            )
            for quality, rows in logits.items()
        },
        torch.stack(losses).mean(0),
        temperature,
    )


def difference(module: Comparison, first: Comparison, views: int) -> tuple[float, float]:
    """Return by how much a module's cross-entropy is above the first one's, and the standard error."""
    per_photo = (module.cross_entropy - first.cross_entropy).reshape(-1, views).mean(1)
    return float(per_photo.mean()), float(per_photo.std()) / len(per_photo) ** 0.5


@click.command()
@click.option("--afd", "modules", required=True, multiple=True, help="A file, or the name of one that ships.")
@click.option("--views", type=click.IntRange(1, 8), default=4, show_default=True, help="Of each photo.")
def main(modules: tuple[str, ...], views: int) -> None:
    """Print a table with a row for the uncorrected classifier and one for each module."""
    photos = labelled_photos(CALTECH, "validation")
    labels = torch.from_numpy(np.repeat([photo.label for photo in photos], views))
    backbone = load_backbone("builtin")
    frozen = fold_batch_norms(backbone.module)
    corrected = [attach(frozen, load_afd(afd_path(name)).reparameterize()).eval() for name in modules]

    found = {
        quality: answers(corrected, files, backbone.spec)
        for quality, files in view_files(photos, views).items()
    }
    rows = [
        compare({quality: logits[row] for quality, logits in found.items()}, found[None][0], labels)
        for row in range(len(modules) + 1)
    ]
    heads = ["clean" if quality is None else f"q{quality}" for quality in found]
    click.echo(f"{len(photos)} photos, {views} views each\n")
    click.echo(f"| module | {' | '.join(heads)} | temperature | cross-entropy |")
    click.echo("|---" * (len(heads) + 3) + "|")
    for name, row in zip(("none", *modules), rows, strict=True):
        cells = " | ".join(f"{row.top1[quality]:.1f}, {row.divergence[quality]:.3f}" for quality in found)
        above, error = difference(row, rows[1], views)
        loss = f"{float(row.cross_entropy.mean()):.4f} ({above:+.4f} ± {error:.4f})"
        click.echo(f"| {name} | {cells} | {row.temperature:.2f} | {loss} |")


if __name__ == "__main__":
    main()
