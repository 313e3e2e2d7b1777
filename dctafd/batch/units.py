"""Inputs, and the units of work that they come in: an archive, row groups of a table, a run of files."""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

from dctafd.batch.archives import Member, iter_members
from dctafd.batch.kept import MAX_SIDECAR_BYTES, NOTHING, Keep
from dctafd.batch.photo_table import Row, opened_table
from dctafd.batch.remote_files import read_whole
from dctafd.batch.samples import Sample, bookmark_after
from dctafd.batch.shown_urls import is_url, shown
from dctafd.batch.stores import Described
from dctafd.errors import DctafdError, LimitExceededError
from dctafd.inputs.file_names import is_jpeg_name, sample_key
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
Kind = Literal["archive", "table", "files"]
_FETCHED_AT_ONCE = 16
_BYTES_AHEAD = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of the sources besides the photos.

    Attributes:
        keep: what is carried over to the records.
        column: that of the photos in tables, None to look for it.
    """

    keep: Keep = NOTHING
    column: str | None = None


PHOTOS_ONLY = Reading()


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Some row groups of a table, one after the other.

    Attributes:
        groups: their numbers.
        first_row: the number of their first row.
        rows: how many rows each has.
    """

    groups: range
    first_row: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """One archive, some row groups of a table, or a run of plain files.

    Attributes:
        entries: the files, or the one archive or table; paths and URLs.
        kind: "archive", "table" or "files".
        size: bytes on disk.
        reading: what is read besides the photos.
        rows: which rows, where it is a table that could be looked into.
    """

    entries: tuple[Found, ...]
    kind: Kind
    size: int
    reading: Reading = PHOTOS_ONLY
    rows: RowGroups | None = None

    def items(
        self, skipped: Skipped, start: int = 0, bookmark: Bookmark | None = None
    ) -> Iterator[SourceItem]:
        """Yield the inputs from number `start` on; members of an archive and URLs come with their bytes.

        Args:
            skipped: counts the members that are passed over, from the first one on.
            start: inputs to leave out; they are not read.
            bookmark: that of the last of them, by which even their bytes are left out.
        """
        keep = self.reading.keep
        for item in self._items(skipped, start, bookmark):
            yield replace(item, kept=keep.nothing()) if keep and item.kept is None else item

    def _items(self, skipped: Skipped, start: int, bookmark: Bookmark | None) -> Iterator[SourceItem]:
        if self.kind == "archive":
            yield from _archive_items(self.entries[0], self.reading.keep, skipped, start, bookmark)
        elif self.kind == "table":
            yield from _table_items(self.entries[0], self.reading, self.rows, start)
        else:
            yield from _fetched(self.entries[start:], self.reading.keep)


def _fetched(entries: Sequence[Found], keep: Keep) -> Iterator[SourceItem]:
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
            ahead.append((entry, pool.submit(_remote_item, entry, keep) if pool and remote else None))
            under_way += _weight(entry)
            while len(ahead) > _FETCHED_AT_ONCE or (under_way > _BYTES_AHEAD and len(ahead) > 1):
                under_way -= _weight(ahead[0][0])
                yield _turn(*ahead.popleft(), keep)
        while ahead:
            yield _turn(*ahead.popleft(), keep)


def _turn(entry: Found, fetched: Future[SourceItem] | None, keep: Keep) -> SourceItem:
    if fetched is not None:
        return fetched.result()
    if entry.error is not None:
        return SourceItem(readable(shown(entry.path)), error=entry.error)
    if entry.path == STDIN:
        return _stdin_item()
    kept = keep.of_sample(entry.path, _sidecars_beside(entry.path, keep)) if keep else None
    return SourceItem(readable(entry.path), path=entry.path, kept=kept)


def _sidecars_beside(photo: str, keep: Keep) -> dict[str, bytes]:
    """Return the contents of the files that share a photo's key, by extension."""
    found = {}
    key = sample_key(photo)
    for extension in keep.extensions() if keep.needs_sidecars else ():
        path = f"{key}.{extension}"
        try:
            if is_url(path):
                data = read_whole(path, MAX_SIDECAR_BYTES)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    data = file.read(MAX_SIDECAR_BYTES + 1)
            else:
                continue
        except (OSError, ValueError):
            continue
        if len(data) <= MAX_SIDECAR_BYTES:
            found[extension] = data
    return found


