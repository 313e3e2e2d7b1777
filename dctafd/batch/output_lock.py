"""One run at a time writes an output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dctafd.errors import ResumeError


@contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Hold ``OUT.lock`` while this process writes `output`; a killed process lets go of it.

    Raises:
        ResumeError: another process holds it.
    """
    path = output.with_name(output.name + ".lock")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ResumeError(
            f"another run is writing {output}: wait until it has ended, or choose another -o"
        ) from None
    try:
        yield
    finally:
        with suppress(PermissionError):  # Windows keeps open files, and filelock removes it there by itself
            path.unlink(missing_ok=True)  # before letting go, so that nobody else's lock is removed
        lock.release()
