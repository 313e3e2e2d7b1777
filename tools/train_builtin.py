"""Train the built-in classifier: a slim ResNet from random weights, taught by a MobileNetV2.

The teacher carries a linear probe for our classes. The first two commands may run side by side, and both
resume where they stopped:

    python tools/train_builtin.py views       # augmented views with the teacher's features, cached in runs/
    python tools/train_builtin.py train       # the student, on what the cache holds so far
    python tools/train_builtin.py teacher     # what the teacher itself reaches on the validation slice
    python tools/train_builtin.py save-teacher runs/builtin/teacher.pth  # for `dctafd train --teacher`
    python tools/train_builtin.py ship        # calibrate the averaged weights and write the shipped file
    python tools/train_builtin.py list-photos runs/builtin/photos.txt  # the training part, for `dctafd train`
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from builtin_training.evaluation import centre_crops, predict, top1
from builtin_training.shipping import calibrate, choose_geometry, write_weights
from builtin_training.split import class_names, labelled_photos
from builtin_training.teacher import Teacher, fit_probe
from builtin_training.training import Recipe, Trainer
from builtin_training.views import TEACHER_SIZE, UNLABELLED, ViewCache, add_round, load_photo

from dctafd.nets.builtin import build_builtin
from dctafd.nets.registry import BUILTIN_WEIGHTS

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
CALTECH = SHARED / "images/caltech101"
MOBILENET = SHARED / "weights/mobilenet_v2_coral.npz"
RUN = REPOSITORY / "runs" / "builtin"
CAPACITY = 100_000  # views: 13 GB, of which files take what is filled


@click.group()
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(threads: int) -> None:
    """Train the built-in classifier."""
    torch.set_num_threads(threads)


@main.command()
@click.option("--rounds", default=10, show_default=True, help="Rounds the cache is to hold in the end.")
@click.option("--labelled-only", is_flag=True, help="Leave the unlabelled photos out of the rounds added.")
@click.option("--seed", default=0, show_default=True, help="For other views than an earlier cache's.")
def views(rounds: int, labelled_only: bool, seed: int) -> None:
    """Fill the cache: each round holds one view of a labelled photo and two of an unlabelled one."""
    photos = [load_photo(path, label, smallest_crop=0.3) for path, label in labelled_photos(CALTECH, "train")]
    unlabelled = sorted((SHARED / "images/train").glob("*.jpg"))
    if not labelled_only:
        photos += 2 * [load_photo(path, UNLABELLED, smallest_crop=0.12) for path in unlabelled]
    teacher = Teacher(MOBILENET)
    cache = ViewCache(RUN / "views", capacity=max(CAPACITY, rounds * len(photos)))
    while cache.rounds < rounds:
        add_round(cache, photos, teacher, seed)
        click.echo(f"{cache.rounds} rounds, {cache.count} views")


@main.command()
@click.option("--minutes", default=75.0, show_default=True, help="Training time over all resumed runs.")
@click.option("--every", default=200, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--start-from",
    type=click.Path(exists=True, path_type=Path),
    help="Begin a new run with a finished run's weights; move that checkpoint away from runs/ first.",
)
def train(minutes: float, every: int, start_from: Path | None) -> None:
    """Train the student, or go on with it; prints top-1 of the averaged weights on the validation slice."""
    architecture = {
        "name": "slim_resnet",
        "widths": [32, 64, 128, 256],
        "blocks": [2, 2, 4, 2],
        "num_classes": len(class_names(CALTECH)),
    }
    photos = labelled_photos(CALTECH, "validation")
    labels = torch.tensor([photo.label for photo in photos])
    pixels = centre_crops(photos, resize=144, crop=128)

    def report(trainer: Trainer, losses: dict[str, float]) -> None:
        accuracy = top1(predict(trainer.average, pixels), labels)
        terms = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        click.echo(f"step {trainer.step} {trainer.spent:.0f} s validation {accuracy:.1f} % {terms}")

    recipe = Recipe(architecture, seconds=60 * minutes)
    Trainer(recipe, ViewCache(RUN / "views"), RUN / "checkpoint.pt", start_from).run(every, report)


@main.command()
def teacher() -> None:
    """Print the teacher's top-1 on the validation slice, its probe fitted on every labelled view."""
    cache = ViewCache(RUN / "views")
    photos = labelled_photos(CALTECH, "validation")
    labels = torch.tensor([photo.label for photo in photos])
    pixels = centre_crops(photos, TEACHER_SIZE, TEACHER_SIZE, normalised=False)
    network = Teacher(MOBILENET)
    with torch.inference_mode():
        pooled = torch.cat([network(part).pooled for part in pixels.split(48)])
    probe = fit_probe(*cache.labelled_features(), len(class_names(CALTECH)))
    click.echo(f"teacher: validation {top1(probe.logits(pooled), labels):.1f} % of {len(photos)}")


@main.command("save-teacher")
@click.argument("output", type=click.Path(path_type=Path))
def save_teacher(output: Path) -> None:
    """Write the teacher with its probe as a state dict of `mobilenet_v2_coral` with our classes."""
    probe = fit_probe(*ViewCache(RUN / "views").labelled_features(), len(class_names(CALTECH)))
    with np.load(MOBILENET) as stored:
        state = {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files}
    torch.save({**state, "classifier.1.weight": probe.weight, "classifier.1.bias": probe.bias}, output)
    click.echo(f"wrote {output}")


@main.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=BUILTIN_WEIGHTS)
def ship(output: Path) -> None:
    """Choose crop and temperature on the validation slice and write the shipped file."""
    checkpoint = torch.load(RUN / "checkpoint.pt", weights_only=True)
    network = build_builtin(checkpoint["architecture"])
    network.load_state_dict(checkpoint["average"])
    photos = labelled_photos(CALTECH, "validation")
    geometry = choose_geometry(network, photos)
    temperature = calibrate(network, photos, *geometry)
    facts = {
        "architecture": checkpoint["architecture"],
        "licence": "Apache-2.0",
        "origin": "trained for dctafd from random weights (tools/train_builtin.py)",
        "data": "Caltech-101 without Faces_easy (CC BY 4.0), 75 % of the photos, and unlabelled photos",
        "teacher": "MobileNetV2 of google-coral test_data (Apache-2.0) with a linear probe",
        "folded_temperature": f"{temperature:.4f}",
        "training": {"steps": checkpoint["step"], "seconds": round(checkpoint["spent"]), "seed": 0}
        | {"earlier": checkpoint.get("earlier", [])},
        "command": "python tools/train_builtin.py train",
    }
    write_weights(output, network, geometry, facts, class_names(CALTECH))
    click.echo(f"{output.name}: resize {geometry[0]}, crop {geometry[1]}, temperature {temperature:.3f}")


@main.command("list-photos")
@click.argument("output", type=click.Path(path_type=Path))
def list_photos(output: Path) -> None:
    """Write the paths of the labelled photos' training part to a text file, for `dctafd train --images`."""
    paths = [str(path.resolve()) for path, _ in labelled_photos(CALTECH, "train")]
    output.write_text("\n".join(paths) + "\n")
    click.echo(f"{len(paths)} photos")


if __name__ == "__main__":
    main()
