"""From what a person names on the command line to a stream of inputs in a fixed order.

`plan_sources` resolves the names once, without opening anything: directories (recursive, natural order),
globs, WebDataset brace patterns and archives become units of work. `Unit.items` then yields a unit's inputs.

A unit is one archive or a run of plain files. Batches never span units: the same inputs give the same
batches, and the same results to the last digit, whether one process works on them, a resumed one or several.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from glob import has_magic, iglob
from typing import IO

from dctafd.batch.shown_urls import file_name, is_url, shown
from dctafd.batch.stores import Described, describe, find, local_path
from dctafd.batch.units import STDIN, Unit
from dctafd.errors import LimitExceededError, MissingExtraError
from dctafd.inputs.file_names import expand_braces, has_braces, is_archive, is_jpeg_name, natural_key
from dctafd.inputs.folders import Found, kind_of, walk_photos
from dctafd.inputs.source_items import Skipped, SourceItem, readable

FILES_PER_UNIT = 1024
_ASKED_AT_ONCE = 16


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
        sources: paths or URLs of files, directories and archives, globs, brace patterns such as
            "shard-{000..099}.tar", "-" for stdin. What does not exist, and a brace pattern that stands for
            too many names, becomes an input that fails.
        files_per_unit: plain files in one unit, a multiple of the batch size.

    Raises:
        MissingExtraError: a URL, and what it takes is not installed.
    """
    skipped = Skipped()
    named = (entry for source in sources for entry in _resolve(source, skipped))
    digest = hashlib.sha256()
    units: list[Unit] = []
    for archive, run in _runs(_described(named, skipped), files_per_unit):
        size = 0
        for entry in run:
            entry_size, changed = _size_and_version(entry)
            size += entry_size
            name = readable(shown(entry.path))
            digest.update(f"{len(name)} {name} {entry_size} {changed}\n".encode())
        units.append(Unit(tuple(run), archive, size))
    return Plan(tuple(units), skipped, sum(unit.size for unit in units), digest.hexdigest())


def iter_sources(sources: Iterable[str], skipped: Skipped | None = None) -> Iterator[SourceItem]:
    """Yield every input that `sources` stand for, in order; see `plan_sources`."""
    skipped = Skipped() if skipped is None else skipped
    plan = plan_sources(sources)
    skipped.add(plan.skipped)
    for unit in plan.units:
        yield from unit.items(skipped)


