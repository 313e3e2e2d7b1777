"""Members of zip archives."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from dctafd.batch.archive_links import Entry, LinkIndex
from dctafd.batch.archives import Member, check_size, damage_named, failing
from dctafd.batch.remote_files import RemoteFile
from dctafd.batch.shown_urls import is_url, shown
from dctafd.batch.stores import Described
from dctafd.errors import ArchiveError, DctafdError
from dctafd.inputs.file_names import is_jpeg_name, sample_key
from dctafd.inputs.source_items import Skipped

_END_RECORD = struct.Struct("<10xH10x")  # the number of members, all told
_ENCRYPTED = 1  # bit 0 of the general purpose flags
_UNIX = 3
_MAX_LINK_BYTES = 4096


def zip_members(
    path: str,
    skipped: Skipped,
    wanted: Callable[[str], bool],
    described: Described | None,
    together: bool,
) -> Iterator[Member]:
    """Yield the files of a zip; see `iter_members`."""
    with ExitStack() as stack:
        file: Any = stack.enter_context(RemoteFile(path, described)) if is_url(path) else path
        archive = stack.enter_context(zipfile.ZipFile(file))
        index: LinkIndex[zipfile.ZipInfo] | None = None
        for info in _samples_together(archive.infolist()) if together else archive.infolist():
            if info.is_dir():
                continue
            if not wanted(info.filename):
                skipped.count(f"{shown(path)}: {info.filename}")
            elif not _is_link(info):
                yield Member(info.filename, _reader(archive, info))
            else:
                index = _all_names(archive) if index is None else index
                target = _target(archive, index, info)
                if target is None:
                    skipped.not_files += 1
                else:
                    yield Member(info.filename, target)
        _check_count(archive)


def _samples_together(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the members with those that share a photo's key right after the first such photo."""
    keys = {sample_key(info.filename) for info in members if is_jpeg_name(info.filename)}
    others: dict[str, list[zipfile.ZipInfo]] = {}
    rest = []
    for info in members:
        key = sample_key(info.filename)
        if key in keys and not is_jpeg_name(info.filename):
            others.setdefault(key, []).append(info)
        else:
            rest.append(info)
    ordered = []
    for info in rest:
        ordered.append(info)
        if is_jpeg_name(info.filename):
            ordered += others.pop(sample_key(info.filename), ())
    return ordered


def _check_count(archive: zipfile.ZipFile) -> None:
    """Compare the members with the number that the end record gives, which `zipfile` does not look at."""
    assert archive.fp is not None
    size = archive.fp.seek(0, os.SEEK_END)
    archive.fp.seek(max(0, size - _END_RECORD.size - len(archive.comment)))
    end_record = archive.fp.read(_END_RECORD.size)
    claimed = _END_RECORD.unpack(end_record)[0] if end_record.startswith(b"PK\5\6") else None
    found = len(archive.infolist())
    if claimed not in (found & 0xFFFF, 0xFFFF):  # the latter: the number is in a ZIP64 record
        raise ArchiveError(f"its directory lists {found} members and should list {claimed}")


def _is_link(info: zipfile.ZipInfo) -> bool:
    """Return whether a member is a symbolic link, as `zip -y` stores them; its data is the target's name."""
    return info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16)


def _all_names(archive: zipfile.ZipFile) -> LinkIndex[zipfile.ZipInfo]:
    index: LinkIndex[zipfile.ZipInfo] = LinkIndex()
    for info in archive.infolist():
        index.add(info.filename, _entry(archive, info))
    return index


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry[zipfile.ZipInfo]:
    if _is_link(info):
        return Entry(None, lambda: _linkname(archive, info))
    return Entry(None if info.is_dir() else info)


def _linkname(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > _MAX_LINK_BYTES:
        raise ArchiveError(f"a link claims a name of {info.file_size} bytes")
    return _reader(archive, info)().decode("utf-8", "surrogateescape")


def _target(
    archive: zipfile.ZipFile, index: LinkIndex[zipfile.ZipInfo], info: zipfile.ZipInfo
) -> Callable[[], bytes] | None:
    """Return what reads the file that a link leads to, None where it leads to none."""
    try:
        place = index.follow(info.filename, _entry(archive, info))
    except DctafdError as error:
        return failing(error)
    return None if place is None else _reader(archive, place)


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        check_size(info.file_size)
        if info.flag_bits & _ENCRYPTED:
            raise ArchiveError("the member is encrypted: unpack it with its password")
        with damage_named("the member"), archive.open(info) as file:
            data = file.read(info.file_size + 1)
        if len(data) != info.file_size:
            raise ArchiveError(f"the member claims {info.file_size} bytes and holds {len(data)}")
        return data

    return read
