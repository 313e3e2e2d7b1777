"""`dctafd evaluate`: accuracy on labelled photos with and without the AFD-Module."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.model_options import afd_option, device_option, model_options
from dctafd.cli.output import (
    format_option,
    jobs_option,
    note,
    output_option,
    progress,
    quiet_option,
    write_records,
)
from dctafd.files import atomic_output

if TYPE_CHECKING:
    from dctafd.analysis.evaluate import Evaluation
    from dctafd.nets.attach import CorrectedClassifier
    from dctafd.nets.registry import Backbone

PROTOCOLS = ("single", "imagenet-c", "native", "repeated", "stored")


def _qualities(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        qualities = tuple(int(part) for part in value.split(","))
    except ValueError:
        qualities = ()
    if not qualities or not all(1 <= quality <= 100 for quality in qualities):
        raise click.BadParameter(f"{value!r} is no list of qualities 1..100", ctx, parameter)
    return qualities


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
@click.option(
    "--images",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of JPEG photos.",
)
@click.option(
    "--labels",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with the columns file and label (0-based class index).",
)
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="single", show_default=True)
@click.option("--qualities", default="7,10,15,18,25", show_default=True, callback=_qualities)
@click.option(
    "--times",
    default="1..5",
    show_default=True,
    callback=_times,
    help="Compressions of protocol repeated: a number, or a range with a row for each.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many photos.")
@model_options
@afd_option
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@device_option
@click.option("--seed", default=0, show_default=True, help="Of the qualities that protocol repeated draws.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Also draw a figure.")
@format_option("table", "json", "csv")
@output_option
@jobs_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    images: Path,
    labels: Path,
    output_format: str,
    output: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure top-1 and top-5 accuracy on compressed photos, with and without the AFD-Module.

    Protocols: single (resize, crop, compress), imagenet-c (the same, saved again at quality 85), native
    (compress, resize, crop), repeated (compressed --times at random qualities), stored (files as they are).

    \b
    Example:
      dctafd evaluate --images eval/ --labels eval/labels.csv --model resnet50 --format json
    """
    from dctafd.analysis.evaluate import evaluate, read_labels
    from dctafd.analysis.protocols import protocol_conditions
    from dctafd.nets.device import choose_device
    from dctafd.nets.fold import fold_batch_norms
    from dctafd.nets.registry import load_backbone

    try:
        photos = read_labels(labels, images)[: options["limit"]]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    backbone = load_backbone(options["model"], options["weights"])
    backbone = replace(backbone, module=fold_batch_norms(backbone.module))
    classifier = load_corrected(backbone, options["afd"], quiet)
    conditions = protocol_conditions(options["protocol"], options["qualities"], options["times"])
    with progress("photos", len(photos), quiet) as advance:
        evaluation = evaluate(
            backbone,
            classifier,
            photos,
            options["protocol"],
            conditions,
            batch_size=options["batch_size"],
            threads=options["jobs"],
            device=choose_device(options["device"]),
            seed=options["seed"],
            advance=advance,
        )
    _write(evaluation, output_format, output)
    if options["plot"]:
        from dctafd.analysis.evaluation_figure import plot_evaluation

        plot_evaluation(evaluation, options["plot"])
    for file, message in evaluation.failures:
        note(f"{file}: {message}", quiet)
    if evaluation.failures:
        ctx.exit(EXIT_SOME_FAILED)


def load_corrected(backbone: Backbone, afd: str, quiet: bool) -> CorrectedClassifier | None:
    """Attach the module that `--afd` names, re-parameterised; tell on stderr where it may not fit."""
    from dctafd.nets.afd_weights import StemMismatchWarning, select_afd
    from dctafd.nets.attach import attach

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StemMismatchWarning)
        module = select_afd(afd, backbone)
    for warning in caught:
        note(f"warning: {warning.message}", quiet)
    return None if module is None else attach(backbone.module, module.reparameterize())


def _write(evaluation: Evaluation, output_format: str, output: Path | None) -> None:
    if output_format == "json":
        text = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False) + "\n"
        if output is None:
            sys.stdout.write(text)
            return
        with atomic_output(output) as file:
            file.write(text)
        return
    rows = [{"quality": "clean", **_without_quality(evaluation.clean.to_json())}]
    rows += [row.to_json() for row in evaluation.rows]
    write_records(rows, output_format, output)


def _without_quality(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "quality"}
