"""The one fact of EXIF and XMP that changes what a classifier sees: the orientation, as Pillow finds it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

EXIF_SIGNATURE = b"Exif\0\0"
XMP_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\0"

_ORIENTATION_TAG = 0x0112
_ENTRY = struct.Struct(">HHL4s"), struct.Struct("<HHL4s")
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes a value of each TIFF type (TIFF 6.0, section 2; 13 is an IFD, 16 BigTIFF's LONG8)."""
_FORMATS = {3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L", 16: "Q"}
"""The types that are numbers, rationals as two."""
_BYTE_ORDERS: dict[bytes, Literal["<", ">"]] = {
    b"II*\0": "<",
    b"MM\0*": ">",
    b"II\0*": "<",  # the last two are wrong, but met, and Pillow reads them
    b"MM*\0": ">",
}
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class _Entry(NamedTuple):
    """One directory entry whose value is inside the data."""

    tag: int
    kind: int
    value: bytes


def find_orientation(exif: bytes, xmp: bytes) -> int:
    """Return the orientation 1..8 of a file; 1 where it says nothing that makes sense.

    XMP is asked only where EXIF has no such entry.

    Args:
        exif: the payloads of the EXIF segments before the first scan, each after ``Exif\\0\\0``, joined.
        xmp: the payload of the last XMP segment before the first scan, after its signature.
    """
    found = exif_orientation(exif.removeprefix(EXIF_SIGNATURE)) if exif else None
    if found is None:
        match = _XMP_ORIENTATION.search(xmp)
        found = int(match[1]) if match else 1
    return found if 1 <= found <= 8 else 1


def exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation that a TIFF structure's first directory holds: None without such an entry.

    The entry should be one SHORT; as Pillow and exiftool do, any number is taken, and of several the first.
    0 stands for a value that is no whole number.

    Args:
        tiff: the payload of an EXIF segment after ``Exif\\0\\0``; may be damaged in any way.
    """
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return None
    for entry in _entries(tiff, order):
        if entry.tag == _ORIENTATION_TAG:
            return _whole_number(entry, order)
    return None


def _entries(tiff: bytes, order: Literal["<", ">"]) -> Iterator[_Entry]:
    """Yield the first directory's entries up to the first one that reaches outside the data."""
    layout = _ENTRY[order == "<"]
    start = int.from_bytes(tiff[4:8], "little" if order == "<" else "big")
    count = int.from_bytes(tiff[start : start + 2], "little" if order == "<" else "big")
    available = (len(tiff) - start - 2) // layout.size
    for index in range(min(count, available)):
        tag, kind, number, field = layout.unpack_from(tiff, start + 2 + index * layout.size)
        size = number * _SIZES.get(kind, 0)
        if size > 4:
            offset = struct.unpack(order + "L", field)[0]
            field = tiff[offset : offset + size]
            if len(field) < size:
                return
        if size:
            yield _Entry(tag, kind, field[:size])


def _whole_number(entry: _Entry, order: Literal["<", ">"]) -> int:
    form = _FORMATS.get(entry.kind)
    if form is None:
        return 0
    number, *denominator = struct.unpack_from(order + form, entry.value)
    if denominator:
        number = number / denominator[0] if denominator[0] else 0
    return int(number) if number in range(1, 9) else 0
