"""What the commands share: options, result tables in every format, progress on stderr.

A command stacks the decorators it needs::

    @click.command()
    @format_option("table", "json", "csv")
    @output_option
    @jobs_option
    @quiet_option
    def command(output_format: str, output: Path | None, jobs: int, quiet: bool) -> None: ...
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from dctafd.errors import MissingExtraError
from dctafd.files import atomic_output
from dctafd.plain_text import printable

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_MAX_PIXELS = 178_956_970
FORMATS = ("table", "json", "jsonl", "csv", "parquet")

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Decorator = Callable[[_Function], _Function]
Record = Mapping[str, Any]


def format_option(*formats: str, default: str = "table") -> _Decorator:
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
        if chosen == "parquet" and output is None:
            raise click.BadParameter("parquet needs a file: add -o FILE", ctx, parameter)
        return chosen

    return click.option(
        "--format",
        "output_format",
        type=click.Choice(allowed),
        callback=choose,
        help=f"Format of the results. [default: by the suffix of -o, else {default}]",
    )


def _path_or_stdout(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is None or str(value) == "-":
        return None
    if not value.parent.is_dir():
        raise click.BadParameter(f"the directory {str(value.parent)!r} does not exist", ctx, parameter)
    return value


def output_option(function: _Function) -> _Function:
    """`-o FILE`, passed as `output: Path | None`; None (also for `-`) is stdout."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        is_eager=True,  # --format looks at its suffix
        callback=_path_or_stdout,
        help="Write the results to this file, whole or not at all. [default: stdout]",
    )(function)


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
        default=DEFAULT_MAX_PIXELS,
        show_default=True,
        help="Refuse photos with more pixels than this.",
    )(function)


def quiet_option(function: _Function) -> _Function:
    """`--quiet`, passed as `quiet: bool`."""
    return click.option("--quiet", "-q", is_flag=True, help="Neither progress nor notes on stderr.")(function)


def note(text: str, quiet: bool = False) -> None:
    """Print one line for the person at the terminal, on stderr."""
    if not quiet:
        click.echo(text, err=True)


def stdout_console() -> "Console":
    """Return a rich console on stdout; what is not a terminal gets wide, plain lines."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    return console


# Progress ---------------------------------------------------------------------------------------------


@contextmanager
def progress(
    description: str, total: int | None = None, quiet: bool = False, of_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs; none with `quiet` or where stderr is no terminal.

    Args:
        description: what is counted.
        total: how many there are, None where that is not known.
        quiet: show nothing.
        of_bytes: whether `total` is a number of bytes.

    Yields:
        A function that takes how many more are done.

    Example:
        >>> with progress("files", total=2, quiet=True) as advance:
        ...     advance(2)
    """
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)


# Records ----------------------------------------------------------------------------------------------


def write_records(records: Iterable[Record], output_format: str, output: Path | None = None) -> None:
    """Write plain results (dicts of scalars, lists and dicts) in one of `FORMATS`.

    In tables, CSV and Parquet a nested dict becomes one column a key ("sizes.mean"), and a list is written
    as JSON.

    Args:
        records: the results; the columns are all keys in the order of their first appearance.
        output_format: one of `FORMATS`.
        output: a file, written atomically, or None for stdout.

    Raises:
        MissingExtraError: Parquet is wanted and pyarrow is not installed.
        OSError: the file cannot be written.
    """
    records = list(records)
    if output_format == "parquet":
        if output is None:
            raise ValueError("parquet needs a file")
        with atomic_output(output, binary=True) as file:
            _write_parquet(records, file)
        return
    write = _TEXT_WRITERS[output_format]
    if output is None:
        write(records, sys.stdout)
        return
    with atomic_output(output) as file:
        write(records, file)


def flatten(record: Record, prefix: str = "") -> dict[str, Any]:
    """Return `record` with nested dicts as dotted keys and lists as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif isinstance(value, list | tuple):
            flat[prefix + key] = json.dumps(value, ensure_ascii=False)
        else:
            flat[prefix + key] = value
    return flat


def _columns(rows: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _write_json(records: Sequence[Record], file: IO[str]) -> None:
    json.dump(records, file, ensure_ascii=False, indent=2, default=_plain)
    file.write("\n")


def _write_jsonl(records: Sequence[Record], file: IO[str]) -> None:
    for record in records:
        file.write(json.dumps(record, ensure_ascii=False, default=_plain) + "\n")


def _write_csv(records: Sequence[Record], file: IO[str]) -> None:
    rows = [flatten(record) for record in records]
    writer = csv.DictWriter(file, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_table(records: Sequence[Record], file: IO[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [flatten(record) for record in records]
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = _columns(rows)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    console = stdout_console()
    console.file = file
    console.print(table)


def _write_parquet(records: Sequence[Record], file: IO[bytes]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    rows = [flatten(record) for record in records]
    columns = {column: [row.get(column) for row in rows] for column in _columns(rows)}
    parquet.write_table(pyarrow.table(columns), file)


def _cell(value: Any) -> str:
    """Return a table cell: short numbers, nothing for None, no control characters from file names."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays and paths into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


_TEXT_WRITERS: dict[str, Callable[[Sequence[Record], IO[str]], None]] = {
    "table": _write_table,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}
