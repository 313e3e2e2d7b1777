"""The options that several commands share, checked as they are parsed: before any work.

A command stacks the decorators it needs::

    @click.command()
    @model_options()
    @work_options("table", "json", "csv")
    def command(choice: ModelChoice, work: WorkChoice) -> None: ...
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dctafd.batch.shown_urls import is_url
from dctafd.config import MAX_PIXELS, Limits
from dctafd.errors import MissingExtraError
from dctafd.extras import require_extra
from dctafd.files import check_output
from dctafd.plain_text import reason

if TYPE_CHECKING:
    from dctafd.batch.store_writing import OutputUrl

FORMATS = ("table", "json", "jsonl", "csv", "parquet")

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Decorator = Callable[[_Function], _Function]


# Files that are written -------------------------------------------------------------------------------


class NewFile(click.ParamType[Path]):
    """A file that will be written: its suffix, its place and what it takes to write it are checked at once.

    Args:
        suffixes: those that are known -> the extra that each needs, None for none; any where none is named.
    """

    name = "FILE"

    def __init__(self, suffixes: Mapping[str, str | None] | None = None) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        if is_url(str(value)):
            self.fail("only -o writes to URLs: name a file here, and copy it there", param, ctx)
        path = Path(value)
        if self.suffixes is not None:
            suffix = path.suffix.lower()
            if suffix not in self.suffixes:
                known = ", ".join(self.suffixes)
                self.fail(f"{path.name!r} does not end in one of {known}", param, ctx)
            check_extra(self.suffixes[suffix], param, ctx)
        try:
            check_output(path)
        except OSError as error:
            self.fail(reason(error), param, ctx)
        return path


def _output_url(url: str, param: click.Parameter, ctx: click.Context) -> Path | OutputUrl:
    """Return what a URL stands for that results go to, and see that it can be written."""
    from dctafd.batch.store_writing import OutputUrl, check_output_url
    from dctafd.batch.stores import local_path

    path = local_path(url)
    if path is not None:
        return NewFile().convert(path, param, ctx)
    try:
        check_output_url(url)
    except (OSError, MissingExtraError) as error:
        raise click.BadParameter(reason(error), ctx, param) from None
    return OutputUrl(url)


def check_extra(extra: str | None, param: click.Parameter | None, ctx: click.Context | None) -> None:
    """End the command as wrong usage where what an option needs is not installed."""
    try:
        if extra is not None:
            require_extra(extra)
    except MissingExtraError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def figure_option(help: str) -> _Decorator[Any]:
    """`--plot FILE`, passed as `plot: Path | None`."""
    return click.option("--plot", type=NewFile({".png": "plot", ".svg": "plot", ".pdf": "plot"}), help=help)


def format_option(*formats: str, default: str = "table") -> _Decorator[Any]:
    """`--format`, passed as `output_format`.

    Without it the format follows the suffix of `-o FILE` where that is known, else it is `default`.

    Args:
        formats: the formats of this command, all of `FORMATS` if none is named.
        default: the format where neither `--format` nor `-o` says one.
    """
    allowed = formats or FORMATS

    def choose(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
        output = ctx.params.get("output")
        suffix = output.suffix.lower().removeprefix(".") if output else ""
        chosen = value or (suffix if suffix in allowed else default)
        if chosen == "parquet":
            if output is None:
                raise click.BadParameter("parquet needs a file: add -o FILE", ctx, parameter)
            check_extra("parquet", parameter, ctx)
        return chosen

    return click.option(
        "--format",
        "output_format",
        type=click.Choice(allowed),
        callback=choose,
        help=f"Format of the results. [default: by the suffix of -o, else {default}]",
    )


def output_option(function: _Function) -> _Function:
    """`-o FILE`, passed as `output: Path | OutputUrl | None`; None (also for `-`) is stdout."""

    def check(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path | OutputUrl | None:
        if value is not None and is_url(value):
            return _output_url(value, parameter, ctx)
        if value is not None and value != "-":
            return NewFile().convert(value, parameter, ctx)
        if sys.stdout is None or not sys.stdout.writable():
            raise click.UsageError("stdout is closed: name a file with -o FILE", ctx)
        return None

    return click.option(
        "-o",
        "--output",
        metavar="FILE",
        is_eager=True,  # --format looks at its suffix
        callback=check,
        help="Write the results to this file or URL, whole or not at all. [default: stdout]",
    )(function)


# What is read -----------------------------------------------------------------------------------------


class PathOrUrl(click.Path):
    """An existing path (passed as `Path`), or a URL (passed as it is)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or URL."""
        return value if is_url(str(value)) else super().convert(value, param, ctx)


def images_option(
    help: str, *, multiple: bool = False, file_too: bool = False, urls: bool = False
) -> _Decorator[Any]:
    """`--images DIR`, also called `--dir`, passed as `images: Path` (or `tuple[Path, ...]`).

    With `urls`, a URL is taken, too, and passed as text.
    """
    kind = PathOrUrl if urls else click.Path
    return click.option(
        "--images",
        "--dir",
        "images",
        required=True,
        multiple=multiple,
        type=kind(exists=True, file_okay=file_too, path_type=Path),
        help=help,
    )


def qualities_option(function: _Function) -> _Function:
    """`--qualities 7,10,15`, passed as `qualities: tuple[int, ...]`, each once."""

    def parse(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
        try:
            qualities = tuple(dict.fromkeys(int(part) for part in value.split(",")))
        except ValueError:
            qualities = ()
        if not qualities or not all(1 <= quality <= 100 for quality in qualities):
            raise click.BadParameter(f"{value!r} is no list of qualities 1..100", ctx, parameter)
        return qualities

    return click.option(
        "--qualities", default="7,10,15,18,25", show_default=True, metavar="N,N,...", callback=parse
    )(function)


def on_error_option(function: _Function) -> _Function:
    """`--on-error skip|stop`, passed as `on_error: str`."""
    return click.option(
        "--on-error",
        type=click.Choice(["skip", "stop"]),
        default="skip",
        show_default=True,
        help="Record a file that cannot be read and go on, or stop at the first.",
    )(function)


def max_pixels_option(function: _Function) -> _Function:
    """`--max-pixels N`, passed as `max_pixels: int`."""
    return click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=MAX_PIXELS,
        show_default=True,
        help="Refuse photos with more pixels than this.",
    )(function)


# How the work is done ---------------------------------------------------------------------------------


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_option(function: _Function) -> _Function:
    """`--jobs N`, passed as `jobs: int`; by default the CPUs that this process may use."""
    return click.option(
        "--jobs",
        "-j",
        type=click.IntRange(min=1),
        default=usable_cpus,
        help="CPUs to use. [default: those at hand]",
    )(function)


def batch_size_option(default: int) -> _Decorator[Any]:
    """`--batch-size N`, passed as `batch_size: int`."""
    return click.option("--batch-size", type=click.IntRange(1, 4096), default=default, show_default=True)


def quiet_option(function: _Function) -> _Function:
    """`--quiet`, passed as `quiet: bool`."""
    return click.option("--quiet", "-q", is_flag=True, help="Neither progress nor notes on stderr.")(function)


@dataclass(frozen=True, slots=True)
class WorkChoice:
    """How the work is done and where its results go: what the options of `work_options` say.

    Attributes:
        output_format: of the results.
        output: where they are written; None is stdout.
        jobs: CPUs to use.
        limits: what one file may cost.
        quiet: neither progress nor notes.
        on_error: "skip" or "stop", for a file that cannot be read.
    """

    output_format: str
    output: Path | OutputUrl | None
    jobs: int
    limits: Limits
    quiet: bool
    on_error: str = "skip"


def work_options(*formats: str, on_error: bool = True) -> _Decorator[Any]:
    """`--format`, `-o`, `--jobs`, `--max-pixels`, `--quiet`, passed as one `work: WorkChoice`.

    Args:
        formats: the formats of this command.
        on_error: whether there is `--on-error`, too.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def gather(
            *arguments: Any,
            output_format: str,
            output: Path | OutputUrl | None,
            jobs: int,
            max_pixels: int,
            quiet: bool,
            on_error: str = "skip",
            **others: Any,
        ) -> Any:
            work = WorkChoice(output_format, output, jobs, Limits(max_pixels), quiet, on_error)
            return function(*arguments, work=work, **others)

        gather = max_pixels_option(quiet_option(gather))
        if on_error:
            gather = on_error_option(gather)
        return format_option(*formats)(output_option(jobs_option(gather)))

    return decorate
