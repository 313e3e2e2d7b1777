"""Ways to spoil a tar or zip archive: its headers, with sums that fit again, and its bytes."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Sequence

from tests.support.archive_files import Members, packed

Mutation = Callable[[bytearray, random.Random], None]

KINDS = ("zip", "tar", "tar.gz", "tar.zst")

_HUGE, _NEGATIVE = b"\x80" + b"\xff" * 11, b"\xff" * 12  # as GNU tar writes numbers
_NUMBERS = (b"0", b"1", b"7777777", b"-1", b"1e9", b"9" * 30, _HUGE, _NEGATIVE, b"\0", b"x")
_TAR_FIELDS = ((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))
_TAR_TYPES = b"\x000123456789xgLKSDVMNXA"
_SPARSE = ("major", "minor", "map", "size", "realsize", "name", "offset", "numbytes")
_RECORDS = ("size", "path", "linkpath", "hdrcharset", *(f"GNU.sparse.{name}" for name in _SPARSE))
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06")


def whole_archive(kind: str, members: Members, rng: random.Random) -> bytes:
    """Return a good zip or (not compressed) tar of one of the usual dialects, a link in it."""
    buffer = io.BytesIO()
    if kind == "zip":
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return buffer.getvalue()
    dialect = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=buffer, mode="w", format=dialect) as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            if dialect == tarfile.PAX_FORMAT and rng.random() < 0.5:
                value = rng.choice(_NUMBERS).decode("latin-1")
                header.pax_headers = {rng.choice(_RECORDS): value}
            tar.addfile(header, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = rng.choice((tarfile.LNKTYPE, tarfile.SYMTYPE)), members[0][0]
        tar.addfile(link)
    return buffer.getvalue()


def mutated_archive(kind: str, members: Members, rng: random.Random) -> bytes:
    """Return a spoiled archive of one of `KINDS`."""
    data = bytearray(whole_archive(kind, members, rng))
    if kind == "zip":
        _apply(data, rng, (*_ANY, zip_field, zip_field, zip_field))
        return bytes(data)
    inside = kind == "tar" or rng.random() < 0.6
    if inside:
        _apply(data, rng, (*_ANY, tar_field, tar_field, tar_field))
    if kind == "tar":
        return bytes(data)
    whole = bytearray(packed(kind, bytes(data)))
    if not inside:
        _apply(whole, rng, _ANY)
    return bytes(whole)


def tar_field(data: bytearray, rng: random.Random) -> None:
    """Put something else into a field of a header, and mostly mend the header's checksum."""
    blocks = [n for n in range(0, len(data) - 511, 512) if data[n + 257 : n + 262] == b"ustar"]
    if not blocks:
        return
    start = rng.choice(blocks)
    offset, length = rng.choice(_TAR_FIELDS)
    value = bytes([rng.choice(_TAR_TYPES)]) if length == 1 else _value(length, rng)
    data[start + offset : start + offset + length] = value
    if rng.random() < 0.9:
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])


def zip_field(data: bytearray, rng: random.Random) -> None:
    """Overwrite a few bytes of a header or of the end record."""
    signature = rng.choice(_ZIP_SIGNATURES)
    places = [n for n in range(len(data) - 4) if data[n : n + 4] == signature]
    if not places:
        return
    start = rng.choice(places) + rng.randrange(4, 60)
    value = rng.choice((b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x01", b"\x08", b"\x63", rng.randbytes(2)))
    data[start : start + len(value)] = value[: max(0, len(data) - start)]


def flip(data: bytearray, rng: random.Random) -> None:
    """Overwrite a few bytes anywhere."""
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def cut(data: bytearray, rng: random.Random) -> None:
    """Lose the end."""
    del data[rng.randrange(1, len(data)) :]


def lose(data: bytearray, rng: random.Random) -> None:
    """Lose a piece, often a block."""
    start = rng.randrange(len(data))
    if rng.random() < 0.5:
        start -= start % 512
    del data[start : start + rng.choice((1, 10, 512, 1024))]


def double(data: bytearray, rng: random.Random) -> None:
    """Double a piece, often a block."""
    start = rng.randrange(len(data))
    if rng.random() < 0.5:
        start -= start % 512
    data[start:start] = data[start : start + rng.choice((1, 10, 512, 1024))]


def blank(data: bytearray, rng: random.Random) -> None:
    """Zero a block."""
    start = rng.randrange(len(data)) // 512 * 512
    end = min(start + 512, len(data))
    data[start:end] = bytes(end - start)


_ANY: tuple[Mutation, ...] = (flip, cut, lose, double, blank)


def _apply(data: bytearray, rng: random.Random, mutations: Sequence[Mutation]) -> None:
    for _ in range(rng.choice((1, 1, 2, 3))):
        if len(data) > 1:
            rng.choice(mutations)(data, rng)


def _value(length: int, rng: random.Random) -> bytes:
    value = rng.choice((*_NUMBERS, rng.randbytes(length), b"../" * 40, b"/" * 200, "\u0663".encode() * 6))
    return value[:length].ljust(length, rng.choice((b"\0", b" ")))
