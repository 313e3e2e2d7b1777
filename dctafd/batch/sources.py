"""From what a person names on the command line to a stream of inputs in a fixed order.

`plan_sources` resolves the names once, without opening anything: directories (recursive, natural order),
globs, WebDataset brace patterns and archives become units of work. `Unit.items` then yields a unit's inputs.

A unit is one archive or a run of plain files. Batches never span units: the same inputs give the same
batches, and the same results to the last digit, whether one process works on them, a resumed one or several.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import has_magic, iglob
from typing import IO

from dctafd.batch.archives import Member, is_archive, iter_members
from dctafd.errors import DctafdError, LimitExceededError
from dctafd.inputs.source_items import Skipped, SourceItem, read_bounded, readable

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
STDIN = "-"
MAX_BRACE_NAMES = 1_000_000
FILES_PER_UNIT = 1024

_BRACES = re.compile(r"\{(?:(\d{1,9})\.\.(\d{1,9})|([^{},]*(?:,[^{},]*)+))\}")


@dataclass(frozen=True, slots=True)
class Unit:
    """One archive, or a run of plain files.

    Attributes:
        paths: the files, or the one archive.
        archive: whether it is an archive.
        size: bytes on disk.
    """

    paths: tuple[str, ...]
    archive: bool
    size: int

    def items(self, skipped: Skipped, start: int = 0) -> Iterator[SourceItem]:
        """Yield the inputs from number `start` on; members of an archive come with their bytes.

        Args:
            skipped: counts the members that are passed over, from the first one on.
            start: inputs to leave out; they are not read.
        """
        if self.archive:
            yield from _archive_items(self.paths[0], skipped, start)
            return
        for path in self.paths[start:]:
            yield _stdin_item() if path == STDIN else SourceItem(readable(path), path=path)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run works on.

    Attributes:
        units: in the order of the results.
        skipped: what was passed over in directories.
        size: bytes on disk of all units.
        fingerprint: SHA-256 over every path, size and modification time.
    """

    units: tuple[Unit, ...]
    skipped: Skipped
    size: int
    fingerprint: str


def plan_sources(sources: Iterable[str], files_per_unit: int = FILES_PER_UNIT) -> Plan:
    """Resolve names to units of work.

    Args:
        sources: paths of files, directories and archives, globs, brace patterns such as
            "shard-{000..099}.tar", "-" for stdin. What does not exist becomes an input that fails.
        files_per_unit: plain files in one unit, a multiple of the batch size.

    Raises:
        LimitExceededError: a brace pattern stands for more than `MAX_BRACE_NAMES` names.
    """
    skipped = Skipped()
    paths = (path for source in sources for path in _resolve(source, skipped))
    digest = hashlib.sha256()
    units: list[Unit] = []
    for archive, run in _runs(paths, files_per_unit):
        size = 0
        for path in run:
            path_size, changed = _size_and_time(path)
            size += path_size
            digest.update(f"{len(path)} {readable(path)} {path_size} {changed}\n".encode())
        units.append(Unit(tuple(run), archive, size))
    return Plan(tuple(units), skipped, sum(unit.size for unit in units), digest.hexdigest())


def iter_sources(sources: Iterable[str], skipped: Skipped | None = None) -> Iterator[SourceItem]:
    """Yield every input that `sources` stand for, in order; see `plan_sources`."""
    skipped = Skipped() if skipped is None else skipped
    plan = plan_sources(sources)
    skipped.add(plan.skipped)
    for unit in plan.units:
        yield from unit.items(skipped)


def read_list(file: IO[str]) -> Iterator[str]:
    """Yield the lines of a list of sources, empty ones left out."""
    for line in file:
        if name := line.rstrip("\r\n"):
            yield name


