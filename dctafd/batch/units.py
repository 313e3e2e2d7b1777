"""Inputs, and the units of work that they come in: an archive, or a run of plain files."""

from __future__ import annotations

import stat
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from dctafd.batch.archives import Member, iter_members
from dctafd.batch.remote_files import read_whole
from dctafd.batch.shown_urls import is_url, shown
from dctafd.batch.stores import Described
from dctafd.errors import LimitExceededError
from dctafd.inputs.file_names import is_jpeg_name
from dctafd.inputs.folders import Found
from dctafd.inputs.source_items import (
    MAX_FILE_BYTES,
    Bookmark,
    Skipped,
    SourceItem,
    read_bounded,
    readable,
)

STDIN = "-"
_FETCHED_AT_ONCE = 16
_BYTES_AHEAD = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Unit:
    """One archive, or a run of plain files.

    Attributes:
        entries: the files, or the one archive; paths and URLs.
        archive: whether it is an archive.
        size: bytes on disk.
    """

    entries: tuple[Found, ...]
    archive: bool
    size: int

    def items(
        self, skipped: Skipped, start: int = 0, bookmark: Bookmark | None = None
    ) -> Iterator[SourceItem]:
        """Yield the inputs from number `start` on; members of an archive and URLs come with their bytes.

        Args:
            skipped: counts the members that are passed over, from the first one on.
            start: inputs to leave out; they are not read.
            bookmark: that of the last of them, by which even their bytes are left out.
        """
        if self.archive:
            yield from _archive_items(self.entries[0], skipped, start, bookmark)
        else:
            yield from _fetched(self.entries[start:])


def _fetched(entries: Sequence[Found]) -> Iterator[SourceItem]:
    """Yield plain files in their order; of URLs, several are fetched at a time, ahead of their turn."""
    ahead: deque[tuple[Found, Future[SourceItem] | None]] = deque()
    under_way = 0
    with ExitStack() as stack:
        pool = None
        for entry in entries:
            remote = entry.error is None and is_url(entry.path)
            if remote and pool is None:
                pool = stack.enter_context(ThreadPoolExecutor(_FETCHED_AT_ONCE, "dctafd-fetch"))
                stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            ahead.append((entry, pool.submit(_remote_item, entry) if pool and remote else None))
            under_way += _weight(entry)
            while len(ahead) > _FETCHED_AT_ONCE or (under_way > _BYTES_AHEAD and len(ahead) > 1):
                under_way -= _weight(ahead[0][0])
                yield _turn(*ahead.popleft())
        while ahead:
            yield _turn(*ahead.popleft())


def _turn(entry: Found, fetched: Future[SourceItem] | None) -> SourceItem:
    if fetched is not None:
        return fetched.result()
    if entry.error is not None:
        return SourceItem(readable(shown(entry.path)), error=entry.error)
    return _stdin_item() if entry.path == STDIN else SourceItem(readable(entry.path), path=entry.path)


def _weight(entry: Found) -> int:
    """Return the bytes that fetching takes; where a server does not tell, a photo's usual size."""
    return (1_000_000 if entry.size is None else entry.size) if is_url(entry.path) else 0


def _remote_item(entry: Found) -> SourceItem:
    source = readable(shown(entry.path))
    try:
        data = read_whole(entry.path, MAX_FILE_BYTES, _known(entry))
        if len(data) > MAX_FILE_BYTES:
            raise LimitExceededError(f"more than the {MAX_FILE_BYTES} bytes that are read of one file")
        return SourceItem(source, data=data)
    except Exception as error:
        return SourceItem(source, error=error)


def _known(entry: Found) -> Described:
    return Described(stat.S_IFREG, entry.size, entry.version)


def _archive_items(
    entry: Found, skipped: Skipped, start: int, bookmark: Bookmark | None
) -> Iterator[SourceItem]:
    """Yield an archive's members that are named like a JPEG, and last what ended the reading early."""
    source = readable(shown(entry.path))
    number = offset = 0
    if bookmark is not None:
        number, offset = start, bookmark.offset
        skipped.add(bookmark.skipped)
    try:
        for member in iter_members(entry.path, skipped, is_jpeg_name, offset, _known(entry)):
            if number >= start:
                yield _member_item(source, member, skipped)
            number += 1
    except Exception as error:  # whatever an archive sets off belongs to its record
        if number >= start:
            yield SourceItem(source, error=error)


def _member_item(source: str, member: Member, skipped: Skipped) -> SourceItem:
    name = readable(member.name)
    bookmark = None if member.end is None else Bookmark(member.end, skipped.copy())
    try:
        return SourceItem(source, name, data=member.read(), bookmark=bookmark)
    except Exception as error:
        return SourceItem(source, name, error=error, bookmark=bookmark)


def _stdin_item() -> SourceItem:
    """Read stdin; unbuffered, since a thread that waits in a buffered read cannot be left behind."""
    try:
        stdin = sys.stdin.buffer
        return SourceItem(STDIN, data=read_bounded(getattr(stdin, "raw", stdin)))
    except Exception as error:
        return SourceItem(STDIN, error=error)
