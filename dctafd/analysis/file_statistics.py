"""What `dataset-stats` notes of one JPEG file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from dctafd.analysis.frequency_sums import FrequencySums
from dctafd.config import Limits
from dctafd.errors import DctafdError
from dctafd.inputs.source_items import SourceItem
from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.jpeg.history import estimate_history
from dctafd.jpeg.quality import estimate_quality
from dctafd.jpeg.reader import read_within
from dctafd.plain_text import reason

ODD_RESIDUAL = 0.1
"""Relative residual of the tables from which on a file's tables are called non-standard."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file's facts: plain values, so that a cache can hold them as JSON.

    Attributes:
        bytes: size of the file.
        error: the error's class name where the file could not be read ("CorruptJpegError"), else None; then
            the attributes below have no meaning.
        message: the error's message, or "".
        width, height: pixels as stored.
        process, color_space, subsampling, orientation: as in `JpegHeader`.
        icc, exif: whether there is a profile, an EXIF segment.
        quality, exact, relative_residual: as in `QualityEstimate`.
        primary_quality: as in `HistoryEstimate`.
        tables: a digest of each different quantisation table.
        warnings: how many, and the first one.
    """

    bytes: int
    error: str | None = None
    message: str = ""
    width: int = 0
    height: int = 0
    process: str = ""
    color_space: str = ""
    subsampling: str = ""
    orientation: int = 1
    icc: bool = False
    exif: bool = False
    quality: int = 0
    exact: bool = False
    relative_residual: float = 0.0
    primary_quality: int | None = None
    tables: tuple[str, ...] = ()
    warnings: int = 0
    first_warning: str = ""

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file for each pixel."""
        return 8 * self.bytes / self.pixels

    def oddities(self) -> list[str]:
        """Name what is unusual about the file, whatever the data set it is part of."""
        odd = []
        if self.warnings:
            odd.append("warnings")
        if self.color_space not in ("ycbcr", "gray"):
            odd.append(f"colour space {self.color_space}")
        if self.process not in ("baseline", "progressive"):
            odd.append(f"{self.process} process")
        if self.relative_residual > ODD_RESIDUAL:
            odd.append("non-standard tables")
        if "x" in self.subsampling or self.subsampling in ("4:1:1", "4:1:0", "4:4:1"):
            odd.append(f"sampling {self.subsampling}")
        if self.orientation != 1:
            odd.append("rotated by EXIF")
        if min(self.width, self.height) < 16:
            odd.append("tiny")
        return odd


def measure_file(path: str | os.PathLike[str], limits: Limits) -> tuple[FileFacts, FrequencySums]:
    """Read a file and measure it; what cannot be read becomes facts with an error, not an exception."""
    try:
        jpeg = read_within(path, limits)
    except (DctafdError, OSError) as error:
        return FileFacts(
            _size(path), error=type(error).__name__, message=reason(error, named=True)
        ), FrequencySums.empty()
    return file_facts(jpeg), FrequencySums.of(jpeg.components)


def measure_item(item: SourceItem, limits: Limits) -> tuple[FileFacts, FrequencySums]:
    """Measure an input that comes with its bytes, as `measure_file` does a file."""
    size = 0
    try:
        data = item.read()
        size = len(data)
        jpeg = read_within(data, limits)
    except (DctafdError, OSError) as error:
        message = reason(error, named=True)
        return FileFacts(size, error=type(error).__name__, message=message), FrequencySums.empty()
    return file_facts(jpeg), FrequencySums.of(jpeg.components)


def file_facts(jpeg: JpegCoefficients) -> FileFacts:
    """Return the facts of a file that was read."""
    quality = estimate_quality(jpeg)
    return FileFacts(
        bytes=jpeg.file_size,
        width=jpeg.width,
        height=jpeg.height,
        process=jpeg.process,
        color_space=jpeg.color_space,
        subsampling=jpeg.subsampling,
        orientation=jpeg.orientation,
        icc=jpeg.icc_profile is not None,
        exif=jpeg.has_exif,
        quality=quality.value,
        exact=quality.exact,
        relative_residual=quality.relative_residual,
        primary_quality=estimate_history(jpeg).primary_quality,
        tables=table_digests(jpeg),
        warnings=len(jpeg.warnings),
        first_warning=jpeg.warnings[0] if jpeg.warnings else "",
    )


def table_digests(jpeg: JpegCoefficients) -> tuple[str, ...]:
    """Return a digest of each different quantisation table, sorted."""
    tables = {component.quant_table.tobytes() for component in jpeg.components}
    return tuple(sorted(hashlib.blake2b(table, digest_size=8).hexdigest() for table in tables))


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
