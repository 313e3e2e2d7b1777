"""Compare AFD-Modules of one classifier on photos that trainings hold out, without labels.

    python tools/compare_afd.py --model resnet50_pqf --weights runs/shipped/resnet50_pqf.pth \\
        --afd before.safetensors --afd after.safetensors --afd mean.safetensors \\
        --teacher mobilenet_v2_coral=runs/shipped/mobilenet_v2_coral.pth --images ../shared/images/train

A cell is the mean KL divergence of the corrected answer from the teachers' answer on the clean view, what a
training with these `--teacher`s minimises. The last column adds the qualities up, with the standard error of
its difference from the first module's, over photos: that is what a choice between modules is to be made by.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from dctafd.nets.afd_weights import afd_path, load_afd
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import Backbone, load_backbone
from dctafd.training.config import Machine
from dctafd.training.data import (
    TrainingBatch,
    collate_pairs,
    find_photos,
    load_photos,
    make_pair,
)
from dctafd.training.degrade import Degradation
from dctafd.training.losses import logits_loss
from dctafd.training.teacher import OtherTeacher, Teacher
from dctafd.training.validation import split_photos
from dctafd.training.views import FixedBox, Photo


def make_batches(
    photos: Sequence[Photo], backbone: Backbone, quality: int, boxes: int
) -> list[TrainingBatch]:
    """Return a batch for each photo: `boxes` views of it, saved at a quality, and what they show."""
    batches = []
    for number, photo in enumerate(photos):
        rng, crop = np.random.default_rng(number), backbone.spec.crop
        degradation = Degradation(quality)
        views = [FixedBox.draw(photo, crop, rng).cut(photo, crop, degradation) for _ in range(boxes)]
        batches.append(collate_pairs([make_pair(view, degradation, backbone.spec) for view in views]))
    return batches


@torch.inference_mode()
def measure(
    classifiers: Sequence[CorrectedClassifier],
    teacher: Teacher,
    photos: Sequence[Photo],
    backbone: Backbone,
    qualities: Sequence[int],
    boxes: int,
) -> NDArray[np.float64]:
    """Return the divergences from the teacher's answer, (classifiers, qualities, photos)."""
    temperature = backbone.spec.temperature
    divergences = np.zeros((len(classifiers), len(qualities), len(photos)))
    for column, quality in enumerate(qualities):
        for number, batch in enumerate(make_batches(photos, backbone, quality, boxes)):
            target = teacher(batch).logits / temperature
            for row, classifier in enumerate(classifiers):
                answer = classifier(*batch.compressed.tensors()) / temperature
                divergences[row, column, number] = float(logits_loss(answer, target))
    return divergences


@click.command()
@click.option("--model", required=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False))
@click.option("--afd", "modules", required=True, multiple=True, help="A file, or the name of one that ships.")
@click.option("--images", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--teacher", "teachers", multiple=True, metavar="MODEL[=WEIGHTS]")
@click.option("--teacher-share", default=0.5, show_default=True, help="As of `dctafd train`.")
@click.option("--teacher-size", type=int)
@click.option("--limit", default=48, show_default=True, help="Photos, those that trainings hold out.")
@click.option("--boxes", default=4, show_default=True, help="Views of each photo.")
@click.option("--quality", "qualities", multiple=True, type=int, default=(7, 10, 15, 18, 25))
def main(
    model: str,
    weights: str | None,
    modules: tuple[str, ...],
    images: tuple[Path, ...],
    teachers: tuple[str, ...],
    teacher_share: float,
    teacher_size: int | None,
    limit: int,
    boxes: int,
    qualities: tuple[int, ...],
) -> None:
    """Print a table with a row for each module."""
    backbone, machine = load_backbone(model, weights), Machine.choose()
    _, held_out = split_photos(find_photos(images), limit)
    photos = load_photos(held_out, round(1.5 * backbone.spec.crop), machine.jobs)
    others = []
    for teacher in teachers:
        name, _, file = teacher.partition("=")
        others.append(OtherTeacher(load_backbone(name, file or None), backbone.spec, teacher_size))
    frozen, temperature = fold_batch_norms(backbone.module), backbone.spec.temperature
    corrected = [attach(frozen, load_afd(afd_path(name))).eval() for name in modules]
    teacher_of_all = Teacher(corrected[0], others, temperature, teacher_share)

    divergences = measure(corrected, teacher_of_all, photos, backbone, qualities, boxes)
    click.echo(f"{len(photos)} photos, {boxes} views each\n")
    click.echo(f"| module | {' | '.join(f'q{quality}' for quality in qualities)} | sum |")
    click.echo("|---" * (len(qualities) + 2) + "|")
    sums = divergences.sum(1)  # (modules, photos)
    for name, rows, total in zip(modules, divergences, sums, strict=True):
        error = (total - sums[0]).std(ddof=1) / len(photos) ** 0.5
        cells = " | ".join(f"{value:.3f}" for value in rows.mean(1))
        click.echo(f"| {Path(name).stem} | {cells} | {total.mean():.3f} ± {error:.3f} |")


if __name__ == "__main__":
    main()
