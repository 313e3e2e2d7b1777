"""`dctafd train`: an AFD-Module for a frozen classifier, from unlabelled photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctafd.cli.model_options import device_option, model_options
from dctafd.cli.output import jobs_option, note, quiet_option

if TYPE_CHECKING:
    from dctafd.nets.registry import Backbone
    from dctafd.training.degrade import DegradationRange
    from dctafd.training.trainer import Trainer, TrainingReport


class _Numbers(click.ParamType[dict[str, float]]):
    """`name=number` pairs, as in `logits=1,stem=0.2`."""

    name = "NAME=NUMBER,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        try:
            pairs = (entry.split("=") for entry in value.split(","))
            return {name.strip(): float(number) for name, number in pairs}
        except ValueError:
            self.fail(f"{value!r} is not of the form logits=1,stem=0.2", param, ctx)


class Widths(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between."""

    name = "N,N,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the numbers; they are no widths yet, which must be 1 or more."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers such as 24,48,64,96", param, ctx)


@click.command()
@click.option(
    "--images",
    "folders",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder of clean photos, or a text file with one path a line; may be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The weights file, checkpoint and log beside it. [default: MODEL_afd.safetensors]",
)
@model_options
@click.option("--layer", help="Name of the stem layer, for networks whose stem is not known.")
@click.option("--shape", type=click.Choice(["stem", "deep"]), default="deep", show_default=True)
@click.option("--fe-width", type=click.IntRange(min=1), help="Channels of FE-Net.")
@click.option("--stage-widths", type=Widths(), help="Channels of the corrections after the stages.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps to train. [default: 20000, or --minutes]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Time to train.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--crop", type=click.IntRange(min=32), help="Side of the views, if not the classifier's.")
@click.option("--boxes", type=click.IntRange(min=1), help="Fixed views of each photo; else ever new ones.")
@click.option(
    "--cutmix",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the views into which part of another photo is pasted.",
)
@click.option(
    "--stretch",
    type=click.FloatRange(1, 2),
    default=1.0,
    show_default=True,
    help="Squeeze or stretch views by up to this factor.",
)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True)
@click.option("--ema-decay", type=click.FloatRange(0, 1), default=0.999, show_default=True)
@click.option("--loss-weights", type=_Numbers(), default={}, help="logits, features, stem, drift.")
@click.option(
    "--divergence-knee",
    type=click.FloatRange(min=0),
    default=0.3,
    show_default=True,
    help="Divergence above which photos count by its logarithm; 0 for none.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="MODEL[=WEIGHTS]",
    help="Another network of the same classes whose answers are learnt, too; may be repeated.",
)
@click.option(
    "--teacher-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="What their answers count, all together.",
)
@click.option("--teacher-size", type=click.IntRange(min=32), help="Enlarge views to this side for them.")
@click.option(
    "--degradations",
    type=_Numbers(),
    default={},
    help="lowest and highest quality; shares: clean, shifted, resized, imagenet_c, twice.",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--held-out", default=64, show_default=True, help="Photos kept apart for validation.")
@click.option("--validate-every", default=1000, show_default=True, help="Steps between validations.")
@click.option("--serves", multiple=True, help="Model that --afd auto uses the weights for; may be repeated.")
@click.option("--licence", help="Licence of the weights.")
@device_option
@click.option("--compile", is_flag=True, help="Use torch.compile.")
@click.option(
    "--start-from",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Begin with another training's checkpoint or weights file, whose module may be narrower.",
)
@click.option("--restart", is_flag=True, help="Begin anew even where there is a checkpoint.")
@jobs_option
@quiet_option
def command(folders: tuple[Path, ...], output: Path | None, quiet: bool, **options: Any) -> None:
    """Train the AFD-Module for a frozen classifier, on unlabelled photos that are compressed on the fly.

    A training that was interrupted goes on where it stopped when the same command is given again.

    \b
    Examples:
      dctafd train --images photos/ --model builtin --minutes 10 -o afd.safetensors
      dctafd train --images photos/ --model resnet50 --steps 100000 --batch-size 128 -o afd.safetensors
    """
    from dctafd.nets.registry import load_backbone

    output = output or Path(f"{options['model']}_afd.safetensors")
    backbone = load_backbone(options["model"], options["weights"])
    trainer = _trainer(backbone, folders, options, quiet)
    checkpoint, log = output.with_suffix(".checkpoint.pt"), output.with_suffix(".jsonl")
    if checkpoint.is_file() and not options["restart"]:
        trainer.resume(checkpoint)
        note(f"going on at step {trainer.state.step} ({checkpoint})", quiet)
    elif options["start_from"]:
        trainer.start_from(options["start_from"])
    with log.open("a" if trainer.state.step else "w") as file, _progress(quiet) as show:

        def report(entry: TrainingReport) -> None:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            show(entry)

        trainer.run(report, checkpoint, validate_every=options["validate_every"])
    trainer.save(output, options["serves"], options["licence"])
    note(f"wrote {output} after {trainer.state.step} steps; log in {log}", quiet)


def _trainer(backbone: Backbone, folders: tuple[Path, ...], options: dict[str, Any], quiet: bool) -> Trainer:
    from dctafd.training.config import Machine, TrainingConfig
    from dctafd.training.data import find_photos, load_photos
    from dctafd.training.losses import LossWeights
    from dctafd.training.trainer import Trainer
    from dctafd.training.validation import Validation, split_photos

    steps = options["steps"]
    if steps is None and options["minutes"] is None:
        steps = 20_000
    try:
        config = TrainingConfig(
            steps=steps,
            losses=LossWeights(**options["loss_weights"]),
            degradations=_degradations(options["degradations"]),
            divergence_knee=options["divergence_knee"] or None,
            **{name: options[name] for name in ("shape", "layer", "fe_width", "stage_widths", "minutes")},
            **{name: options[name] for name in ("batch_size", "crop", "boxes", "learning_rate")},
            **{name: options[name] for name in ("ema_decay", "seed", "cutmix", "stretch")},
            **{name: options[name] for name in ("teachers", "teacher_share", "teacher_size")},
        )
        training, held_out = split_photos(find_photos(folders), options["held_out"])
    except TypeError as error:
        raise click.UsageError(f"--loss-weights or --degradations: {error}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    machine = Machine.choose(options["device"], options["jobs"], options["compile"])
    note(f"{len(training)} photos to train on, {len(held_out)} held out; {machine}", quiet)
    side = round(1.5 * backbone.spec.crop)
    photos, others = (load_photos(paths, side, machine.threads) for paths in (training, held_out))
    validation = Validation(others, backbone.spec, machine.threads) if others else None
    return Trainer(backbone, photos, config, machine, validation)


def _degradations(changes: dict[str, float]) -> DegradationRange:
    """Return the usual degradations with some of their numbers replaced."""
    from dctafd.training.degrade import DegradationRange

    numbers: dict[str, Any] = dict(changes)
    numbers |= {name: round(numbers[name]) for name in ("lowest", "highest") if name in numbers}
    return DegradationRange(**numbers)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[TrainingReport], None]]:
    """Show a bar with the losses on a terminal, a line a report elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("train", total=1.0, step=0, losses="")

        def show(entry: TrainingReport) -> None:
            losses = " ".join(f"{name} {value:.4f}" for name, value in entry.losses.items())
            bar.update(task, completed=entry.progress, step=entry.step, losses=losses)
            if not console.is_terminal:
                rate = f"{entry.images_per_second:.1f} img/s"
                note(f"step {entry.step} {entry.progress:.1%} {losses} {rate}", quiet)
            for row in entry.validation:
                agreement = f"agrees {row.direct:.1f} -> {row.corrected:.1f} %"
                change = f"stem changed by {row.stem_change:.3f}"
                note(f"  q{row.quality}: {agreement}, KL {row.divergence:.3f}, {change}", quiet)

        yield show
