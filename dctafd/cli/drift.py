"""`dctafd drift`: drift of coefficients and of stem features over JPEG qualities."""

from __future__ import annotations

from pathlib import Path

import click

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
from dctafd.cli.output import write_records
from dctafd.cli.stderr import failure_handler, note_failures, progress


@click.command()
@images_option("Folder of photos in any of Pillow's formats, taken as clean; searched recursively.")
@qualities_option
@click.option("--limit", type=click.IntRange(min=1), help="Only so many photos, spread over the folder.")
@model_options(labels=False)
@click.option("--layer", help="Name of the stem layer, where the architecture is not known.")
@batch_size_option(8)
@click.option("--curve", is_flag=True, help="Give the points of the curve FA over DA, not a row per quality.")
@click.option(
    "--blocks",
    type=NewFile({".csv": None, ".parquet": "parquet"}),
    help="Write the data of every block to this file (.csv or .parquet).",
)
@figure_option("Draw the curves and what drifts most to this file (.png, .svg, .pdf).")
@work_options("table", "json", "jsonl", "csv", "parquet")
def command(
    images: Path,
    qualities: tuple[int, ...],
    limit: int | None,
    choice: ModelChoice,
    layer: str | None,
    batch_size: int,
    curve: bool,
    blocks: Path | None,
    plot: Path | None,
    work: WorkChoice,
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
    from dctafd.analysis.drift_output import save_blocks, save_drift_figure
    from dctafd.analysis.drift_summary import curve_records, summary_records, table_records

    photos = _photos(images, limit)
    device = chosen_device(choice.device)
    backbone = load_chosen_backbone(choice)
    afd = load_chosen_afd(backbone, choice, work.quiet)
    with progress("photos", len(photos), work.quiet) as advance:
        measurement = measure_drift(
            photos,
            backbone,
            qualities,
            afd=afd or "off",
            layer=layer,
            batch_size=batch_size,
            jobs=work.jobs,
            device=str(device),
            limits=work.limits,
            advance=advance,
            on_failure=failure_handler(work.on_error),
        )
    summary = table_records if work.output_format == "table" else summary_records
    write_records((curve_records if curve else summary)(measurement), work.output_format, work.output)
    if blocks is not None:
        save_blocks(measurement, blocks)
    if plot is not None:
        save_drift_figure(measurement, plot)
    note_failures(map(str, measurement.failures), len(measurement.failures), work.quiet)
    if measurement.failures:
        raise SystemExit(EXIT_SOME_FAILED)


def _photos(images: Path, limit: int | None) -> list[Path]:
    from dctafd.inputs.folders import walk_photos
    from dctafd.inputs.pictures import is_picture_name

    photos = [Path(found.path) for found in walk_photos(images, wanted=is_picture_name)]
    if not photos:
        raise click.UsageError(f"there are no photos in {images}")
    return photos if limit is None else photos[:: max(1, len(photos) // limit)][:limit]
