"""`dctafd classify`: one record an input, from files, directories, globs, archives or stdin."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctafd.cli.main import EXIT_INTERRUPTED, EXIT_SOME_FAILED
from dctafd.cli.model_options import afd_option, device_option, model_options
from dctafd.cli.output import (
    format_option,
    jobs_option,
    max_pixels_option,
    note,
    on_error_option,
    output_option,
    progress,
    quiet_option,
)
from dctafd.cli.startup import collector_paused

if TYPE_CHECKING:
    from dctafd.batch.run import Engine, RunOptions
    from dctafd.batch.sources import Plan
    from dctafd.batch.summary import Summary
    from dctafd.inference.classifier import Classifier
    from dctafd.inference.stream import Step


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--files-from", type=click.File("r"), help="Read more sources from this file, one a line.")
@model_options
@afd_option
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Predictions a photo."
)
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True)
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Precision of the network.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run; needs -o and the same options.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the work is done; ray needs the extra of that name.",
)
@click.option("--address", help="A Ray cluster to join; without it Ray runs on this machine.")
@format_option("table", "json", "jsonl", "csv", "parquet")
@output_option
@jobs_option
@on_error_option
@max_pixels_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    sources: tuple[str, ...],
    files_from: Iterable[str] | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Classify JPEG photos, corrected for what compression did to them.

    SOURCE is a file, a directory (searched recursively), a glob, a .tar, .tar.gz, .tar.zst or .zip archive,
    shards as in "shard-{000..099}.tar", or - for one photo on stdin.

    \b
    Examples:
      dctafd classify photo.jpg
      dctafd classify photos/ --format csv -o labels.csv
      dctafd classify "shard-{000..099}.tar" -o labels.parquet --resume
    """
    from dctafd.batch.sources import plan_sources, read_list

    _check(sources, files_from, options)
    names = [*sources, *(read_list(files_from) if files_from is not None else ())]  # type: ignore[arg-type]
    plan = plan_sources(names, files_per_unit=32 * options["batch_size"])
    with _warnings_as_notes(quiet), collector_paused():
        classifier = _load(options)
    choose = "; --model chooses another, `dctafd models` lists them"
    note(f"model: {classifier.name} ({classifier.facts.description}){choose}", quiet)
    summary = _run(classifier, plan, options, quiet)
    for line in summary.lines():
        note(line, quiet)
    if summary.failed:
        ctx.exit(EXIT_SOME_FAILED)


def _check(sources: tuple[str, ...], files_from: Iterable[str] | None, options: dict[str, Any]) -> None:
    from dctafd.batch.run import RESUMABLE_FORMATS

    if not sources and files_from is None:
        raise click.UsageError("name a SOURCE, or --files-from FILE")
    output: Path | None = options["output"]
    if options["resume"] and (output is None or options["output_format"] not in RESUMABLE_FORMATS):
        raise click.UsageError(f"--resume needs -o FILE in one of the formats {', '.join(RESUMABLE_FORMATS)}")
    if options["resume"] and "-" in sources:
        raise click.UsageError("what came on stdin cannot be resumed")
    if options["address"] is not None and options["engine"] != "ray":
        raise click.UsageError("--address belongs to --engine ray")


def _load(options: dict[str, Any]) -> Classifier:
    from dctafd.inference.classifier import load_classifier
    from dctafd.nets.afd_weights import afd_path

    afd = options["afd"]
    if afd not in ("auto", "off") and not afd_path(afd).is_file():
        message = f"{afd!r} is neither auto, off, a file nor a shipped module's name"
        raise click.BadParameter(message, param_hint="--afd")
    try:
        return load_classifier(options["model"], options["weights"], afd, options["device"], options["dtype"])
    except RuntimeError as error:  # torch: no such device
        raise click.BadParameter(str(error).splitlines()[0], param_hint="--device") from error


def _run(classifier: Classifier, plan: Plan, options: dict[str, Any], quiet: bool) -> Summary:
    from dctafd.batch.run import RunOptions, StoppedError, run_to_file, run_to_stream
    from dctafd.config import Limits

    run_options = RunOptions(
        top_k=options["top_k"],
        batch_size=options["batch_size"],
        jobs=options["jobs"],
        limits=Limits(options["max_pixels"]),
        stop_on_error=options["on_error"] == "stop",
        output_format=options["output_format"],
    )
    classifier.network.use_cores(options["jobs"])
    output: Path | None = options["output"]
    engine = _engine(options)
    with progress("classify", plan.size or None, quiet, of_bytes=True) as advance:
        on_step = _bytes_advance(plan, advance)
        try:
            if output is None:
                return run_to_stream(classifier, plan, run_options, sys.stdout, on_step, engine)
            return run_to_file(classifier, plan, run_options, output, options["resume"], on_step, engine)
        except StoppedError as error:
            hint = _resume_hint(run_options, output)
            raise click.ClickException(f"stopped at {error}{hint}") from error
        except KeyboardInterrupt:
            click.echo(f"interrupted{_resume_hint(run_options, output)}", err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def _engine(options: dict[str, Any]) -> Engine:
    from dctafd.batch.run import classify_locally

    if options["engine"] == "local":
        return classify_locally
    from dctafd.batch.ray_engine import ray_engine

    return ray_engine(
        options["address"],
        model=options["model"],
        weights=options["weights"],
        afd=options["afd"],
        device=options["device"],
        dtype=options["dtype"],
    )


def _resume_hint(options: RunOptions, output: Path | None) -> str:
    from dctafd.batch.run import RESUMABLE_FORMATS

    resumable = output is not None and options.output_format in RESUMABLE_FORMATS
    return "; the same command with --resume goes on from here" if resumable else ""


def _bytes_advance(plan: Plan, advance: Callable[[int], None]) -> Callable[[Step], None]:
    """Return a function that moves the progress bar by the share of the sources that a step did.

    An archive's bytes on disk are not those of its members: at its end the bar is set right.
    """
    shown = 0
    ends = [0]
    for unit in plan.units:
        ends.append(ends[-1] + unit.size)

    def on_step(step: Step) -> None:
        nonlocal shown
        position = step.position
        end = ends[min(position.unit + 1, len(ends) - 1)]
        now = ends[position.unit] if step.skipped is not None else min(shown + step.size, end)
        advance(max(now - shown, 0))
        shown = max(now, shown)

    return on_step


@contextmanager
def _warnings_as_notes(quiet: bool) -> Any:
    """Show warnings about the weights as lines for people."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        note(f"warning: {warning.message}", quiet)
