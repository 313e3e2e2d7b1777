"""`dctafd classify`: one record per input, from files, directories, globs, archives or stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctafd.cli.loading import load_chosen_classifier
from dctafd.cli.main import EXIT_SOME_FAILED
from dctafd.cli.model_choice import ModelChoice, model_options
from dctafd.cli.options import NewFile, WorkChoice, batch_size_option, check_extra, work_options
from dctafd.cli.stderr import note, progress
from dctafd.config import DTYPES, RUNTIMES
from dctafd.extras import EXTRAS
from dctafd.files import followed, is_stream

if TYPE_CHECKING:
    from dctafd.batch.kept import Keep
    from dctafd.batch.run import Engine
    from dctafd.batch.run_options import Companion, RunOptions
    from dctafd.batch.sources import Plan
    from dctafd.batch.store_writing import OutputUrl
    from dctafd.batch.summary import Summary
    from dctafd.batch.units import Reading
    from dctafd.inference.classifier import Classifier
    from dctafd.inference.stream import Step


def _engine_name(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if value == "ray":
        check_extra("ray", parameter, ctx)
    return value


def _runtime_name(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if value in EXTRAS:
        check_extra(value, parameter, ctx)
    return value


def _keep(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Keep:
    from dctafd.batch.kept import NOTHING, parse_keep

    try:
        return NOTHING if value is None else parse_keep(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None


@dataclass(frozen=True, slots=True)
class _Start:
    """What a run begins with: an interrupted run, a finished output, or nothing."""

    resume: bool
    extend: bool


@dataclass(frozen=True, slots=True)
class _Engine:
    """Where the work is done."""

    name: str
    address: str | None
    choice: ModelChoice
    dtype: str
    runtime: str
    min_score: float | None

    def start(self) -> Engine:
        """Return what does the work."""
        from dctafd.batch.run import classify_locally

        if self.name == "local":
            return classify_locally
        from dctafd.batch.ray_engine import ray_engine

        return ray_engine(
            self.address,
            model=self.choice.model,
            weights=self.choice.weights,
            afd=self.choice.afd,
            device=self.choice.device,
            labels=self.choice.labels,
            changes=self.choice.changes,
            dtype=self.dtype,
            runtime=self.runtime,
            min_score=self.min_score,
        )


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option(
    "--files-from",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Read more sources from this file, one per line; - is stdin.",
)
@model_options()
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Predictions per photo."
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Call a photo unsure whose best score is below this. [default: never]",
)
@batch_size_option(32)
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="float32",
    show_default=True,
    help="Precision of the network.",
)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    show_default=True,
    callback=_runtime_name,
    help="What runs the network; auto is the fastest exact one that is installed.",
)
@click.option(
    "--html",
    type=NewFile({".html": "report", ".htm": "report"}),
    help="Write a gallery with thumbnails to this file, too: one page without any other files.",
)
@click.option(
    "--column",
    help="The column of Parquet files that holds the photos. [default: image, or what the layout says]",
)
@click.option(
    "--keep",
    metavar="NAME,...",
    callback=_keep,
    help="Carry these over to the records: columns of tables; key, cls, txt, json.url of shards' sidecars.",
)
@click.option(
    "--append-columns",
    is_flag=True,
    help="Write a copy of the Parquet sources, with the results as further columns (dctafd_label ...).",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run; needs -o and the same options.")
@click.option(
    "--extend",
    is_flag=True,
    help="Add archives and tables that are new to the finished output -o; needs the same options.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    callback=_engine_name,
    help="Where the work is done; ray needs the extra of that name.",
)
@click.option("--address", help="A Ray cluster to join; without it Ray runs on this machine.")
@work_options("table", "json", "jsonl", "csv", "parquet")
@click.pass_context
def command(
    ctx: click.Context,
    sources: tuple[str, ...],
    files_from: str | None,
    choice: ModelChoice,
    top_k: int,
    min_score: float | None,
    batch_size: int,
    dtype: str,
    runtime: str,
    html: Path | None,
    column: str | None,
    keep: Keep,
    append_columns: bool,
    resume: bool,
    extend: bool,
    engine: str,
    address: str | None,
    work: WorkChoice,
) -> None:
    """Classify JPEG photos, corrected for what compression did to them.

    SOURCE is a file, a directory (searched recursively), a glob, a .tar, .tar.gz, .tar.zst or .zip archive, a
    .parquet table, shards as in "shard-{000..099}.tar", a URL of any of these, or - for one photo on stdin.

    \b
    Examples:
      dctafd classify photo.jpg
      dctafd classify photos/ --format csv -o labels.csv
      dctafd classify photos/ --html gallery.html
      dctafd classify "shard-{000..099}.tar" -o labels.parquet --resume
      dctafd classify "s3://bucket/*.parquet" --keep id,label -o s3://bucket/labels.parquet
    """
    from dctafd.analysis.gallery import THUMBNAIL
    from dctafd.batch.run_options import RunOptions
    from dctafd.batch.units import Reading

    if not sources and files_from is None:
        raise click.UsageError("name a SOURCE, or --files-from FILE")
    if address is not None and engine != "ray":
        raise click.UsageError("--address belongs to --engine ray")
    if html is not None:
        _check_gallery(html, work.output)
    if extend and html is not None:
        raise click.UsageError("--extend adds to -o only: make the --html of all photos in a run of its own")
    if resume or extend:
        _check_resumable("--extend" if extend else "--resume", sources, work)
    if append_columns and (work.output_format != "parquet" or extend or keep):
        raise click.UsageError(
            "--append-columns needs --format parquet, and goes without --extend and --keep"
        )
    plan = _plan(sources, files_from, batch_size, Reading(keep, column))
    if append_columns:
        _check_appendable(plan, column, work.output)
    classifier = load_chosen_classifier(choice, work.quiet, dtype, runtime, min_score)
    choose = "; --model chooses another, `dctafd models` lists them"
    note(f"model: {classifier.name} ({classifier.facts.description}){choose}", work.quiet)
    options = RunOptions(
        top_k=top_k,
        batch_size=batch_size,
        jobs=work.jobs,
        limits=replace(work.limits, threads=work.jobs) if plan.single_file else work.limits,
        stop_on_error=work.on_error == "stop",
        output_format=work.output_format,
        thumbnail=None if html is None else THUMBNAIL,
        column=column,
        append_columns=append_columns,
    )
    classify = _Engine(engine, address, choice, dtype, classifier.network.runtime, min_score).start()
    companion = None if html is None else _gallery(classifier, html)
    start = _Start(resume, extend)
    summary = _run(classifier, plan, options, classify, work, companion, start)
    for line in summary.lines():
        note(line, work.quiet)
    if summary.failed:
        ctx.exit(EXIT_SOME_FAILED)


def _check_resumable(option: str, sources: tuple[str, ...], work: WorkChoice) -> None:
    from dctafd.batch.run import RESUMABLE_FORMATS

    if work.output is None or work.output_format not in RESUMABLE_FORMATS:
        raise click.UsageError(f"{option} needs -o FILE in one of the formats {', '.join(RESUMABLE_FORMATS)}")
    if "-" in sources:
        raise click.UsageError("what came on stdin cannot be resumed")


def _check_gallery(html: Path, output: Path | OutputUrl | None) -> None:
    if is_stream(html):
        raise click.BadParameter(f"{html} is a pipe or device: a gallery needs a file", param_hint="--html")
    if isinstance(output, Path) and followed(html).absolute() == followed(output).absolute():
        raise click.UsageError("-o and --html name the same file")


def _gallery(classifier: Classifier, html: Path) -> Companion:
    """Return the page that is written beside the results."""
    from dctafd.analysis.gallery import Gallery
    from dctafd.batch.run_options import Companion

    facts = classifier.facts
    return Companion(html, lambda written: Gallery(classifier.name, facts.description, facts.afd, written))


def _plan(sources: tuple[str, ...], files_from: str | None, batch_size: int, reading: Reading) -> Plan:
    from dctafd.batch.photo_table import NoColumnError
    from dctafd.batch.sources import plan_sources, read_list

    listed: list[str] = []
    if files_from is not None:
        with click.open_file(files_from, "rb") as file:
            listed = list(read_list(file))
    try:
        return plan_sources([*sources, *listed], 32 * batch_size, reading)
    except NoColumnError as error:
        raise click.UsageError(str(error)) from None


def _check_appendable(plan: Plan, column: str | None, output: Path | OutputUrl | None) -> None:
    from dctafd.batch.appended_columns import check_appendable

    if isinstance(output, Path) and is_stream(output):
        raise click.UsageError("--append-columns needs a file or URL")
    try:
        check_appendable(plan, column)
    except ValueError as error:
        raise click.UsageError(f"--append-columns: {error}") from None


def _run(
    classifier: Classifier,
    plan: Plan,
    options: RunOptions,
    engine: Engine,
    work: WorkChoice,
    companion: Companion | None,
    start: _Start,
) -> Summary:
    from dctafd.batch.run import StoppedError, run_to_file, run_to_stream

    classifier.network.use_cores(options.jobs)
    try:
        with progress("classify", plan.size or None, work.quiet, of_bytes=True) as advance:
            on_step = _bytes_advance(plan, advance)
            if work.output is None:
                return run_to_stream(classifier, plan, options, sys.stdout, on_step, engine, companion)
            return run_to_file(
                classifier, plan, options, work.output, start.resume, on_step, engine, companion, start.extend
            )
    except StoppedError as error:
        raise click.ClickException(f"stopped at {error}{_resume_hint(work)}") from error
    except KeyboardInterrupt:  # told by the group, after the bar is gone
        raise KeyboardInterrupt(_resume_hint(work)) from None


def _resume_hint(work: WorkChoice) -> str:
    from dctafd.batch.run import RESUMABLE_FORMATS

    resumable = work.output is not None and work.output_format in RESUMABLE_FORMATS
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