def read_list(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a list of sources, empty ones left out; a line that starts with # is a path, too.

    Names are bytes to the system and taken as they are, in whatever encoding. Only where the list begins
    with a byte order mark, as what PowerShell writes, is it UTF-8 or UTF-16.
    """
    data = file.read()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        lines = data.decode("utf-16", "replace").split("\n")
    else:
        lines = [os.fsdecode(line) for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    yield from filter(None, (line.removesuffix("\r") for line in lines))


def _resolve(source: str, skipped: Skipped) -> Iterator[Found]:
    """Yield the files and archives that one name stands for; a name that stands for nothing yields itself."""
    if source == STDIN or os.path.lexists(source):
        yield from _at(source, skipped)
    elif has_braces(source):
        try:
            for name in expand_braces(source):
                if is_url(name):
                    yield from _url(name, skipped)
                elif os.path.lexists(name) or not has_magic(name):
                    yield from _at(name, skipped)
                else:
                    yield from _glob(name, skipped)
        except LimitExceededError as error:
            yield Found(source, error)
    elif is_url(source):
        yield from _url(source, skipped)
    elif has_magic(source):
        yield from _glob(source, skipped)
    else:
        yield Found(source)


def _at(name: str, skipped: Skipped) -> Iterator[Found]:
    """Yield a file, whatever it is called, or the photos in a directory."""
    if name != STDIN and os.path.isdir(name):
        yield from walk_photos(name, skipped)
    else:
        yield Found(name)


def _url(url: str, skipped: Skipped) -> Iterator[Found]:
    """Yield what a URL stands for, not looked at yet unless a store listed it."""
    path = local_path(url)
    if path is not None:
        yield from _resolve(path, skipped)
    elif "*" in url:
        yield from _listed(url, skipped, wanted=lambda name: True)
    else:
        yield Found(url)


def _listed(url: str, skipped: Skipped, wanted: Callable[[str], bool]) -> Iterator[Found]:
    """Yield the files that a store lists, in natural order; a pattern that finds none yields itself."""
    try:
        found = sorted(find(url), key=lambda entry: natural_key(entry[0]))
    except OSError as error:
        yield Found(url, error)
        return
    if not found:
        yield Found(url, FileNotFoundError(errno.ENOENT, "there is no such file", shown(url)))
    for name, described in found:
        if described.kind == stat.S_IFDIR:
            yield from _listed(name, skipped, is_jpeg_name)
        elif wanted(name):
            yield Found(name, None, described.size, described.version)
        else:
            skipped.count(shown(name))


def _described(entries: Iterable[Found], skipped: Skipped) -> Iterator[Found]:
    """Ask the stores about URLs, many at a time, and look into those that are folders; keep the order."""
    waiting: deque[tuple[Found, Future[Described | Exception] | None]] = deque()
    with ExitStack() as stack:
        pool = None
        for entry in entries:
            unknown = entry.error is None and is_url(entry.path) and entry.size is None
            if unknown and pool is None:
                pool = stack.enter_context(ThreadPoolExecutor(_ASKED_AT_ONCE, "dctafd-describe"))
            waiting.append((entry, pool.submit(_asked, entry.path) if pool and unknown else None))
            if len(waiting) > 4 * _ASKED_AT_ONCE:
                yield from _with_answer(*waiting.popleft(), skipped)
        while waiting:
            yield from _with_answer(*waiting.popleft(), skipped)


def _asked(url: str) -> Described | Exception:
    try:
        return describe(url)
    except Exception as error:
        return error


def _with_answer(
    entry: Found, asked: Future[Described | Exception] | None, skipped: Skipped
) -> Iterator[Found]:
    answer = None if asked is None else asked.result()
    if isinstance(answer, MissingExtraError):
        raise answer
    if answer is None:
        yield entry
    elif isinstance(answer, Exception):
        yield Found(entry.path, answer)
    elif answer.kind == stat.S_IFDIR:
        yield from _listed(entry.path, skipped, is_jpeg_name)
    else:
        yield Found(entry.path, None, answer.size, answer.version)


def _glob(pattern: str, skipped: Skipped) -> Iterator[Found]:
    """Yield what a glob finds as a shell would name it; one that finds nothing yields itself.

    Nobody named a pipe or device that a glob finds: it is passed over, as in a directory.
    """
    recursive = "**" in pattern
    try:
        names = sorted(iglob(pattern, recursive=True), key=natural_key)
    except ValueError as error:  # a NUL in the pattern
        yield Found(pattern, error)
        return
    if not names:
        yield Found(pattern)
    for name in names:
        kind = kind_of(name)
        if isinstance(kind, OSError):
            yield Found(name, kind)
        elif kind == stat.S_IFREG:
            yield Found(name)
        elif kind != stat.S_IFDIR:
            skipped.not_files += 1
        elif not recursive:
            yield from walk_photos(name, skipped)


def _runs(found: Iterable[Found], files_per_unit: int) -> Iterator[tuple[bool, list[Found]]]:
    """Gather entries into (whether it is an archive, entries) in their order."""
    files: list[Found] = []
    for entry in found:
        archive = entry.error is None and is_archive(file_name(entry.path))
        if files and (archive or len(files) == files_per_unit):
            yield False, files
            files = []
        if archive:
            yield True, [entry]
        else:
            files.append(entry)
    if files:
        yield False, files


def _size_and_version(entry: Found) -> tuple[int, int | str]:
    """Return size and modification time in ns, (0, 0) for what is no regular file; a URL's size and ETag."""
    if is_url(entry.path):
        return entry.size or 0, entry.version
    try:
        status = os.stat(entry.path)
    except (OSError, ValueError):  # a ValueError: a NUL, or half a surrogate pair, in the name
        return 0, 0
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)
