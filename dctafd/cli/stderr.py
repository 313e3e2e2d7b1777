"""What goes to stderr: notes, warnings, progress."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dctafd.plain_text import printable

if TYPE_CHECKING:
    from dctafd.analysis.failures import FileFailure

_SHOWN_FAILURES = 10


def note(text: str, quiet: bool = False) -> None:
    """Print one line for the person at the terminal."""
    if not quiet:
        click.echo(printable(" ".join(text.splitlines())), err=True)


def note_failures(failures: Iterable[str], count: int, quiet: bool) -> None:
    """Name the first inputs that failed, each with the reason, and say how many there are of more."""
    for number, failure in enumerate(failures):
        if number == _SHOWN_FAILURES:
            break
        note(failure, quiet)
    if count > _SHOWN_FAILURES:
        note(f"... {count} files failed", quiet)


def failure_handler(on_error: str) -> Callable[[FileFailure], None]:
    """Return what to do with a photo that cannot be read: nothing, or with "stop" end the command there."""

    def stop(failure: FileFailure) -> None:
        raise click.ClickException(f"stopped at {failure.file}: {failure.type}: {failure.message}")

    return stop if on_error == "stop" else lambda failure: None


@contextmanager
def warnings_as_notes(quiet: bool) -> Iterator[None]:
    """Show what the block warns people of (`UserWarning`) as notes, each once, also where it fails."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in caught):
                note(f"warning: {text}", quiet)


@contextmanager
def progress(
    description: str, total: int | None = None, quiet: bool = False, of_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar while the block runs; none with `quiet` or where stderr is no terminal.

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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)
