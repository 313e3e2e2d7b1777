"""Read a JPEG file's quantised DCT coefficients: `read` all, `read_planned` some, `read_header` none.

`read_planned` is the one way from bytes to coefficients: `read` plans for everything, `dctafd.prepare` for
what a crop needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import BinaryIO, Literal

from dctafd.config import MAX_PIXELS, MAX_SCANS, Limits
from dctafd.errors import CorruptJpegError, LimitExceededError
from dctafd.jpeg import jpeglib_engine, numba_engine
from dctafd.jpeg.coefficients import Component, JpegCoefficients, JpegHeader
from dctafd.jpeg.foreign import START_BYTES, not_a_jpeg, open_file
from dctafd.jpeg.header import make_header
from dctafd.jpeg.limits import check_limits, max_file_bytes
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.partial import ComponentPlan, PartialComponent
from dctafd.jpeg.structure import JpegStructure

_PIECE = 1 << 20  # bytes asked for at a time, where the size is not known

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
Engine = Literal["auto", "numba", "jpeglib"]
Planner = Callable[[JpegHeader], Sequence[ComponentPlan]]


def read(
    source: Source,
    engine: Engine = "auto",
    max_pixels: int = MAX_PIXELS,
    max_scans: int = MAX_SCANS,
    strict: bool = False,
    threads: int = 1,
) -> JpegCoefficients:
    """Read the coefficients, tables and header facts of one JPEG file.

    Args:
        source: path, bytes-like object, or binary file object (read from where it stands).
        engine: "numba" for our kernels (Huffman coding), "jpeglib" for libjpeg-turbo 2.1.0, "auto" for our
            kernels and jpeglib where the file is arithmetic-coded.
        max_pixels: pixels allowed; the memory used is in proportion.
        max_scans: scans allowed.
        strict: raise where coefficients are missing or damaged, instead of noting it in `warnings`.
        threads: CPUs to use; more than one helps with large photos that have restart intervals.

    Raises:
        NotAJpegError, UnsupportedJpegError, CorruptJpegError, LimitExceededError: see `dctafd.errors`.
        OSError: the path cannot be read.

    Example:
        >>> jpeg = dctafd.read("photo.jpg")
        >>> jpeg.width, jpeg.height, jpeg.subsampling, jpeg.process
        (320, 240, '4:2:0', 'baseline')
        >>> jpeg.components[0].coefficients.shape
        (30, 40, 8, 8)
    """
    return read_within(source, Limits(max_pixels, max_scans, strict, threads), engine)


def read_within(source: Source, limits: Limits, engine: Engine = "auto") -> JpegCoefficients:
    """Read one file as `read` does, within limits that are one object."""
    header, parts = read_planned(source, plan_everything, limits, engine)
    components = [
        Component.of(component, part.corners, part.lowest)
        for component, part in zip(header.components, parts, strict=True)
    ]
    return JpegCoefficients.of(header, tuple(components))


def plan_everything(header: JpegHeader) -> tuple[ComponentPlan, ...]:
    """Plan to keep all coefficients of all components; files of one layout share their plan."""
    return _everything(tuple([(part.block_rows, part.block_columns) for part in header.components]))


@lru_cache(maxsize=1024)
def _everything(blocks: tuple[tuple[int, int], ...]) -> tuple[ComponentPlan, ...]:
    return tuple(ComponentPlan.everything(*shape) for shape in blocks)


def read_planned(
    source: Source,
    planner: Planner,
    limits: Limits = Limits(),
    engine: Engine = "auto",
    reuse: bool = False,
) -> tuple[JpegHeader, list[PartialComponent]]:
    """Read the coefficients that somebody wants, once the header is known.

    Args:
        source: as for `read`.
        planner: is given the header, still without warnings, and returns one plan per component.
        limits: what the file may cost, and whether damage raises.
        engine: as for `read`.
        reuse: whether the coefficients may lie in memory that the thread's next call with `reuse` overwrites,
            and each block of the grids but once (`PartialComponent.grid_places`).

    Returns:
        The header, with warnings, and what was kept of each component.

    Raises:
        ValueError: a plan reaches outside its component; other errors as for `read`.
    """
    if engine not in ("auto", "numba", "jpeglib"):
        raise ValueError(f"engine {engine!r}; it is 'auto', 'numba' or 'jpeglib'")
    data = read_bytes(source, max_file_bytes(limits.max_pixels))
    structure = parse_checked(data, limits)
    header = make_header(structure, len(data))
    use_jpeglib = engine == "jpeglib" or (engine == "auto" and structure.frame.arithmetic)
    if use_jpeglib:
        decoded = jpeglib_engine.decode(data, structure, planner(header))
    else:
        decoded = numba_engine.decode(data, structure, planner(header), reuse, limits.threads)
    warnings = _all_warnings(structure, decoded.damage, limits.strict)
    if warnings:
        components = tuple(
            replace(component, missing_bits=part.missing_bits)
            for component, part in zip(header.components, decoded.components, strict=True)
        )
        header = replace(header, components=components, warnings=warnings)
    return header, decoded.components


def read_header(source: Source, max_pixels: int = MAX_PIXELS, max_scans: int = MAX_SCANS) -> JpegHeader:
    """Read what the markers say, without decoding any coefficient. Arguments and errors as for `read`.

    Example:
        >>> dctafd.read_header("photo.jpg").components[0].quant_table[0, :4]
        array([8, 6, 5, 8], dtype=uint16)
    """
    data = read_bytes(source, max_file_bytes(max_pixels))
    structure = parse_checked(data, Limits(max_pixels, max_scans))
    return replace(make_header(structure, len(data)), warnings=_all_warnings(structure, [], strict=False))


def parse_checked(data: bytes, limits: Limits) -> JpegStructure:
    """Parse the markers and apply the limits; nothing in proportion to the image is allocated yet."""
    structure = parse_markers(data, max_scans=limits.max_scans)
    check_limits(structure, len(data), limits)
    return structure


def _all_warnings(structure: JpegStructure, damage: list[str], strict: bool) -> tuple[str, ...]:
    """Join the parser's and the engine's findings; with `strict`, raise CorruptJpegError for damage."""
    found = [*structure.damage, *damage]
    if strict and found:
        raise CorruptJpegError("; ".join(found))
    return (*structure.warnings, *found)


def read_bytes(source: Source, max_bytes: int | None = None) -> bytes:
    """Return the bytes of a path, bytes-like object or binary file object.

    A source that does not start with SOI is not read further.

    Raises:
        NotAJpegError: the first two bytes are not FF D8.
        LimitExceededError: more than `max_bytes` bytes.
        TypeError: the source is of another kind.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = source if isinstance(source, bytes) else bytes(source)
        _check_size(len(data), max_bytes)
        return data
    if isinstance(source, (str, os.PathLike)):
        with open_file(source) as file:
            return _read_file(file, max_bytes, os.fstat(file.fileno()).st_size)
    if hasattr(source, "read"):
        return _read_file(source, max_bytes)
    raise TypeError(f"source is a path, bytes or a binary file object, not {type(source).__name__}")


def _read_file(file: BinaryIO, max_bytes: int | None, expected: int = 0) -> bytes:
    """Read a file to its end, in pieces: a single read may give less, and asks for a buffer of its size."""
    pieces = [piece := _read_piece(file, 2)]
    if len(piece) == 1:
        pieces.append(_read_piece(file, 1))
    start = b"".join(pieces)
    if start != b"\xff\xd8":
        raise not_a_jpeg(start + _read_piece(file, START_BYTES))
    size = 2
    _check_size(max(size, expected), max_bytes)
    while piece:
        wanted = expected + 1 - size if expected >= size else _PIECE
        piece = _read_piece(file, wanted if max_bytes is None else min(wanted, max_bytes + 1 - size))
        pieces.append(piece)
        size += len(piece)
        _check_size(size, max_bytes)
    return b"".join(pieces)


def _read_piece(file: BinaryIO, size: int) -> bytes:
    piece = file.read(size)
    if piece is None:
        raise BlockingIOError("the file object does not wait for data; it has to be a blocking one")
    if not isinstance(piece, bytes):
        raise TypeError("the file object must be opened in binary mode")
    return piece


def _check_size(size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise LimitExceededError(f"the file is larger than {max_bytes} bytes")
