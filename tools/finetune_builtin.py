"""What the AFD-Module is up against: fine-tuning all of the built-in classifier on compressed views.

    python tools/finetune_builtin.py --minutes 25

The module changes a frozen network's features; here every weight of the network may change instead, on the
views and by the teachers of the module's own recipe (`tools/shipped_modules.py`). What comes of it is
measured on the validation slice of Caltech-101, four views of each photo, beside the shipped module, and
thrown away.
`train_builtin.py save-teacher` and `list-photos` have to be run before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import numpy as np
import torch
from builtin_training.evaluation import prepared_batches, top1
from builtin_training.split import labelled_photos
from measure_builtin import CALTECH, view_files
from shipped_modules import OFF_GRID_FOCUS
from torch import Tensor, nn

from dctafd.inputs.model_input import InputBatch
from dctafd.nets.afd_weights import afd_path, load_afd
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import Backbone, ModelSpec, load_backbone
from dctafd.training.data import PairSource, find_photos, iter_batches, load_photos
from dctafd.training.degrade import DegradationRange
from dctafd.training.losses import logits_loss
from dctafd.training.teacher import OtherTeacher, Teacher
from dctafd.training.trainer import learning_rate_factor

SHARED = CALTECH.parents[1]
RUN = Path(__file__).resolve().parents[1] / "runs/builtin"
FOCUS = DegradationRange(**OFF_GRID_FOCUS)  # type: ignore[arg-type]
TEACHER_SIZE, BATCH, VIEWS, WARM_UP = 192, 32, 4, 100


def fine_tune(network: nn.Module, teacher: Teacher, source: PairSource, minutes: float, rate: float) -> int:
    """Teach `network`, in place, the teachers' answers on clean views; return the number of steps."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    started, steps = time.monotonic(), 0
    with closing(iter_batches(source, 0, threads=2)) as batches:
        while (progress := (time.monotonic() - started) / (60 * minutes)) < 1:
            optimizer.param_groups[0]["lr"] = rate * learning_rate_factor(steps, progress, WARM_UP)
            batch = next(batches)
            loss = logits_loss(network(batch.compressed.pixels), teacher(batch).logits)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            steps += 1
            if steps % 20 == 0:
                click.echo(
                    f"step {steps} {100 * progress:.0f} % divergence {float(loss.detach()):.3f}", err=True
                )
    return steps


@torch.inference_mode()
def report(classifier: CorrectedClassifier, tuned: nn.Module, spec: ModelSpec) -> None:
    """Print a table of top-1 on the validation slice, and the shares regained."""
    photos = labelled_photos(CALTECH, "validation")
    labels = torch.from_numpy(np.repeat([photo.label for photo in photos], VIEWS))
    ways: tuple[Callable[[InputBatch], Tensor], ...] = (
        lambda batch: classifier.direct(batch.pixels),
        lambda batch: classifier(*batch.tensors()),
        lambda batch: tuned(batch.pixels),
    )
    click.echo(f"{len(labels)} views of {len(photos)} photos of the validation slice; top-1 in %\n")
    click.echo("| quality | without the module | with it | fine-tuned whole | regained by both (%) |")
    click.echo("|---|---|---|---|---|")
    clean = 0.0
    for quality, files in view_files(photos, VIEWS).items():
        logits = zip(*([way(batch) for way in ways] for batch in prepared_batches(files, spec)), strict=True)
        shares = [top1(torch.cat(parts), labels) for parts in logits]
        cells = " | ".join(f"{share:.1f}" for share in shares)
        if quality is None:
            clean = shares[0]
            click.echo(f"| clean | {cells} | |")
            continue
        lost = clean - shares[0]
        regained = [f"{100 * (share - shares[0]) / lost:.0f}" if lost > 0 else "-" for share in shares[1:]]
        click.echo(f"| {quality} | {cells} | {', '.join(regained)} |")


def _source(backbone: Backbone, seed: int) -> PairSource:
    found = find_photos([SHARED / "images/train", RUN / "photos.txt"])
    photos = load_photos(found, round(1.5 * backbone.spec.crop), 2)
    return PairSource(photos, backbone.spec, FOCUS, BATCH, seed, boxes=2, cutmix=0.5)


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="Time to train.")
@click.option("--learning-rate", default=5e-5, show_default=True)
@click.option("--seed", default=4, show_default=True)
def main(minutes: float, learning_rate: float, seed: int) -> None:
    """Fine-tune the whole classifier and print what it regains beside the module."""
    torch.manual_seed(seed)
    backbone = load_backbone("builtin")
    frozen = fold_batch_norms(backbone.module)
    classifier = attach(frozen, load_afd(afd_path("builtin"))).eval()
    other = load_backbone("mobilenet_v2_coral", str(RUN / "teacher.pth"))
    teacher = Teacher(classifier, [OtherTeacher(other, backbone.spec, TEACHER_SIZE)])
    tuned = fold_batch_norms(backbone.module).requires_grad_(True)
    steps = fine_tune(tuned, teacher, _source(backbone, seed), minutes, learning_rate)
    click.echo(f"{steps} steps of {BATCH} views in {minutes:.0f} minutes", err=True)
    report(classifier, tuned.eval(), backbone.spec)


if __name__ == "__main__":
    main()
