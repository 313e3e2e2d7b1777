"""Statistics of all files of a folder: counts that grow file by file and merge folder by folder."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.file_statistics import FileFacts
from dctafd.analysis.frequency_sums import FrequencySums
from dctafd.plain_text import summary

MOST_NAMES = 100
"""Names kept of the files that failed, and of those that are odd, in each folder's statistics."""
MOST_TABLES = 10_000
"""Different quantisation tables that are told apart."""
BITS_PER_PIXEL_EDGES = 2.0 ** np.linspace(-5, 5, 41)
"""Edges of the bits per pixel histogram: four bins an octave, from 1/32 to 32."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file worth naming and why."""

    path: str
    reason: str
    detail: str = ""


@dataclass(slots=True, eq=False)
class FolderStatistics:
    """Statistics of the files of a folder and everything below it.

    Attributes:
        folder: path below the data set's directory, "." for the directory itself.
        files: files that were looked at, those that failed included.
        failures: how many failed, by error class.
        failed: the first of them by name.
        bytes, pixels: sums over the files that were read.
        processes, samplings, color_spaces: how many files of each kind.
        icc, exif, rotated, damaged: how many files have a profile, have EXIF, are rotated by EXIF, have
            warnings.
        exact_qualities, approximate_qualities: (101,) int64 files of each table quality.
        primary_qualities: (101,) int64 files of each earlier quality, index 0 for none.
        bits_per_pixel: (40,) int64 histogram over `BITS_PER_PIXEL_EDGES`; the ends hold what lies beyond.
        tables: digests of the different quantisation tables, at most `MOST_TABLES`.
        odd: the first odd files.
        odd_files, oddities: how many are odd, in all and by kind (a file may be of several).
        frequencies: sums over the coefficients.
    """

    folder: str = "."
    files: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failed: list[NamedFile] = field(default_factory=list)
    bytes: int = 0
    pixels: int = 0
    processes: Counter[str] = field(default_factory=Counter)
    samplings: Counter[str] = field(default_factory=Counter)
    color_spaces: Counter[str] = field(default_factory=Counter)
    icc: int = 0
    exif: int = 0
    rotated: int = 0
    damaged: int = 0
    exact_qualities: NDArray[np.int64] = field(default_factory=lambda: np.zeros(101, np.int64))
    approximate_qualities: NDArray[np.int64] = field(default_factory=lambda: np.zeros(101, np.int64))
    primary_qualities: NDArray[np.int64] = field(default_factory=lambda: np.zeros(101, np.int64))
    bits_per_pixel: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(BITS_PER_PIXEL_EDGES) - 1, np.int64)
    )
    tables: set[str] = field(default_factory=set)
    odd: list[NamedFile] = field(default_factory=list)
    odd_files: int = 0
    oddities: Counter[str] = field(default_factory=Counter)
    frequencies: FrequencySums = field(default_factory=FrequencySums.empty)

    __repr__ = summary

    @property
    def failure_count(self) -> int:
        """Files that could not be read."""
        return self.failures.total()

    @property
    def readable(self) -> int:
        """Files that were read."""
        return self.files - self.failure_count

    @property
    def qualities(self) -> NDArray[np.int64]:
        """(101,) int64 files of each table quality, exact or approximate."""
        return self.exact_qualities + self.approximate_qualities

    def add_file(self, path: str, facts: FileFacts, sums: FrequencySums) -> None:
        """Count one file."""
        self.files += 1
        if facts.error is not None:
            self.failures[facts.error] += 1
            _keep(self.failed, [NamedFile(path, facts.error, facts.message)])
            return
        self.bytes += facts.bytes
        self.pixels += facts.pixels
        self.processes[facts.process] += 1
        self.samplings[facts.subsampling] += 1
        self.color_spaces[facts.color_space] += 1
        self.icc += facts.icc
        self.exif += facts.exif
        self.rotated += facts.orientation != 1
        self.damaged += facts.warnings > 0
        (self.exact_qualities if facts.exact else self.approximate_qualities)[facts.quality] += 1
        self.primary_qualities[facts.primary_quality or 0] += 1
        self.bits_per_pixel[_bits_per_pixel_bin(facts.bits_per_pixel)] += 1
        _keep_tables(self.tables, set(facts.tables))
        odd = facts.oddities()
        self.oddities.update(odd)
        self.odd_files += bool(odd)
        if odd:
            _keep(self.odd, [NamedFile(path, "; ".join(odd), facts.first_warning)])
        self.frequencies.add(sums)

    def merge(self, other: FolderStatistics) -> None:
        """Add another part's counts to these; names beyond the first `MOST_NAMES` are dropped."""
        self.files += other.files
        self.failures.update(other.failures)
        _keep(self.failed, other.failed)
        self.bytes += other.bytes
        self.pixels += other.pixels
        self.processes.update(other.processes)
        self.samplings.update(other.samplings)
        self.color_spaces.update(other.color_spaces)
        self.icc += other.icc
        self.exif += other.exif
        self.rotated += other.rotated
        self.damaged += other.damaged
        self.exact_qualities += other.exact_qualities
        self.approximate_qualities += other.approximate_qualities
        self.primary_qualities += other.primary_qualities
        self.bits_per_pixel += other.bits_per_pixel
        _keep_tables(self.tables, other.tables)
        _keep(self.odd, other.odd)
        self.odd_files += other.odd_files
        self.oddities.update(other.oddities)
        self.frequencies.add(other.frequencies)


def _keep(names: list[NamedFile], more: list[NamedFile]) -> None:
    names.extend(more[: MOST_NAMES - len(names)])


def _keep_tables(tables: set[str], more: set[str]) -> None:
    if len(tables) < MOST_TABLES:
        tables.update(sorted(more)[: MOST_TABLES - len(tables)])


def _bits_per_pixel_bin(bits: float) -> int:
    return int(np.clip(math.floor(4 * (math.log2(bits) + 5)), 0, len(BITS_PER_PIXEL_EDGES) - 2))
