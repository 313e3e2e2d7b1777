"""`dctafd evaluate`: accuracy on labelled photos with and without the AFD-Module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctafd.analysis.protocols import PROTOCOLS, Protocol
from dctafd.batch.formats import json_text
from dctafd.cli.loading import chosen_device, load_chosen_backbone, load_chosen_correction
from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.options import (
    ModelChoice,
    batch_size_option,
    figure_option,
    format_option,
    images_option,
    jobs_option,
    model_options,
    output_option,
    qualities_option,
    quiet_option,
)
from dctafd.cli.output import text_output, write_records
from dctafd.cli.stderr import note_failures, progress

if TYPE_CHECKING:
    from dctafd.analysis.evaluate import Evaluation


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
@images_option("Folder of JPEG photos.")
@click.option(
    "--labels",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with the columns file and label (0-based class index).",
)
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="single", show_default=True)
@qualities_option
@click.option(
    "--times",
    default="1..5",
    show_default=True,
    callback=_times,
    help="Compressions of protocol repeated: a number, or a range with a row for each.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many photos.")
@model_options()
@batch_size_option(32)
@click.option("--seed", default=0, show_default=True, help="Of the qualities that protocol repeated draws.")
@figure_option("Also draw a figure (.png, .svg, .pdf).")
@format_option("table", "json", "csv")
@output_option
@jobs_option
@quiet_option
def command(
    images: Path,
    labels: Path,
    protocol: Protocol,
    qualities: tuple[int, ...],
    times: tuple[int, ...],
    limit: int | None,
    choice: ModelChoice,
    batch_size: int,
    seed: int,
    plot: Path | None,
    output_format: str,
    output: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Measure top-1 and top-5 accuracy on compressed photos, with and without the AFD-Module.

    Protocols: single (resize, crop, compress), imagenet-c (the same, saved again at quality 85), native
    (compress, resize, crop), repeated (compressed --times at random qualities), stored (files as they are).

    \b
    Example:
      dctafd evaluate --images eval/ --labels eval/labels.csv --model resnet50 --format json
    """
    from dctafd.analysis.evaluate import evaluate, read_labels
    from dctafd.analysis.evaluation_figure import plot_evaluation
    from dctafd.analysis.protocols import protocol_conditions
    from dctafd.nets.fold import fold_batch_norms

    try:
        photos = read_labels(labels, images)[:limit]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    device = chosen_device(choice.device)
    backbone = load_chosen_backbone(choice)
    backbone = replace(backbone, module=fold_batch_norms(backbone.module))
    classifier = load_chosen_correction(backbone, choice, quiet)
    with progress("photos", len(photos), quiet) as advance:
        evaluation = evaluate(
            backbone,
            classifier,
            photos,
            protocol,
            protocol_conditions(protocol, qualities, times),
            batch_size=batch_size,
            threads=jobs,
            device=device,
            seed=seed,
            advance=advance,
        )
    _write(evaluation, output_format, output)
    if plot is not None:
        plot_evaluation(evaluation, plot)
    note_failures(evaluation.failures, len(evaluation.failures), quiet)
    if evaluation.failures:
        raise SystemExit(EXIT_SOME_FAILED)


def _write(evaluation: Evaluation, output_format: str, output: Path | None) -> None:
    if output_format == "json":
        with text_output(output) as file:
            file.write(json_text(evaluation.to_json()) + "\n")
        return
    write_records(_rows(evaluation), output_format, output)


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row a condition, each with a name; of files as they are stored the clean ones are the same."""
    rows = [row.to_json() for row in evaluation.rows]
    if evaluation.protocol == "stored":
        return [{**row, "quality": "stored"} for row in rows]
    return [{**evaluation.clean.to_json(), "quality": "clean"}, *rows]