def is_jpeg_name(name: str) -> bool:
    """Return whether a file is named like a JPEG."""
    return name.lower().endswith(JPEG_SUFFIXES)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key by which "photo2" comes before "photo10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if i % 2 else (1, 0, part) for i, part in enumerate(parts)]


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names of a WebDataset brace pattern: "a{08..10}{x,y}" gives a08x, a08y, a09x ...

    Raises:
        LimitExceededError: more than `MAX_BRACE_NAMES` names.
    """
    count = 1
    for first, last, alternatives in _BRACES.findall(pattern):
        count *= alternatives.count(",") + 1 if alternatives else max(int(last) - int(first) + 1, 0)
    if count > MAX_BRACE_NAMES:
        raise LimitExceededError(f"{pattern!r} stands for {count} names, more than {MAX_BRACE_NAMES}")
    yield from _brace_names(pattern)


def _brace_names(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    first, last, alternatives = match.groups()
    if alternatives is None:
        middle: Iterable[str] = (f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1))
    else:
        middle = alternatives.split(",")
    for text in middle:
        for rest in _brace_names(pattern[match.end() :]):
            yield pattern[: match.start()] + text + rest


def _resolve(source: str, skipped: Skipped) -> Iterator[str]:
    """Yield the files and archives that one name stands for; a name that stands for nothing yields itself."""
    if source == STDIN or os.path.lexists(source):
        yield from _directory_files(source, skipped) if os.path.isdir(source) else [source]
    elif _BRACES.search(source):
        for name in expand_braces(source):
            yield from [name] if os.path.lexists(name) or not has_magic(name) else _glob(name, skipped)
    elif has_magic(source):
        yield from _glob(source, skipped)
    else:
        yield source


def _glob(pattern: str, skipped: Skipped) -> Iterator[str]:
    """Yield what a glob finds as a shell would name it; one that finds nothing yields itself."""
    recursive = "**" in pattern
    names = sorted(iglob(pattern, recursive=True), key=natural_key)
    if not names:
        yield pattern
    for name in names:
        if not os.path.isdir(name):
            yield name
        elif not recursive:
            yield from _directory_files(name, skipped)


def _directory_files(directory: str, skipped: Skipped) -> Iterator[str]:
    """Yield the files below a directory that are named like a JPEG, in natural order.

    Links to files are followed, links to directories (which could lead in circles) are not.
    """
    stack: list[Iterator[os.DirEntry[str] | str]] = [iter([directory])]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif isinstance(entry, str):
            try:
                with os.scandir(entry) as entries:  # closed at once: deep trees need no open files
                    ordered: list[os.DirEntry[str]] = sorted(entries, key=_entry_key)
                stack.append(iter(ordered))
            except OSError:
                yield entry  # an input whose reading fails and says why
        elif entry.is_dir(follow_symlinks=False):
            stack.append(iter([entry.path]))
        elif is_jpeg_name(entry.name) and (entry.is_symlink() or entry.is_file()):
            yield entry.path
        else:
            _skip(entry.path, skipped)


def _skip(name: str, skipped: Skipped) -> None:
    """Count what is not named like a JPEG."""
    if is_archive(name):
        skipped.count_archive(name)
    else:
        skipped.count_file()


def _entry_key(entry: os.DirEntry[str]) -> list[tuple[int, int, str]]:
    return natural_key(entry.name)


def _runs(paths: Iterable[str], files_per_unit: int) -> Iterator[tuple[bool, list[str]]]:
    """Gather paths into (whether it is an archive, paths) in their order."""
    files: list[str] = []
    for path in paths:
        archive = is_archive(path)
        if files and (archive or len(files) == files_per_unit):
            yield False, files
            files = []
        if archive:
            yield True, [path]
        else:
            files.append(path)
    if files:
        yield False, files


def _size_and_time(path: str) -> tuple[int, int]:
    """Return size and modification time in ns, (0, 0) for what is no regular file."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)


def _archive_items(path: str, skipped: Skipped, start: int) -> Iterator[SourceItem]:
    """Yield an archive's members that are named like a JPEG, and last what ended the reading early."""
    source = readable(path)
    number = 0
    try:
        for member in iter_members(path):
            if not is_jpeg_name(member.name):
                _skip(f"{path}: {member.name}", skipped)
                continue
            if number >= start:
                yield _member_item(source, member)
            number += 1
    except (DctafdError, OSError) as error:
        if number >= start:
            yield SourceItem(source, error=error)


def _member_item(source: str, member: Member) -> SourceItem:
    name = readable(member.name)
    try:
        return SourceItem(source, name, data=member.read())
    except (DctafdError, OSError) as error:
        return SourceItem(source, name, error=error)


def _stdin_item() -> SourceItem:
    """Read stdin; unbuffered, since a thread that waits in a buffered read cannot be left behind."""
    stdin = sys.stdin.buffer
    try:
        return SourceItem(STDIN, data=read_bounded(getattr(stdin, "raw", stdin)))
    except (DctafdError, OSError) as error:
        return SourceItem(STDIN, error=error)
