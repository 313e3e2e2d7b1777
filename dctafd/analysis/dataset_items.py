"""Statistics of photos in archives, tables and stores, which come one after the other with their bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from dctafd.analysis.file_statistics import FileFacts, measure_item
from dctafd.analysis.folder_statistics import FolderStatistics
from dctafd.analysis.frequency_sums import FrequencySums
from dctafd.batch.shown_urls import file_name, shown
from dctafd.batch.sources import iter_sources
from dctafd.config import Limits
from dctafd.inputs.source_items import SourceItem, readable

_IN_FLIGHT = 4
_SPARE = 4  # times as many folders as are told apart may be kept until all are known

Measured = tuple[FileFacts, FrequencySums]


class Leaves:
    """Statistics of each folder's own files, for a number of folders that is not known beforehand.

    Args:
        depth: levels that are told apart; None goes as deep as `most` folders allow.
        deepest: the most levels.
        most: the most folders, where no depth is asked for.
    """

    def __init__(self, depth: int | None, deepest: int, most: int) -> None:
        self.folders: dict[str, FolderStatistics] = {}
        self.depth = deepest if depth is None else depth
        self._most = None if depth is not None else most

    def add(self, name: str, measured: Measured) -> None:
        """Count one file by its path, with "/" between its parts."""
        self._folder(name.split("/")[:-1]).add_file(name, *measured)
        if self._most is not None and len(self.folders) > _SPARE * self._most:
            self._cut(self.depth - 1)

    def finish(self) -> None:
        """Merge folders until there are few enough, their parents counted."""
        while self._most is not None and self.depth and self._count() > self._most:
            self._cut(self.depth - 1)
        deepest = max((len(name.split("/")) for name in self.folders if name), default=0)
        if self._most is not None:
            self.depth = min(self.depth, deepest)

    def _folder(self, parts: list[str]) -> FolderStatistics:
        return self.folders.setdefault("/".join(parts[: self.depth]), FolderStatistics())

    def _count(self) -> int:
        levels = (name.split("/") for name in self.folders if name)
        return len({tuple(parts[:level]) for parts in levels for level in range(1, len(parts) + 1)})

    def _cut(self, depth: int) -> None:
        folders, self.folders, self.depth = self.folders, {}, depth
        for name, statistics in folders.items():
            self._folder(name.split("/") if name else []).merge(statistics)


def measure_source(
    source: str, leaves: Leaves, jobs: int, limits: Limits, on_file: Callable[[str, FileFacts], None]
) -> None:
    """Measure every photo of an archive, a table or a URL, `jobs` at a time.

    Args:
        source: as `plan_sources` takes it.
        leaves: what they are counted in.
        jobs: threads.
        limits: what one file may cost; files that cost more count as failures.
        on_file: called after each file, in this thread.
    """
    pending: deque[tuple[str, Future[Measured]]] = deque()

    def finish() -> None:
        name, future = pending.popleft()
        measured = future.result()
        leaves.add(name, measured)
        on_file(name, measured[0])

    with ThreadPoolExecutor(jobs) as pool:
        for name, item in _named_items(source):
            pending.append((name, pool.submit(measure_item, item, limits)))
            if len(pending) >= jobs * _IN_FLIGHT:
                finish()
        while pending:
            finish()


def _named_items(source: str) -> Iterator[tuple[str, SourceItem]]:
    """Yield each photo with its path below the source."""
    root = readable(shown(source.split("*", 1)[0].split("{", 1)[0]))
    root = root if root.endswith("/") or root == readable(shown(source)) else root.rpartition("/")[0]
    for item in iter_sources([source]):
        name = item.member
        if name is None:
            name = item.source.removeprefix(root).lstrip("/") or file_name(item.source)
        yield "/".join(part for part in name.split("/") if part not in ("", ".", "..")), item
