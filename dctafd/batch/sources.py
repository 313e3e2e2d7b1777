"""From what a person names on the command line to a stream of inputs in a fixed order.

`plan_sources` resolves the names once: directories (recursive, natural order), globs, WebDataset brace
patterns, archives and tables become units of work. It opens nothing but tables, whose footers say what their
row groups are. `Unit.items` then yields a unit's inputs.

A unit is one archive, some row groups of a table, or a run of plain files. Batches never span units: the same
inputs give the same batches, and the same results to the last digit, whether one process works on them, a
resumed one or several.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import has_magic, iglob
from typing import IO

from dctafd.batch.kept import Kinds
from dctafd.batch.lookahead import in_order
from dctafd.batch.shown_urls import file_name, is_url, shown
from dctafd.batch.stores import Described, describe, find, local_path
from dctafd.batch.table_units import joint_kinds, table_facts, table_units
from dctafd.batch.units import PHOTOS_ONLY, STDIN, Reading, Unit
from dctafd.errors import LimitExceededError, MissingExtraError
from dctafd.inputs.file_names import (
    expand_braces,
    has_braces,
    is_archive,
    is_jpeg_name,
    is_table,
    natural_key,
)
from dctafd.inputs.folders import Found, kind_of, walk_photos
from dctafd.inputs.source_items import Skipped, SourceItem, readable

FILES_PER_UNIT = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run works on.

    Attributes:
        units: in the order of the results.
        skipped: what was passed over in directories.
        digests: of each unit, SHA-256 over its paths, sizes and modification times (ETags).
        kinds: name and kind of what is carried over to the records.
        schemas: the different sets of columns that the tables have.
    """

    units: tuple[Unit, ...]
    skipped: Skipped
    digests: tuple[str, ...]
    kinds: Kinds = ()
    schemas: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes on disk of all units."""
        return sum(unit.size for unit in self.units)

    @property
    def single_file(self) -> bool:
        """Whether there is nothing to read beside one plain file."""
        return len(self.units) == 1 and self.units[0].kind == "files" and len(self.units[0].entries) == 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the digests."""
        return joint_digest(self.digests)

    def named_digests(self) -> Iterator[tuple[str, str]]:
        """Yield the source of each unit (the first, of several files) with its digest."""
        for unit, digest in zip(self.units, self.digests, strict=True):
            yield readable(shown(unit.entries[0].path)), digest


def joint_digest(digests: Iterable[str]) -> str:
    """Return the fingerprint of units with these digests, in this order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def plan_sources(
    sources: Iterable[str], files_per_unit: int = FILES_PER_UNIT, reading: Reading = PHOTOS_ONLY
) -> Plan:
    """Resolve names to units of work.

    Args:
        sources: paths or URLs of files, directories, archives and tables, globs, brace patterns such as
            "shard-{000..099}.tar", "-" for stdin. What does not exist, and a brace pattern that stands for
            too many names, becomes an input that fails.
        files_per_unit: plain files in one unit, a multiple of the batch size; row groups of a table come
            together until they have as many rows.
        reading: what is read besides the photos.

    Raises:
        MissingExtraError: a URL or a table, and what it takes is not installed.
        NoColumnError: a table lacks a column that `reading` names.
    """
    skipped = Skipped()
    named = (entry for source in sources for entry in _resolve(source, skipped))
    units: list[Unit] = []
    digests: list[str] = []
    kinds: list[Kinds] = []
    schemas: dict[str, None] = {}
    files: list[Found] = []

    def add(unit: Unit) -> None:
        units.append(unit)
        digests.append(_digest(unit))

    def add_files() -> None:
        if files:
            add(Unit(tuple(files), "files", sum(_size_and_version(entry)[0] for entry in files), reading))
            files.clear()

    described = (
        entry for found, answer in _asked_about(named) for entry in _answered(found, answer, skipped)
    )
    for entry, facts in in_order(described, _is_table_entry, lambda entry: table_facts(entry, reading)):
        if facts is not None:
            add_files()
            for unit in table_units(entry, facts, reading, files_per_unit):
                add(unit)
            if facts.kinds is not None:
                kinds.append(facts.kinds)
                schemas.setdefault(facts.schema)
        elif entry.error is None and is_archive(file_name(entry.path)):
            add_files()
            add(Unit((entry,), "archive", _size_and_version(entry)[0], reading))
        else:
            files.append(entry)
            if len(files) == files_per_unit:
                add_files()
    add_files()
    only_tables = all(unit.kind == "table" for unit in units)
    kept = joint_kinds(reading.keep, kinds, only_tables)
    return Plan(tuple(units), skipped, tuple(digests), kept, tuple(schemas))


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


def _asked_about(entries: Iterable[Found]) -> Iterator[tuple[Found, Described | Exception | None]]:
    """Ask the stores about URLs of which nothing is known."""

    def unknown(entry: Found) -> bool:
        return entry.error is None and is_url(entry.path) and entry.size is None

    def ask(entry: Found) -> Described | Exception:
        try:
            return describe(entry.path)
        except Exception as error:
            return error

    return in_order(entries, unknown, ask)


def _answered(entry: Found, answer: Described | Exception | None, skipped: Skipped) -> Iterator[Found]:
    """Yield what a URL stands for by a store's answer: a file, a folder's photos, or why there is nothing."""
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


def _is_table_entry(entry: Found) -> bool:
    return entry.error is None and is_table(file_name(entry.path))


def _digest(unit: Unit) -> str:
    digest = hashlib.sha256()
    for entry in unit.entries:
        size, version = _size_and_version(entry)
        name = readable(shown(entry.path))
        digest.update(f"{len(name)} {name} {size} {version}\n".encode())
    if unit.rows is not None:
        digest.update(f"{unit.rows.groups} {unit.rows.first_row} {unit.rows.rows}\n".encode())
    return digest.hexdigest()


def _size_and_version(entry: Found) -> tuple[int, int | str]:
    """Return size and modification time in ns, (0, 0) for what is no regular file; a URL's size and ETag."""
    if is_url(entry.path):
        return entry.size or 0, entry.version
    try:
        status = os.stat(entry.path)
    except (OSError, ValueError):  # a ValueError: a NUL, or half a surrogate pair, in the name
        return 0, 0
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)
