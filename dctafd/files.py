"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

#: Options of `open` for results: what a file name holds beside UTF-8 becomes an escape that JSON knows.
TEXT_OPTIONS: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


@contextmanager
def atomic_output(path: Path | str, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on an exception it is removed.

    A device or pipe (such as /dev/stdout) is written to directly. Text is UTF-8 with "\\n" line ends;
    what a file name holds beside UTF-8 is written as an escape.

    Args:
        path: the file to write; its directory must exist.
        binary: whether bytes are written.

    Yields:
        A file object to write to.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    options: dict[str, Any] = {} if binary else TEXT_OPTIONS
    mode = "wb" if binary else "w"
    if path.exists() and not path.is_file():
        with path.open(mode, **options) as device:
            yield device
        return
    with NamedTemporaryFile(mode, dir=path.parent, prefix=f".{path.name}.", delete=False, **options) as file:
        try:
            yield file
            sync(file)
            _share_like_a_new_file(Path(file.name), path)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def sync(file: IO[Any]) -> None:
    """Flush `file` and wait until the disk has it."""
    file.flush()
    os.fsync(file.fileno())


def _share_like_a_new_file(temporary: Path, path: Path) -> None:
    """Give the temporary file, private by default, the permissions that `path` has or would get."""
    if path.exists():
        mode = path.stat().st_mode & 0o777
    else:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    temporary.chmod(mode)
