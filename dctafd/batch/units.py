"""Inputs, and the units of work that they come in: an archive, or a run of plain files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from dctafd.batch.archives import Member, iter_members
from dctafd.inputs.file_names import is_jpeg_name
from dctafd.inputs.folders import Found
from dctafd.inputs.source_items import Skipped, SourceItem, read_bounded, readable

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Unit:
    """One archive, or a run of plain files.

    Attributes:
        entries: the files, or the one archive.
        archive: whether it is an archive.
        size: bytes on disk.
    """

    entries: tuple[Found, ...]
    archive: bool
    size: int

    def items(self, skipped: Skipped, start: int = 0) -> Iterator[SourceItem]:
        """Yield the inputs from number `start` on; members of an archive come with their bytes.

        Args:
            skipped: counts the members that are passed over, from the first one on.
            start: inputs to leave out; they are not read.
        """
        if self.archive:
            yield from _archive_items(self.entries[0].path, skipped, start)
            return
        for entry in self.entries[start:]:
            if entry.error is not None:
                yield SourceItem(readable(entry.path), error=entry.error)
            elif entry.path == STDIN:
                yield _stdin_item()
            else:
                yield SourceItem(readable(entry.path), path=entry.path)


def _archive_items(path: str, skipped: Skipped, start: int) -> Iterator[SourceItem]:
    """Yield an archive's members that are named like a JPEG, and last what ended the reading early."""
    source = readable(path)
    number = 0
    try:
        for member in iter_members(path, skipped, is_jpeg_name):
            if number >= start:
                yield _member_item(source, member)
            number += 1
    except Exception as error:  # whatever an archive sets off belongs to its record
        if number >= start:
            yield SourceItem(source, error=error)


def _member_item(source: str, member: Member) -> SourceItem:
    name = readable(member.name)
    try:
        return SourceItem(source, name, data=member.read())
    except Exception as error:
        return SourceItem(source, name, error=error)


def _stdin_item() -> SourceItem:
    """Read stdin; unbuffered, since a thread that waits in a buffered read cannot be left behind."""
    try:
        stdin = sys.stdin.buffer
        return SourceItem(STDIN, data=read_bounded(getattr(stdin, "raw", stdin)))
    except Exception as error:
        return SourceItem(STDIN, error=error)
