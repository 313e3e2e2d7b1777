"""`dctafd drift`: drift of coefficients and of stem features over JPEG qualities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def _qualities(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        qualities = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        qualities = ()
    if not qualities or not all(1 <= quality <= 100 for quality in qualities):
        raise click.BadParameter(f"{value!r} is no list of qualities 1..100", ctx, parameter)
    return qualities


def _blocks_file(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in (".csv", ".parquet"):
        raise click.BadParameter("it ends in .csv or .parquet", ctx, parameter)
    return value


@click.command()
@click.option(
    "--images",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of JPEG photos, taken as clean; searched recursively.",
)
@click.option("--qualities", default="7,10,15,18,25", show_default=True, callback=_qualities)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many photos, spread over the folder.")
@model_options
@afd_option
@click.option("--layer", help="Name of the stem layer, where the architecture is not known.")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@device_option
@click.option("--curve", is_flag=True, help="Give the points of the curve FA over DA, not a row a quality.")
@click.option(
    "--blocks",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_blocks_file,
    help="Write the data of every block to this file (.csv or .parquet).",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw the curves and what drifts most to this file (.png, .svg, .pdf).",
)
@format_option("table", "json", "jsonl", "csv", "parquet")
@output_option
@jobs_option
@quiet_option
def command(
    images: Path,
    output_format: str,
    output: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure how far compression moves coefficients and features, block by block.

    Each photo is resized and cropped as the classifier sees it and compressed at each quality. DA is the
    angle between the 192-vectors of Y, Cb and Cr coefficients of the clean and the compressed block, FA that
    between the stem's feature vectors within the block (the AFD paper's Fig. 4). Also: the frequencies and
    channels that drift most, and the rank correlation of FDM channel 0 with the measured drift.

    \b
    Example:
      dctafd drift --images photos/ --model resnet50 --plot drift.png --blocks drift.parquet
    """
    from dctafd.analysis.drift import measure_drift
    from dctafd.analysis.drift_summary import curve_records, summary_records, table_records
    from dctafd.cli.evaluate import load_corrected
    from dctafd.nets.device import choose_device
    from dctafd.nets.registry import load_backbone

    photos = _photos(images, options["limit"])
    backbone = load_backbone(options["model"], options["weights"])
    with progress("photos", len(photos), quiet) as advance:
        measurement = measure_drift(
            backbone,
            photos,
            options["qualities"],
            classifier=load_corrected(backbone, options["afd"], quiet),
            layer=options["layer"],
            batch_size=options["batch_size"],
            threads=options["jobs"],
            device=str(choose_device(options["device"])),
            advance=advance,
        )
    summary = table_records if output_format == "table" else summary_records
    write_records((curve_records if options["curve"] else summary)(measurement), output_format, output)
    if options["blocks"] or options["plot"]:
        from dctafd.analysis.drift_output import save_blocks, save_drift_figure

        if options["blocks"]:
            save_blocks(measurement, options["blocks"])
        if options["plot"]:
            save_drift_figure(measurement, options["plot"])
    for file, message in measurement.failures:
        note(f"{file}: {message}", quiet)
    if measurement.failures:
        raise SystemExit(EXIT_SOME_FAILED)


def _photos(images: Path, limit: int | None) -> list[Path]:
    from dctafd.analysis.dataset_stats import iter_jpeg_paths

    photos = list(iter_jpeg_paths(images))
    if not photos:
        raise click.UsageError(f"there are no JPEG files in {images}")
    return photos if limit is None else photos[:: max(1, len(photos) // limit)][:limit]
