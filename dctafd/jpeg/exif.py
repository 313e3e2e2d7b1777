"""The one EXIF field that changes what a classifier sees: the orientation in IFD0 (TIFF 6.0, tag 0x0112)."""

from typing import Literal

EXIF_SIGNATURE = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_ENTRY_SIZE = 12


def exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation 1..8 that a TIFF structure's first directory holds, or None.

    Args:
        tiff: the payload of an EXIF segment after ``Exif\\0\\0``; may be damaged in any way.
    """
    order = _byte_order(tiff)
    if order is None:
        return None
    directory = int.from_bytes(tiff[4:8], order)
    if directory < 8 or directory + 2 > len(tiff):
        return None
    count = int.from_bytes(tiff[directory : directory + 2], order)
    first = directory + 2
    available = (len(tiff) - first) // _ENTRY_SIZE
    for index in range(min(count, available)):
        entry = tiff[first + index * _ENTRY_SIZE : first + (index + 1) * _ENTRY_SIZE]
        if int.from_bytes(entry[0:2], order) == _ORIENTATION_TAG:
            return _orientation_value(entry, order)
    return None


def _byte_order(tiff: bytes) -> Literal["little", "big"] | None:
    if tiff[:4] == b"II*\0":
        return "little"
    if tiff[:4] == b"MM\0*":
        return "big"
    return None


def _orientation_value(entry: bytes, order: Literal["little", "big"]) -> int | None:
    kind = int.from_bytes(entry[2:4], order)
    count = int.from_bytes(entry[4:8], order)
    value = int.from_bytes(entry[8:10], order)
    if kind != _SHORT or count != 1 or not 1 <= value <= 8:
        return None
    return value