def _weight(entry: Found) -> int:
    """Return the bytes that fetching takes; where a server does not tell, a photo's usual size."""
    return (1_000_000 if entry.size is None else entry.size) if is_url(entry.path) else 0


def _remote_item(entry: Found, keep: Keep) -> SourceItem:
    source = readable(shown(entry.path))
    try:
        data = read_whole(entry.path, MAX_FILE_BYTES, _known(entry))
        if len(data) > MAX_FILE_BYTES:
            raise LimitExceededError(f"more than the {MAX_FILE_BYTES} bytes that are read of one file")
        kept = keep.of_sample(source, _sidecars_beside(entry.path, keep)) if keep else None
        return SourceItem(source, data=data, kept=kept)
    except Exception as error:
        return SourceItem(source, error=error)


def _known(entry: Found) -> Described:
    return Described(stat.S_IFREG, entry.size, entry.version)


def _archive_items(
    entry: Found, keep: Keep, skipped: Skipped, start: int, bookmark: Bookmark | None
) -> Iterator[SourceItem]:
    """Yield an archive's members that are named like a JPEG, and last what ended the reading early."""
    source = readable(shown(entry.path))
    number = offset = 0
    if bookmark is not None:
        number, offset = start, bookmark.offset
        skipped.add(bookmark.skipped)
    sample = Sample(keep)
    try:
        for member in iter_members(
            entry.path, skipped, sample.wanted, offset, _known(entry), together=keep.needs_sidecars
        ):
            if not sample.goes_on_with(member.name):
                yield from sample.ended(member.name)
            if is_jpeg_name(member.name):
                sample.add_photo(
                    member.name, _member_item(source, member, skipped) if number >= start else None
                )
                number += 1
            else:
                sample.add_sidecar(member, skipped)
        yield from sample.ended()
    except Exception as error:  # whatever an archive sets off belongs to its record
        yield from sample.ended()
        if number >= start:
            yield SourceItem(source, error=error)


def _member_item(source: str, member: Member, skipped: Skipped) -> SourceItem:
    name = readable(member.name)
    bookmark = bookmark_after(member, skipped)
    try:
        return SourceItem(source, name, data=member.read(), bookmark=bookmark)
    except Exception as error:
        return SourceItem(source, name, error=error, bookmark=bookmark)


def _table_items(entry: Found, reading: Reading, rows: RowGroups | None, start: int) -> Iterator[SourceItem]:
    """Yield a table's photos, and last what ended the reading; groups without a wanted one are not read."""
    source = readable(shown(entry.path))
    done = 0  # of the unit's rows
    try:
        with opened_table(entry.path, reading.column, _known(entry)) as table:
            if rows is None:  # it could not be looked into before
                rows = RowGroups(range(len(table.group_rows)), 0, table.group_rows)
            for group, count in zip(rows.groups, rows.rows, strict=True):
                if done + count > start:
                    for row in table.rows([group], reading.keep.names, rows.first_row + done):
                        if row.number - rows.first_row >= start:
                            yield _row_item(source, row, reading.keep)
                done += count
    except Exception as error:  # whatever a table sets off belongs to its record
        yield SourceItem(source, error=error)


def _row_item(source: str, row: Row, keep: Keep) -> SourceItem:
    name = str(row.number) if row.name is None else row.name
    kept = dict(row.values) if keep else None
    try:
        return SourceItem(source, name, data=row.read(), kept=kept)
    except DctafdError as error:
        return SourceItem(source, name, error=error, kept=kept)


def _stdin_item() -> SourceItem:
    """Read stdin; unbuffered, since a thread that waits in a buffered read cannot be left behind."""
    try:
        stdin = sys.stdin.buffer
        return SourceItem(STDIN, data=read_bounded(getattr(stdin, "raw", stdin)))
    except Exception as error:
        return SourceItem(STDIN, error=error)
