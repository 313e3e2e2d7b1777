"""`dctafd dataset-stats`: compression statistics of a directory of JPEG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.options import NewFile, WorkChoice, images_option, work_options
from dctafd.cli.output import text_output, write_records
from dctafd.cli.stderr import note, note_failures, progress
from dctafd.inputs.file_names import is_archive, is_table

if TYPE_CHECKING:
    from dctafd.analysis.dataset_stats import DatasetStatistics
    from dctafd.analysis.file_statistics import FileFacts


@click.command()
@images_option(
    "The directory, searched with all its sub-directories; or an archive, a Parquet file, a URL of these.",
    file_too=True,
    urls=True,
)
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    help="Levels of folders told apart. [default: as many as give 200 rows]",
)
@click.option("--sample", type=click.IntRange(min=1), help="Measure this many files only, chosen at random.")
@click.option(
    "--cache",
    type=NewFile(),
    help="Keep the measurements in this file; the next run reads only what changed.",
)
@click.option(
    "--html",
    type=NewFile({".html": "report", ".htm": "report"}),
    help="Write a report with figures to this file, one page without any other files.",
)
@work_options("table", "json", "jsonl", "csv", "parquet")
def command(
    images: Path | str,
    depth: int | None,
    sample: int | None,
    cache: Path | None,
    html: Path | None,
    work: WorkChoice,
) -> None:
    """Say of each folder, and in all, how its JPEG files were compressed.

    Sizes, bits per pixel, process, sampling, quality by the tables, quality of an earlier compression by the
    coefficients, and for each DCT frequency: zero rate, mean magnitude, deviation, Laplacian scale, entropy
    (all but the table format). A folder's row counts everything below it.

    \b
    Example:
      dctafd dataset-stats --dir imagenet-c/jpeg_compression --html report.html
    """
    from dctafd.analysis.dataset_stats import dataset_statistics
    from dctafd.analysis.photo_places import place_of
    from dctafd.batch.shown_urls import shown

    images = place_of(images)
    is_directory = isinstance(images, Path) and images.is_dir()
    if (
        isinstance(images, Path)
        and images.is_file()
        and not (is_archive(images.name) or is_table(images.name))
    ):
        raise click.UsageError(f"{images} is no directory, archive or Parquet file")
    if not is_directory and (sample is not None or cache is not None):
        raise click.UsageError("--sample and --cache take a directory on the disk")
    with progress("files", quiet=work.quiet) as advance:

        def on_file(name: str, facts: FileFacts) -> None:
            if work.on_error == "stop" and facts.error is not None:
                raise click.ClickException(f"stopped at {name}: {facts.error}: {facts.message}")
            advance(1)

        dataset = dataset_statistics(
            images,
            jobs=work.jobs,
            depth=depth,
            sample=sample,
            cache=cache,
            limits=work.limits,
            on_file=on_file,
        )
    if not dataset.total.files:
        raise click.UsageError(f"there are no JPEG files (.jpg, .jpeg, .jpe, .jfif) in {shown(str(images))}")
    _write(dataset, work)
    if html is not None:
        _write_html(dataset, html)
    if dataset.cached:
        note(f"{dataset.cached} of {dataset.total.files} files were known from the cache", work.quiet)
    failed = (f"{file.path}: {file.reason}: {file.detail}" for file in dataset.total.failed)
    note_failures(failed, dataset.total.failure_count, work.quiet)
    if dataset.total.failure_count:
        raise SystemExit(EXIT_SOME_FAILED)


def _write(dataset: DatasetStatistics, work: WorkChoice) -> None:
    from dctafd.analysis.dataset_records import flat_records, nested_records, stats_table
    from dctafd.batch.tables import Page

    if work.output_format != "table":
        records = nested_records if work.output_format in ("json", "jsonl") else flat_records
        write_records(records(dataset), work.output_format, work.output)
        return
    with text_output(work.output) as file:
        file.write(stats_table(dataset, Page.of(file)))


def _write_html(dataset: DatasetStatistics, path: Path) -> None:
    from dctafd.analysis.dataset_report import report_html

    page = report_html(dataset)
    with text_output(path) as file:
        file.write(page)
