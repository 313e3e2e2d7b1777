"""Compression statistics of a directory of JPEG files, folder by folder, in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from dctafd.analysis.dataset_items import Leaves, measure_source
from dctafd.analysis.file_statistics import FileFacts, measure_file
from dctafd.analysis.folder_statistics import FolderStatistics
from dctafd.analysis.frequency_sums import FrequencySums
from dctafd.analysis.statistics_cache import StatisticsCache
from dctafd.batch.shown_urls import is_url, shown
from dctafd.batch.stores import local_path
from dctafd.config import Limits
from dctafd.inputs.file_names import is_archive, is_table, natural_key
from dctafd.inputs.folders import Found, walk_photos
from dctafd.inputs.source_items import readable
from dctafd.plain_text import summary

MOST_FOLDERS = 200
"""Rows of folders that are told apart where no depth is asked for."""
DEEPEST = 4
_IN_FLIGHT = 4

Measured = tuple[FileFacts, FrequencySums]


@dataclass(frozen=True, slots=True)
class DatasetStatistics:
    """Statistics of a directory.

    Attributes:
        directory: what was looked at.
        folders: one entry per folder down to `depth`, parents first, each with everything below it.
        total: all of them.
        depth: levels of folders told apart.
        cached: files whose measurements came from the cache.
    """

    directory: str
    folders: tuple[FolderStatistics, ...]
    total: FolderStatistics
    depth: int
    cached: int = 0

    __repr__ = summary


def dataset_statistics(
    directory: str | os.PathLike[str],
    *,
    jobs: int = 1,
    depth: int | None = None,
    sample: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    limits: Limits = Limits(),
    on_file: Callable[[str, FileFacts], None] | None = None,
) -> DatasetStatistics:
    """Measure every JPEG file below a directory, in an archive or a table, or behind a URL of these.

    Files are read as they are found, a few at a time, so that memory depends on the number of folders told
    apart and on the size of single photos, not on the number of files. The result does not depend on `jobs`.

    Args:
        directory: searched recursively for .jpg, .jpeg, .jpe and .jfif; symbolic links to directories are
            not followed. A folder that cannot be listed, or a link to nothing, counts as a failure. Or what
            `plan_sources` takes: an archive, a table, a URL, whose photos' names give the folders.
        jobs: threads.
        depth: levels of sub-folders to tell apart; None goes as deep as `MOST_FOLDERS` rows allow.
        sample: measure this many files only, chosen at random but always the same ones.
        cache: a file that keeps the measurements; what it knows is not read again.
        limits: what one file may cost; files that cost more count as failures.
        on_file: called after each file with its name below the directory, in this thread; what it raises
            ends the run.

    Raises:
        NotADirectoryError: there is no such directory.
        ValueError: `sample` or `cache` is asked for, which take a directory, of something else.
        DctafdError: the cache cannot be used.

    Example:
        >>> statistics = dctafd.dataset_statistics("photos")
        >>> [(folder.folder, folder.files) for folder in statistics.folders], statistics.total.files
        ([('cat', 1), ('dog', 1)], 2)
    """
    root = Path(directory)
    if not root.is_dir() and _is_stream(os.fspath(directory)):
        if sample is not None or cache is not None:
            raise ValueError("a sample is taken, and a cache kept, of directories only")
        leaves_of_stream = Leaves(depth, DEEPEST, MOST_FOLDERS)
        measure_source(
            os.fspath(directory), leaves_of_stream, jobs, limits, on_file or (lambda name, facts: None)
        )
        leaves_of_stream.finish()
        folders, total = roll_up(leaves_of_stream.folders)
        return DatasetStatistics(
            readable(shown(os.fspath(directory))), folders, total, leaves_of_stream.depth
        )
    if not root.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory")
    depth = choose_depth(root) if depth is None else depth
    photos = walk_photos(root) if sample is None else sample_photos(root, sample)
    leaves: dict[str, FolderStatistics] = {}
    cached = 0
    with nullcontext() if cache is None else StatisticsCache(Path(cache)) as known:
        for path, (facts, sums), from_cache in _measure_all(photos, jobs, known, limits):
            relative = path.relative_to(root)
            folder = readable("/".join(relative.parent.parts[:depth]))
            leaves.setdefault(folder, FolderStatistics()).add_file(readable(str(relative)), facts, sums)
            cached += from_cache
            if on_file is not None:
                on_file(readable(str(relative)), facts)
    folders, total = roll_up(leaves)
    return DatasetStatistics(str(directory), folders, total, depth, cached)


def _is_stream(source: str) -> bool:
    """Return whether a name is that of photos which are read one after the other, and of no directory."""
    if is_url(source):
        return local_path(source) is None
    return os.path.isfile(source) and (is_archive(source) or is_table(source))


def roll_up(leaves: dict[str, FolderStatistics]) -> tuple[tuple[FolderStatistics, ...], FolderStatistics]:
    """Merge the statistics of each folder's own files ("" is the directory itself) into its parents.

    Returns the folders in natural order, parents first, each with everything below it; and the total.
    """
    folders: dict[str, FolderStatistics] = {}
    total = FolderStatistics()
    for name in sorted(leaves, key=lambda name: [*map(natural_key, name.split("/"))]):
        total.merge(leaves[name])
        parts = name.split("/") if name else []
        for level in range(1, len(parts) + 1):
            folder = "/".join(parts[:level])
            folders.setdefault(folder, FolderStatistics(folder)).merge(leaves[name])
    return tuple(folders.values()), total


def sample_photos(directory: Path, number: int) -> list[Found]:
    """Return up to `number` of the JPEG files below a directory: those whose names have the least hashes."""

    def order(found: Found) -> bytes:
        return hashlib.blake2b(os.fsencode(os.path.relpath(found.path, directory)), digest_size=8).digest()

    chosen = heapq.nsmallest(number, walk_photos(directory), key=order)
    return sorted(chosen, key=lambda found: natural_key(found.path))


def choose_depth(directory: Path) -> int:
    """Return how many levels of folders there are, as far as they come to no more than `MOST_FOLDERS`."""
    level = [directory]
    found = 0
    for depth in range(DEEPEST):
        below: list[Path] = []
        for folder in level:
            below.extend(_sub_folders(folder))
            if found + len(below) > MOST_FOLDERS:
                return depth
        if not below:
            return depth
        found += len(below)
        level = below
    return DEEPEST


def _sub_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as listing:
            return [Path(entry.path) for entry in listing if entry.is_dir(follow_symlinks=False)]
    except OSError:  # the walk says why
        return []


def _measure_all(
    photos: Iterable[Found], jobs: int, cache: StatisticsCache | None, limits: Limits
) -> Iterator[tuple[Path, Measured, bool]]:
    """Yield each path with its measurements and whether they were known, in order, `jobs` files at a time."""
    if jobs == 1:
        for found in photos:
            path = Path(found.path)
            known = _known(path, cache, limits)
            yield _finish(path, known or _measure(found, limits), known is not None, cache)
        return
    pending: deque[tuple[Path, Measured | Future[Measured], bool]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        for found in photos:
            path = Path(found.path)
            known = _known(path, cache, limits)
            measured = known or pool.submit(_measure, found, limits)
            pending.append((path, measured, known is not None))
            if len(pending) >= jobs * _IN_FLIGHT:
                yield _finish(*pending.popleft(), cache)
        while pending:
            yield _finish(*pending.popleft(), cache)


def _measure(found: Found, limits: Limits) -> Measured:
    """Measure a file; one that the walk knows to be unreadable, or an unreadable folder, is a failure."""
    if found.error is None:
        return measure_file(found.path, limits)
    return FileFacts(0, error=type(found.error).__name__, message=str(found.error)), FrequencySums.empty()


def _known(path: Path, cache: StatisticsCache | None, limits: Limits) -> Measured | None:
    """Return what the cache knows of a file, unless the file is larger than is allowed now."""
    known = cache.get(path) if cache is not None else None
    return known if known is not None and known[0].pixels <= limits.max_pixels else None


def _finish(
    path: Path, measured: Measured | Future[Measured], known: bool, cache: StatisticsCache | None
) -> tuple[Path, Measured, bool]:
    """Wait for a file's measurements and cache what is new; failures are tried anew in each run."""
    facts, sums = measured.result() if isinstance(measured, Future) else measured
    if cache is not None and not known and facts.error is None:
        cache.put(path, facts, sums)
    return path, (facts, sums), known
