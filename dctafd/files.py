"""Files that appear whole or not at all, and whether one can be written."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

#: Options of `open` for results: what a file name holds beside UTF-8 becomes an escape that JSON knows.
TEXT_OPTIONS: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


@contextmanager
def atomic_output(path: Path | str, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file beside `path` for writing; on success it replaces `path`, on an exception it is removed.

    A device, pipe or FIFO (such as /dev/stdout) is written straight through; a link is followed, so that what
    it leads to is replaced and the link stays. Text is UTF-8 with "\\n" line ends; what a file name holds
    beside UTF-8 is written as an escape.

    Args:
        path: the file to write; its directory must exist.
        binary: whether bytes are written.

    Yields:
        A file object to write to.

    Raises:
        OSError: the file cannot be written; the message names `path`.
    """
    options: dict[str, Any] = {} if binary else TEXT_OPTIONS
    mode = "wb" if binary else "w"
    if is_stream(path):
        with open(path, mode, **options) as stream:
            yield stream
        return
    with atomic_path(path) as partial, _opened(partial, path, mode, options) as file:
        yield file
        sync(file)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield the name of a new file beside `path`, which it replaces in the end; an exception removes it.

    For libraries that write to a name; see `atomic_output`. It gets the permissions that `path` has or would
    get, whatever the library made of them.
    """
    path = followed(path)
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        yield partial
        _share_like(path, partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def is_stream(path: Path | str) -> bool:
    """Return whether `path` is a device, pipe, FIFO or socket: written to as it is, never replaced."""
    path = Path(path)
    return path.exists() and not path.is_file() and not path.is_dir()


def followed(path: Path | str) -> Path:
    """Return where a link leads, so that what is written ends up there; any other path as it is.

    A stream's own path is the one to write to: /dev/fd/1 is a link to nothing that has a name.
    """
    path = Path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() and not is_stream(path) else path


def check_output(path: Path | str) -> None:
    """See whether `path` can be written, without leaving anything behind.

    Raises:
        OSError: it is a directory, or its folder is missing or refuses new files; the message names `path`.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a directory")
    if Path(path).exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} must not be written to")
    if is_stream(path):
        return
    target = followed(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the directory {str(target.parent)!r} does not exist")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(f"nothing can be written in {str(target.parent)!r}: {reason}") from None


def sync(file: IO[Any]) -> None:
    """Flush `file` and wait until the disk has it."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _opened(partial: Path, path: Path | str, mode: str, options: dict[str, Any]) -> Iterator[IO[Any]]:
    """Open a new file that stands for `path`; errors name the latter."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(partial, mode.replace("w", "x"), **options))
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        yield file


def _share_like(path: Path, partial: Path) -> None:
    """Give a new file the permissions that `path` has or would get."""
    if path.exists():
        mode = path.stat().st_mode & 0o777
    else:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    partial.chmod(mode)
