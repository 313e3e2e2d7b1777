"""Members of tar and zip archives, one after the other as bytes; nothing is ever written to disk.

Archives are hostile: a member's name is only ever text, its size is checked before and while it is read, and
damage is an `ArchiveError` that says where it is, whatever the libraries raise. Links are followed within the
archive, so that an archive gives what the folder that it was made of gives.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dctafd.batch.shown_urls import file_name
from dctafd.batch.stores import Described
from dctafd.errors import ArchiveError, DctafdError, LimitExceededError
from dctafd.inputs.source_items import MAX_FILE_BYTES, Skipped

_MAX_REASON = 300
_HOSTILE_OFFSETS = (None, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive, or a link to one.

    Attributes:
        name: as stored; never used as a path.
        read: returns the bytes; call it before the next member is asked for.
            Raises ArchiveError (damaged, or a link to nothing) or LimitExceededError (too large).
        end: the offset in the archive where reading can go on after it, None where it cannot begin there.
    """

    name: str
    read: Callable[[], bytes]
    end: int | None = None


def iter_members(
    path: str,
    skipped: Skipped | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
    start: int = 0,
    described: Described | None = None,
    together: bool = False,
) -> Iterator[Member]:
    """Yield an archive's files in the order in which they are stored.

    A link is yielded as the file that it leads to. Links to directories, pipes and devices are passed over.

    Args:
        path: the archive; a path or a URL.
        skipped: counts what is passed over.
        wanted: which names are; others are counted in `skipped`.
        start: a `Member.end`, to go on after that member.
        described: what is known of a URL, which it still has to be.
        together: whether what shares a photo's key follows it, as far as the archive can be read out of order
            (a zip).

    Raises:
        ArchiveError: the archive is damaged; members before the damage have been yielded.
        MissingExtraError: a .tar.zst without zstandard installed.
        OSError: the archive cannot be opened or read.
    """
    from dctafd.batch.tar_archive import tar_members
    from dctafd.batch.zip_archive import zip_members

    skipped = Skipped() if skipped is None else skipped
    name = file_name(path)
    with damage_named(name):
        if name.lower().endswith(".zip"):
            yield from zip_members(path, skipped, wanted, described, together)
        else:
            yield from tar_members(path, skipped, wanted, start, described)


@contextmanager
def damage_named(what: str) -> Iterator[None]:
    """Turn what a library raises about `what` into an `ArchiveError`; the machine's own OSErrors stay.

    The libraries document a few exceptions and raise many more: ValueError for numbers that are none,
    OverflowError for offsets beyond 63 bits, NotImplementedError, UnicodeDecodeError, RecursionError,
    MemoryError, struct.error, OSError for seeking before the beginning.
    """
    try:
        yield
    except DctafdError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _HOSTILE_OFFSETS:
            raise
        reason = " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__
        verb = "cannot be read" if isinstance(error, NotImplementedError | MemoryError) else "is damaged"
        raise ArchiveError(f"{what} {verb}: {reason}") from error


def failing(error: Exception) -> Callable[[], bytes]:
    """Return a `Member.read` that raises `error`."""

    def read() -> bytes:
        raise error

    return read


def check_size(size: int) -> None:
    """Refuse a member that claims more than `MAX_FILE_BYTES`.

    Raises:
        LimitExceededError: it does.
    """
    if size > MAX_FILE_BYTES:
        raise LimitExceededError(f"{size} bytes are more than the {MAX_FILE_BYTES} that are read of one file")
