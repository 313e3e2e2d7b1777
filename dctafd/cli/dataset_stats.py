"""`dctafd dataset-stats`: compression statistics of a directory of JPEG files."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.output import (
    format_option,
    jobs_option,
    max_pixels_option,
    note,
    on_error_option,
    output_option,
    progress,
    quiet_option,
    stdout_console,
    write_records,
)
from dctafd.errors import DctafdError
from dctafd.files import atomic_output

if TYPE_CHECKING:
    from dctafd.analysis.dataset_stats import DatasetStatistics
    from dctafd.analysis.file_statistics import FileFacts


@click.command()
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory, searched with all its sub-directories.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    help="Levels of folders told apart. [default: as many as give 200 rows]",
)
@click.option("--sample", type=click.IntRange(min=1), help="Measure this many files only, chosen at random.")
@click.option(
    "--cache",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the measurements in this file; the next run reads only what changed.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a report with figures to this file, one page without any other files.",
)
@format_option("table", "json", "jsonl", "csv", "parquet")
@output_option
@jobs_option
@on_error_option
@max_pixels_option
@quiet_option
def command(
    directory: Path,
    depth: int | None,
    sample: int | None,
    cache: Path | None,
    html: Path | None,
    output_format: str,
    output: Path | None,
    jobs: int,
    on_error: str,
    max_pixels: int,
    quiet: bool,
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

    with progress("files", quiet=quiet) as advance:

        def on_file(facts: FileFacts) -> None:
            if on_error == "stop" and facts.error is not None:
                raise DctafdError(f"stopped at the first failure: {facts.error}: {facts.message}")
            advance(1)

        dataset = dataset_statistics(
            directory,
            jobs=jobs,
            depth=depth,
            sample=sample,
            cache=cache,
            max_pixels=max_pixels,
            on_file=on_file,
        )
    _write(dataset, output_format, output)
    if html is not None:
        _write_html(dataset, html)
    _note_failures(dataset, quiet)
    if dataset.total.failure_count:
        raise SystemExit(EXIT_SOME_FAILED)


def _write(dataset: DatasetStatistics, output_format: str, output: Path | None) -> None:
    from dctafd.analysis.dataset_records import flat_records, nested_records

    if output_format != "table":
        records = nested_records if output_format in ("json", "jsonl") else flat_records
        write_records(records(dataset), output_format, output)
    elif output is None:
        _print_table(dataset, None)
    else:
        with atomic_output(output) as file:
            _print_table(dataset, file)


def _print_table(dataset: DatasetStatistics, file: IO[str] | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from dctafd.analysis.dataset_records import COLUMNS, TOTAL, table_rows

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column.title, justify="right" if column.numeric else "left", overflow="fold")
    for row in table_rows(dataset):
        style = "bold" if row[0] == TOTAL else ""
        table.add_row(*(Text(cell, style=style) for cell in row))
    console = stdout_console()
    if file is not None:
        console.file = file
    console.print(table)


def _write_html(dataset: DatasetStatistics, path: Path) -> None:
    from dctafd.analysis.dataset_report import report_html

    page = report_html(dataset)
    with atomic_output(path) as file:
        file.write(page)


def _note_failures(dataset: DatasetStatistics, quiet: bool) -> None:
    total = dataset.total
    if dataset.cached:
        note(f"{dataset.cached} of {total.files} files were known from the cache", quiet)
    for failed in total.failed[:10]:
        note(f"{failed.path}: {failed.reason}: {failed.detail}", quiet)
    if total.failure_count > 10:
        note(f"... {total.failure_count} files failed", quiet)
