"""`dctafd train`: an AFD-Module for a frozen classifier, from unlabelled photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctafd.cli.loading import chosen_device, load_chosen_backbone
from dctafd.cli.options import ModelChoice, NewFile, images_option, jobs_option, model_options, quiet_option
from dctafd.cli.stderr import note
from dctafd.errors import WeightsError

if TYPE_CHECKING:
    from dctafd.nets.registry import Backbone
    from dctafd.training.config import Machine
    from dctafd.training.recipe import Recipe
    from dctafd.training.trainer import Trainer, TrainingReport

_WEIGHTS_FILE = NewFile({".safetensors": None})


@click.command()
@images_option(
    "Folder of clean photos, or a text file with one path a line; may be repeated.",
    multiple=True,
    file_too=True,
)
@click.option(
    "-o",
    "--output",
    type=_WEIGHTS_FILE,
    help="The weights file (.safetensors), checkpoint and log beside it. [default: MODEL_afd.safetensors]",
)
@model_options(afd=False)
@click.option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with everything else that decides what a training makes; see docs/training.md.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps to train. [default: 20000, or --minutes]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Time to train.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Photos a step. [default: 32]")
@click.option(
    "--start-from",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Begin with another training's checkpoint or weights file, whose module may be narrower.",
)
@click.option("--restart", is_flag=True, help="Begin anew even where there is a checkpoint.")
@jobs_option
@quiet_option
def command(
    images: tuple[Path, ...],
    output: Path | None,
    choice: ModelChoice,
    recipe: Path | None,
    steps: int | None,
    minutes: float | None,
    batch_size: int | None,
    start_from: Path | None,
    restart: bool,
    jobs: int,
    quiet: bool,
) -> None:
    """Train the AFD-Module for a frozen classifier, on unlabelled photos that are compressed on the fly.

    A training that was interrupted goes on where it stopped when the same command is given again.

    \b
    Examples:
      dctafd train --images photos/ --minutes 10 -o afd.safetensors
      dctafd train --images photos/ --model resnet50 --recipe recipe.toml --steps 100000 --batch-size 128
    """
    from dctafd.training.recipe import read_recipe, recipe_of

    if output is None:
        output = _WEIGHTS_FILE.convert(f"{choice.model.replace('/', '_')}_afd.safetensors", None, None)
    changes = {"steps": steps, "minutes": minutes, "batch_size": batch_size}
    try:
        plan = recipe_of({}, **changes) if recipe is None else read_recipe(recipe, **changes)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    machine = _machine(choice, jobs, plan.compile)
    backbone = load_chosen_backbone(choice)
    trainer = _trainer(backbone, images, plan, machine, quiet)
    checkpoint, log = output.with_suffix(".checkpoint.pt"), output.with_suffix(".jsonl")
    if checkpoint.is_file() and not restart:
        trainer.resume(checkpoint)
        note(f"going on at step {trainer.state.step} ({checkpoint})", quiet)
    elif start_from:
        trainer.start_from(start_from)
    _run(trainer, plan, checkpoint, log, quiet)
    trainer.save(output, plan.card.licence)
    note(f"wrote {output} after {trainer.state.step} steps; log in {log}", quiet)


def _machine(choice: ModelChoice, jobs: int, compile: bool) -> Machine:
    from dctafd.training.config import Machine

    return Machine.choose(str(chosen_device(choice.device)), jobs, compile)


def _trainer(
    backbone: Backbone, images: tuple[Path, ...], recipe: Recipe, machine: Machine, quiet: bool
) -> Trainer:
    from dctafd.training.data import find_photos, load_photos
    from dctafd.training.trainer import Trainer
    from dctafd.training.validation import Validation, split_photos

    try:
        training, held_out = split_photos(find_photos(images), recipe.validation.held_out)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from error
    how = f"{machine.threads} threads{', bfloat16' if machine.bf16 else ''}"
    note(f"{len(training)} photos to train on, {len(held_out)} held out; on {machine.device}, {how}", quiet)
    side = round(1.5 * backbone.spec.crop)
    photos, others = (load_photos(paths, side, machine.threads) for paths in (training, held_out))
    validation = Validation(others, backbone.spec, machine.threads) if others else None
    return Trainer(backbone, photos, recipe.config, machine, validation)


def _run(trainer: Trainer, recipe: Recipe, checkpoint: Path, log: Path, quiet: bool) -> None:
    """Train, with a line of the log for each report."""
    try:
        with log.open("a" if trainer.state.step else "w") as file, _progress(quiet) as show:

            def report(entry: TrainingReport) -> None:
                file.write(json.dumps(asdict(entry)) + "\n")
                file.flush()
                show(entry)

            trainer.run(report, checkpoint, validate_every=recipe.validation.every)
    except WeightsError as error:  # it diverged: the command was no wrong usage
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        hint = f"; the same command goes on from {checkpoint}" if checkpoint.is_file() else ""
        raise KeyboardInterrupt(hint) from None


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[TrainingReport], None]]:
    """Show a bar with the losses on a terminal, a line a report elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("step {task.fields[step]}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("train", total=1.0, step=0, losses="")

        def show(entry: TrainingReport) -> None:
            losses = " ".join(f"{name} {value:.4f}" for name, value in entry.losses.items())
            bar.update(task, completed=entry.progress, step=entry.step, losses=losses)
            if not console.is_terminal:
                rate = f", {entry.images_per_second:.3g} photos/s" if entry.images_per_second else ""
                note(f"step {entry.step}, {entry.progress:.1%}: {losses}{rate}", quiet)
            for row in entry.validation:
                agreement = f"agrees {row.direct:.1f} -> {row.corrected:.1f} %"
                change = f"stem changed by {row.stem_change:.3f}"
                note(f"  q{row.quality}: {agreement}, KL {row.divergence:.3f}, {change}", quiet)

        yield show
