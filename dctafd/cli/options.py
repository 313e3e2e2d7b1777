"""The options that several commands share, checked as they are parsed: before any work.

A command stacks the decorators it needs::

    @click.command()
    @model_options()
    @format_option("table", "json", "csv")
    @output_option
    @jobs_option
    @quiet_option
    def command(
        choice: ModelChoice, output_format: str, output: Path | None, jobs: int, quiet: bool
    ) -> None: ...
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
from dctafd.config import MAX_PIXELS, UNCHANGED, PreprocessingChanges
from dctafd.errors import MissingExtraError
from dctafd.extras import require_extra
from dctafd.files import check_output
from dctafd.plain_text import reason

if TYPE_CHECKING:
    from dctafd.batch.store_writing import OutputUrl

FORMATS = ("table", "json", "jsonl", "csv", "parquet")
DEFAULT_MODEL = "efficientnet_lite0"

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


# The classifier ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which classifier, corrected by what, where: what the options of `model_options` say.

    Attributes:
        model: its name.
        weights: a file of weights, None for the model's own.
        afd: "auto", "off", a weights file or a shipped module's name.
        device: "auto", "cpu", "cuda" ...
        labels: a file of class names, None for those of the weights.
        changes: what the classifier expects of its pixels where it is not what the model usually expects.
    """

    model: str
    weights: Path | None = None
    afd: str = "auto"
    device: str = "auto"
    labels: Path | None = None
    changes: PreprocessingChanges = UNCHANGED


_EXISTING_FILE: click.Path = click.Path(exists=True, dir_okay=False, path_type=Path)


class _ThreeNumbers(click.ParamType[tuple[float, float, float]]):
    """R,G,B in 0..1, or one number for all three."""

    name = "R,G,B"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float, float]:
        try:
            numbers = [float(part) for part in str(value).split(",")]
            red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
        except ValueError:
            self.fail(f"{value!r} is not of the form 0.485,0.456,0.406", param, ctx)
        return red, green, blue


def _preprocessing_options() -> list[_Decorator[Any]]:
    return [
        click.option("--resize", type=click.IntRange(8, 8192), help="Shorter side after resizing."),
        click.option("--crop", type=click.IntRange(8, 8192), help="Side of the crop, a multiple of 8."),
        click.option("--mean", type=_ThreeNumbers(), help="Subtracted from RGB in 0..1."),
        click.option("--std", type=_ThreeNumbers(), help="What RGB is divided by."),
    ]


def model_options(
    *,
    default: str | None = DEFAULT_MODEL,
    afd: bool = True,
    device: bool = True,
    labels: bool = True,
    preprocessing: bool = True,
) -> _Decorator[Any]:
    """`--model`, `--weights` and what belongs to them, passed as one `choice: ModelChoice`.

    Args:
        default: the model where none is named; with None, `choice` is None, too.
        afd: whether the command corrects.
        device: whether it lets one choose where it runs.
        labels: whether `--labels` names the classes.
        preprocessing: whether `--resize`, `--crop`, `--mean` and `--std` change what the model expects.
    """
    options = [
        click.option(
            "--model", default=default, show_default=True, help="The classifier; see `dctafd models`."
        ),
        click.option(
            "--weights",
            type=_EXISTING_FILE,
            help="The classifier's weights, a state dict.",
        ),
    ]
    if labels:
        text = "Class names: a file with one per line, or JSON."
        options.append(click.option("--labels", "class_names", type=_EXISTING_FILE, help=text))
    if preprocessing:
        options += _preprocessing_options()
    if afd:
        text = "The correction: auto, off, a weights file or a shipped module's name."
        options.append(click.option("--afd", default="auto", show_default=True, help=text))
    if device:
        options.append(
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
        )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def gather(
            *arguments: Any,
            model: str | None,
            weights: Path | None,
            afd: str = "auto",
            device: str = "auto",
            class_names: Path | None = None,
            resize: int | None = None,
            crop: int | None = None,
            mean: tuple[float, float, float] | None = None,
            std: tuple[float, float, float] | None = None,
            **others: Any,
        ) -> Any:
            if model is None and weights is not None:
                raise click.UsageError("--weights belongs to --model")
            changes = PreprocessingChanges(resize, crop, mean, std)
            choice = None if model is None else ModelChoice(model, weights, afd, device, class_names, changes)
            return function(*arguments, choice=choice, **others)

        for option in reversed(options):
            gather = option(gather)
        return gather

    return decorate


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
