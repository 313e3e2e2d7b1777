"""`dctafd train`: an AFD-Module for a frozen classifier, from unlabelled photos, and whether it helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctafd.cli.durations import duration
from dctafd.cli.loading import chosen_device, load_chosen_backbone
from dctafd.cli.model_choice import ModelChoice, model_options
from dctafd.cli.options import NewFile, images_option, jobs_option, quiet_option
from dctafd.cli.output import write_records
from dctafd.cli.stderr import note
from dctafd.errors import WeightsError

if TYPE_CHECKING:
    from dctafd.analysis.proven_training import Training
    from dctafd.training.trainer import TrainingReport

_WEIGHTS_FILE = NewFile({".safetensors": None})


@click.command()
@images_option(
    "Folder of clean photos, or a text file with one path per line; may be repeated.",
    multiple=True,
    file_too=True,
)
@click.option(
    "-o",
    "--output",
    type=_WEIGHTS_FILE,
    help="The weights file, checkpoint and log beside it. [default: NAME_afd.safetensors beside --weights]",
)
@model_options(afd=False, labels=False, preprocessing=False)
@click.option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with everything else that decides what a training makes; see docs/training.md.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps. [default: 20000, or --minutes]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Time to train.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Photos per step. [default: 32]")
@click.option(
    "--held-out", type=click.IntRange(min=0), help="Photos to prove it on. [default: a fifth, 16-128]"
)
@click.option(
    "--start-from",
    default="auto",
    show_default=True,
    metavar="auto|none|FILE",
    help="Begin with the nearest module that ships, with a new one, or with another training's checkpoint or "
    "weights file, whose module may be narrower.",
)
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
    held_out: int | None,
    start_from: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Train the AFD-Module for a frozen classifier, on unlabelled photos that are compressed on the fly.

    It ends with a report on photos that it held out: how often the classifier gives the answer that it gives
    on the uncompressed photo, without the module and with it, and whether it helps. The weights file says so,
    too. A training that was interrupted goes on where it stopped when the same command is given again, and
    begins anew without its .checkpoint.pt.

    \b
    Examples:
      dctafd train --images photos/ --minutes 10 -o afd.safetensors
      dctafd train --images photos/ --model resnet50 --recipe recipe.toml --steps 100000 --batch-size 128
    """
    from dctafd.analysis.proven_training import train
    from dctafd.training.recipe import read_recipe, recipe_of

    if output is None:
        output = _WEIGHTS_FILE.convert(_default_output(choice), None, None)
    changes = {"steps": steps, "minutes": minutes, "batch_size": batch_size}
    try:
        plan = recipe_of({}, **changes) if recipe is None else read_recipe(recipe, **changes)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if start_from not in ("auto", "none") and not Path(start_from).is_file():
        raise click.BadParameter(
            f"{start_from!r} is neither auto, none nor a file", param_hint="--start-from"
        )
    device = str(chosen_device(choice.device))
    backbone = load_chosen_backbone(replace(choice, changes=plan.preprocessing))
    running = False
    try:
        with _progress(quiet) as show:

            def report(entry: TrainingReport) -> None:
                nonlocal running
                running = True
                show(entry)

            found = train(
                images,
                backbone,
                output,
                config=plan.config,
                held_out=plan.validation.held_out if held_out is None else held_out,
                start_from=None if start_from == "none" else start_from,
                licence=plan.card.licence,
                device=device,
                jobs=jobs,
                compile=plan.compile,
                validate_every=plan.validation.every,
                report=report,
                say=lambda text: note(text, quiet),
            )
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from error
    except WeightsError as error:
        if running:  # it diverged: the command was no wrong usage
            raise click.ClickException(str(error)) from error
        raise
    except KeyboardInterrupt:
        checkpoint = output.with_suffix(".checkpoint.pt")
        hint = f"; the same command goes on from {checkpoint}" if checkpoint.is_file() else ""
        raise KeyboardInterrupt(hint) from None
    _write(found, quiet)


def _default_output(choice: ModelChoice) -> Path:
    """Return where `--afd auto` finds the module: beside the classifier's weights, if these are a file."""
    if choice.weights is not None:
        return choice.weights.with_name(f"{choice.weights.stem}_afd.safetensors")
    return Path(f"{choice.model.replace('/', '_')}_afd.safetensors")


def _write(found: Training, quiet: bool) -> None:
    """Print the report on the photos that were held out, and the verdict."""
    from dctafd.cli.evaluate_output import table_records

    if found.evaluation is not None:
        write_records(table_records(found.evaluation), "table")
        click.echo(f"{found.path.name} {found.verdict}")
    log = found.path.with_suffix(".jsonl")
    note(f"wrote {found.path} after {found.steps} steps ({duration(found.seconds)}); log in {log}", quiet)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[TrainingReport], None]]:
    """Show a bar with the losses on a terminal, a line per report elsewhere."""
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
        begin: tuple[float, float, int] | None = None
        told = False

        def estimate(entry: TrainingReport) -> None:
            """Say once how long it will take and how many steps it will be."""
            nonlocal begin, told
            now = time.monotonic()
            if begin is None:  # the first steps compile kernels
                begin = (now, entry.progress, entry.step)
            elif not told and entry.progress > begin[1]:
                share = (1 - entry.progress) / (entry.progress - begin[1])
                left, steps = share * (now - begin[0]), entry.step + share * (entry.step - begin[2])
                note(f"about {duration(left)} left, {steps:.0f} steps in all", quiet)
                told = True

        def show(entry: TrainingReport) -> None:
            estimate(entry)
            losses = " ".join(f"{name} {value:.4f}" for name, value in entry.losses.items())
            bar.update(task, completed=entry.progress, step=entry.step, losses=losses)
            if not console.is_terminal:
                rate = f", {entry.images_per_second:.3g} photos/s" if entry.images_per_second else ""
                note(f"step {entry.step}, {entry.progress:.1%}: {losses}{rate}", quiet)
            for row in entry.validation:
                agreement = f"agrees {row.uncorrected:.1f} -> {row.corrected:.1f} %"
                change = f"stem changed by {row.stem_change:.3f}"
                note(f"  q{row.quality}: {agreement}, KL {row.divergence:.3f}, {change}", quiet)

        yield show
