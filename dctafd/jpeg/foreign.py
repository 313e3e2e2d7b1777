"""Say what it is that was given as a JPEG file and is none: a PNG, a page, a URL."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from dctafd.errors import NotAJpegError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,3}\w")  # Path("https://x") has one slash left

#: Bytes that tell what a file is.
START_BYTES = 64

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF87a", "a GIF"),
    (b"GIF89a", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"II+\0", "a TIFF"),
    (b"MM\0+", "a TIFF"),
    (b"%PDF-", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a Git LFS pointer (`git lfs pull` gets the file)"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "a HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF"),
}
_MARKUP = ((b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<svg", "an SVG"))


def not_a_jpeg(start: bytes) -> NotAJpegError:
    """Return the error for a file that starts, for `START_BYTES`, with `start`, not with FF D8."""
    if not start:
        return NotAJpegError("the file is empty")
    kind = kind_of(start)
    if kind is None:
        return NotAJpegError("not a JPEG file: it does not start with the bytes FF D8")
    return NotAJpegError(f"this is {kind}; dctafd reads JPEG")


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: it cannot be opened; where it is missing because `path` is a URL, the message says so.
    """
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        name = os.fspath(path)
        if not isinstance(name, str) or not _URL.match(name):
            raise
        text = "this is a URL: download it and name the file, or pass the bytes"
        raise FileNotFoundError(error.errno, text, name) from None


def kind_of(start: bytes) -> str | None:
    """Return what a file is that starts with `start`, such as "a PNG"; None where that is not known."""
    start = start[:START_BYTES]
    if start.startswith(b"\xff\xd8"):
        return "a JPEG"
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "a WebP"
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], "a video (MP4 or the like)")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signature, kind in _MARKUP:
        if text.startswith(signature):
            return kind
    if text.startswith(b"<?xml"):
        return "an SVG" if b"<svg" in text else "an XML file"
    if not any(start):
        return "a file of zeros"
    return "a text file" if _is_text(start) else None


def _is_text(start: bytes) -> bool:
    try:
        return start.decode("ascii").replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable()
    except UnicodeDecodeError:
        return False
