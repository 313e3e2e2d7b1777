"""`dctafd inspect`: one file's compression, and with a model how far it drifted."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.model_options import afd_option, device_option, weights_option
from dctafd.cli.output import format_option, max_pixels_option, note, output_option, quiet_option
from dctafd.cli.startup import collector_paused
from dctafd.errors import DctafdError

if TYPE_CHECKING:
    from dctafd.inference.classifier import Classifier


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw the file to a PNG, SVG or PDF; with several files, their number is put before the suffix.",
)
@click.option(
    "--model", help="A classifier: show where it sees drift and what it predicts; see `dctafd models`."
)
@weights_option
@afd_option
@device_option
@format_option("table", "json", "jsonl")
@output_option
@max_pixels_option
@quiet_option
def command(
    files: tuple[str, ...],
    plot: Path | None,
    model: str | None,
    weights: str | None,
    afd: str,
    device: str,
    output_format: str,
    output: Path | None,
    max_pixels: int,
    quiet: bool,
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

    classifier = _load(model, weights, afd, device, quiet) if model else None
    records = []
    for number, name in enumerate(files, start=1):
        target = plot if plot is None or len(files) == 1 else plot.with_stem(f"{plot.stem}-{number}")
        records.append(_inspect(name, max_pixels, classifier, target))
    write_inspections(records, output_format, output)
    for record in records:
        if record["error"]:
            click.echo(
                f"{record['source']}: {record['error']['type']}: {record['error']['message']}", err=True
            )
    if any(record["error"] for record in records):
        raise SystemExit(EXIT_SOME_FAILED)


def _load(model: str, weights: str | None, afd: str, device: str, quiet: bool) -> Classifier:
    from dctafd.inference.classifier import load_classifier

    with warnings.catch_warnings(record=True) as caught, collector_paused():
        warnings.simplefilter("always")
        classifier = load_classifier(model, weights, afd, device)
    for warning in caught:
        note(f"warning: {warning.message}", quiet)
    return classifier


def _inspect(name: str, max_pixels: int, classifier: Classifier | None, plot: Path | None) -> dict[str, Any]:
    """Return one file's record; what cannot be read becomes a record with an error."""
    from dctafd.analysis.inspection import inspect_jpeg, inspection_record
    from dctafd.inputs.source_items import readable
    from dctafd.jpeg.reader import read, read_bytes

    source = readable(name)
    try:
        data = read_bytes(sys.stdin.buffer if name == "-" else name)
        inspection = inspect_jpeg(read(data, max_pixels=max_pixels))
    except (DctafdError, OSError) as error:
        return {"source": source, "error": {"type": type(error).__name__, "message": str(error)}}
    record = inspection_record(source, inspection)
    drift = None
    if classifier is not None:
        from dctafd.analysis.drift_map import drift_map, drift_record

        drift = drift_map(classifier, data)
        record["drift"] = drift_record(drift)
    if plot is not None:
        from dctafd.analysis.inspection_plots import save_inspection_plot

        save_inspection_plot(inspection, plot, source, drift)
    return record
