"""`dctafd inspect`: one file's compression, and with a model how far it drifted."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import click

from dctafd.cli.loading import load_chosen_classifier
from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.model_choice import ModelChoice, model_options
from dctafd.cli.options import WorkChoice, figure_option, work_options
from dctafd.cli.stderr import note
from dctafd.config import Limits
from dctafd.errors import DctafdError
from dctafd.plain_text import reason

if TYPE_CHECKING:
    from dctafd.inference.classifier import Classifier

_DRAWING = Lock()
"""Matplotlib draws one figure at a time."""


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@figure_option(
    "Draw the file to a .png, .svg or .pdf; with several files, their number is put before the suffix."
)
@model_options(default=None)
@work_options("table", "json", "jsonl", on_error=False)
def command(
    files: tuple[str, ...],
    plot: Path | None,
    choice: ModelChoice | None,
    work: WorkChoice,
) -> None:
    """Show how each FILE ("-" is stdin) was compressed.

    Size, process, sampling, quantisation tables, quality and how well it fits, signs of an earlier
    compression, histograms of the first coefficients, and what is damaged. With --model also the Feature
    Drifting Map and the predictions with and without the AFD-Module.

    \b
    Example:
      dctafd inspect photo.jpg --plot photo.png
    """
    from dctafd.cli.inspect_output import write_inspections

    classifier = None if choice is None else load_chosen_classifier(choice, work.quiet)
    limits = replace(work.limits, threads=max(work.jobs // len(files), 1))

    def inspect(number: int) -> dict[str, Any]:
        target = plot if plot is None or len(files) == 1 else plot.with_stem(f"{plot.stem}-{number + 1}")
        return _inspect(files[number], limits, classifier, target)

    with ThreadPoolExecutor(min(work.jobs, len(files))) as pool:
        records = list(pool.map(inspect, range(len(files))))
    write_inspections(records, work.output_format, work.output)
    failed = [record for record in records if record["error"]]
    for record in failed:
        note(f"{record['source']}: {record['error']['type']}: {record['error']['message']}")
    if failed:
        raise SystemExit(EXIT_SOME_FAILED)


def _inspect(name: str, limits: Limits, classifier: Classifier | None, plot: Path | None) -> dict[str, Any]:
    """Return one file's record; what cannot be read becomes a record with an error."""
    from dctafd.analysis.inspection import inspect_jpeg, inspection_record
    from dctafd.batch.shown_urls import shown
    from dctafd.inputs.source_items import readable
    from dctafd.jpeg.reader import read_within

    source = readable(shown(name))
    drift = None
    try:
        data = _read(name)
        inspection = inspect_jpeg(read_within(data, limits))
        record = inspection_record(source, inspection)
        if classifier is not None:
            from dctafd.analysis.drift_map import drift_map, drift_record

            drift = drift_map(classifier, data)
            record["drift"] = drift_record(drift)
    except (DctafdError, OSError) as error:
        return {
            "source": source,
            "error": {"type": type(error).__name__, "message": reason(error, named=True)},
        }
    if plot is not None:
        from dctafd.analysis.inspection_plots import save_inspection_plot

        with _DRAWING:
            save_inspection_plot(inspection, plot, source, drift)
    return record


def _read(name: str) -> bytes:
    """Return the bytes of stdin ("-"), of a file, or of what is behind a URL."""
    from dctafd.batch.shown_urls import is_url
    from dctafd.batch.sources import iter_sources
    from dctafd.jpeg.reader import read_bytes

    if name == "-" or not is_url(name) or Path(name).exists():
        return read_bytes(sys.stdin.buffer if name == "-" else name)
    first, *others = islice(iter_sources([name]), 2)
    if first.member is not None or others:
        raise DctafdError("inspect looks at single files: name one, not an archive or a folder")
    return first.read()
