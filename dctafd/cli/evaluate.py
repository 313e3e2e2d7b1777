"""`dctafd evaluate`: what the AFD-Module gives on compressed photos, with labels or without."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctafd.analysis.protocols import PROTOCOLS, Protocol
from dctafd.batch.formats import json_text
from dctafd.cli.durations import duration
from dctafd.cli.evaluate_output import evaluation_records, table_records
from dctafd.cli.loading import chosen_device, load_chosen_afd, load_chosen_backbone
from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.model_choice import ModelChoice, model_options
from dctafd.cli.options import (
    NewFile,
    WorkChoice,
    batch_size_option,
    figure_option,
    images_option,
    qualities_option,
    work_options,
)
from dctafd.cli.output import text_output, write_records
from dctafd.cli.stderr import failure_handler, note, note_failures, progress
from dctafd.plain_text import counted

if TYPE_CHECKING:
    from dctafd.analysis.evaluation import Evaluation
    from dctafd.analysis.evaluation_task import EvaluationTask

_SHOWN_LABELS = 10
_SECONDS_BEFORE_ESTIMATE = 5.0


def _times(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    first, _, last = value.partition("..")
    try:
        numbers = tuple(range(int(first), int(last or first) + 1))
    except ValueError:
        numbers = ()
    if not numbers or numbers[0] < 1:
        raise click.BadParameter(f"{value!r} is neither a number such as 3 nor a range such as 1..5")
    return numbers


@click.command()
@images_option(
    "Folder, tar or zip archive (WebDataset shard) or Parquet file of photos, or a URL; may be repeated.",
    multiple=True,
    file_too=True,
    urls=True,
)
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with the columns file and label (0-based class index, class name or WordNet id). "
    "[default: labels where the photos lie: a Parquet column, .cls and .json members, names of folders]",
)
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="single", show_default=True)
@click.option(
    "--measure",
    type=click.Choice(["auto", "accuracy", "agreement"]),
    default="auto",
    show_default=True,
    help="Accuracy needs labels; agreement is that with the answer on the uncompressed photo.",
)
@qualities_option
@click.option(
    "--times",
    default="1..5",
    show_default=True,
    callback=_times,
    help="Compressions of protocol repeated: a number, or a range with a row for each.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most so many photos: the first of --labels, else spread evenly; with stored of each folder.",
)
@click.option(
    "--compare",
    type=click.Choice(["paper"]),
    help="Put the AFD paper's top-1 (Tables V, VI) beside the rows.",
)
@model_options(labels=False)
@batch_size_option(32)
@click.option("--seed", default=0, show_default=True, help="Of the qualities that protocol repeated draws.")
@click.option(
    "--per-photo",
    type=NewFile({".jsonl": None, ".csv": None, ".parquet": "parquet"}),
    help="Also write every photo's scores to this file (.jsonl, .csv, .parquet).",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted evaluation of the same output.")
@figure_option("Also draw a figure (.png, .svg, .pdf).")
@work_options("table", "json", "csv")
def command(
    images: tuple[Path | str, ...],
    labels: Path | None,
    protocol: Protocol,
    measure: str,
    qualities: tuple[int, ...],
    times: tuple[int, ...],
    limit: int | None,
    compare: str | None,
    choice: ModelChoice,
    batch_size: int,
    seed: int,
    per_photo: Path | None,
    resume: bool,
    plot: Path | None,
    work: WorkChoice,
) -> None:
    """Measure what the AFD-Module gives on compressed photos: top-1 and top-5 with and without it.

    Without labels it is how often the classifier says what it says of the uncompressed photo.

    Protocols: single (resize, crop, compress), imagenet-c (the same, saved again at quality 85), native
    (compress, resize, crop), repeated (compressed --times at random qualities), stored (files as they are; a
    row for each folder that holds class folders, such as ImageNet-C's).

    \b
    Examples:
      dctafd evaluate --images photos/ --model resnet50
      dctafd evaluate --images imagenet-c/jpeg_compression --protocol stored --compare paper --model resnet50
      dctafd evaluate --images val-{000..049}.tar --per-photo scores.parquet --resume
    """
    from dctafd.analysis.evaluate import plan_evaluation
    from dctafd.nets.fold import fold_batch_norms

    journal = per_photo or (work.output if isinstance(work.output, Path) else None)
    if resume and journal is None:
        raise click.UsageError("--resume needs the file that was to be written: -o FILE or --per-photo FILE")
    _check_outputs(work.output, per_photo, plot)
    device = chosen_device(choice.device)
    backbone = load_chosen_backbone(choice)
    backbone = replace(backbone, module=fold_batch_norms(backbone.module))
    try:
        task = plan_evaluation(
            list(images),
            backbone,
            load_chosen_afd(backbone, choice, work.quiet),
            labels=labels,
            protocol=protocol,
            qualities=qualities,
            times=times,
            measure=None if measure == "auto" else measure,  # type: ignore[arg-type]
            limit=limit,
            compare=compare,
            batch_size=batch_size,
            jobs=work.jobs,
            device=str(device),
            seed=seed,
            limits=work.limits,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _tell_plan(task, work.quiet)
    with _timed_progress(task, work.quiet) as advance:
        evaluation = task.run(advance, journal, resume, failure_handler(work.on_error))
    if per_photo is not None:
        from dctafd.analysis.per_photo import save_per_photo

        save_per_photo(evaluation, backbone.labels, per_photo)
    _write(evaluation, work)
    if plot is not None:
        from dctafd.analysis.evaluation_figure import plot_evaluation

        plot_evaluation(evaluation, plot, task)
    note_failures(map(str, evaluation.failures), len(evaluation.failures), work.quiet)
    if evaluation.failures or evaluation.unmatched:
        raise SystemExit(EXIT_SOME_FAILED)


def _check_outputs(*outputs: object) -> None:
    """Refuse to write two things to one file."""
    files = [path.resolve() for path in outputs if isinstance(path, Path)]
    twice = next((path for path in files if files.count(path) > 1), None)
    if twice is not None:
        raise click.UsageError(f"-o, --per-photo and --plot need different files, not {twice} twice")


def _tell_plan(task: EvaluationTask, quiet: bool) -> None:
    """Say on stderr what is going to be measured, and which labels are no class of the model."""
    photos, unmatched = task.photos, task.photos.unmatched
    if task.measure == "agreement":
        what = "agreement with the answer on the uncompressed photo (no labels were found, or asked for)"
    else:
        what = f"accuracy, labels by {photos.labels}"
    note(f"{counted(len(photos.photos), 'photo')}; {what}", quiet)
    if unmatched and task.measure == "accuracy":
        count = sum(label.photos for label in unmatched)
        are, these = ("is", "its label is") if count == 1 else ("are", f"their labels ({len(unmatched)}) are")
        note(f"{counted(count, 'photo')} {are} left out, {these} no class of the model:", quiet)
        for label in unmatched[:_SHOWN_LABELS]:
            note(f"  {label.label!r}, {counted(label.photos, 'photo')}: {label.reason}", quiet)
        if len(unmatched) > _SHOWN_LABELS:
            note(f"  and {len(unmatched) - _SHOWN_LABELS} more (--format json lists them)", quiet)


@contextmanager
def _timed_progress(task: EvaluationTask, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show the progress; where there is no bar, say once how long the rest will take."""
    total = len(task.photos.photos)
    done, told, begin = 0, sys.stderr.isatty(), time.monotonic()
    first = 0
    with progress("photos", total, quiet) as advance:

        def count(number: int) -> None:
            nonlocal done, told, begin, first
            advance(number)
            done += number
            passed = time.monotonic() - begin
            if first == 0:  # what was done earlier, or the first batch, which compiles kernels
                first, begin = done, time.monotonic()
            elif not told and passed > _SECONDS_BEFORE_ESTIMATE and done < total:
                rate = (done - first) / passed
                note(f"{rate:.1f} photos/s: about {duration((total - done) / rate)} left", quiet)
                told = True

        yield count


def _write(evaluation: Evaluation, work: WorkChoice) -> None:
    if work.output_format == "json":
        with text_output(work.output) as file:
            file.write(json_text(evaluation.to_dict()) + "\n")
        return
    records = table_records if work.output_format == "table" else evaluation_records
    write_records(records(evaluation), work.output_format, work.output)
