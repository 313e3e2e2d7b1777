"""What a run adds up to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dctafd.inference.results import Result
from dctafd.inputs.source_items import Skipped
from dctafd.plain_text import counted, rate_text, size_text

_NOT_FILE, _NOT_FILES = "link to a directory, pipe or device", "links to directories, pipes and devices"
_QUALITY_BINS = ((1, 10), (11, 20), (21, 40), (41, 60), (61, 75), (76, 85), (86, 95), (96, 100))
_HISTOGRAM_FROM = 20  # photos; the table itself shows fewer well enough
_BAR_WIDTH = 40


@dataclass(slots=True)
class Summary:
    """Counts of a run, over all its interruptions.

    Attributes:
        images: inputs, good and bad.
        size: bytes read.
        failures: bad inputs by the type of their error.
        damaged: inputs that were classified with warnings.
        qualities: inputs by the quality of their tables.
        skipped: what was passed over.
        seconds: time spent, without the pauses between interruptions.
        session_images, session_size, started: the same for this process.
    """

    images: int = 0
    size: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    qualities: Counter[int] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)
    seconds: float = 0.0
    session_images: int = 0
    session_size: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, results: Iterable[Result], size: int) -> None:
        """Count the results of a batch and the bytes that were read for it."""
        for result in results:
            self.images += 1
            self.session_images += 1
            self.damaged += bool(result.warnings)
            if result.error is not None:
                self.failures[result.error.type] += 1
            if result.quality is not None:
                self.qualities[result.quality] += 1
        self.size += size
        self.session_size += size

    @property
    def failed(self) -> int:
        """Inputs that gave no prediction."""
        return self.failures.total()

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest keeps."""
        return {
            "images": self.images,
            "bytes": self.size,
            "failures": dict(self.failures),
            "damaged": self.damaged,
            "qualities": {str(quality): count for quality, count in sorted(self.qualities.items())},
            "skipped_files": self.skipped.files,
            "unopened_archives": self.skipped.archives,
            "unopened_archive_count": self.skipped.archive_count,
            "skipped_not_files": self.skipped.not_files,
            "skipped_sidecars": self.skipped.sidecars,
            "seconds": round(self.seconds + time.monotonic() - self.started, 3),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Summary:
        """Return the summary that `to_json` described, with the clock of this process at zero."""
        return cls(
            images=record["images"],
            size=record["bytes"],
            failures=Counter(record["failures"]),
            damaged=record["damaged"],
            qualities=Counter({int(quality): count for quality, count in record["qualities"].items()}),
            skipped=Skipped(
                record["skipped_files"],
                list(record["unopened_archives"]),
                record["unopened_archive_count"],
                record["skipped_not_files"],
                record["skipped_sidecars"],
            ),
            seconds=record["seconds"],
        )

    def lines(self) -> list[str]:
        """Return the summary as lines for people."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        images, size = rate_text(self.session_images / seconds), size_text(self.session_size / seconds)
        pace = f"{images} images/s, {size}/s"
        lines = []
        if self.images and not self.session_images:
            lines = [f"already complete: {self.images} images, {size_text(self.size)}"]
        elif self.images != 1:
            taken = f"{self.seconds + seconds:.1f} s"
            lines = [f"{self.images} images, {size_text(self.size)} in {taken} ({pace})"]
        if self.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.failures.most_common())
            lines.append(f"{self.failed} failed: {kinds}")
        if self.damaged:
            lines.append(f"{self.damaged} with warnings (damaged files that could be read)")
        if self.skipped.files:
            are = "is" if self.skipped.files == 1 else "are"
            lines.append(f"{counted(self.skipped.files, 'file')} skipped that {are} not named like a JPEG")
        if self.skipped.sidecars:
            files = counted(self.skipped.sidecars, ".json, .cls or .txt file", ".json, .cls and .txt files")
            lines.append(f"{files} left out; --keep carries them over")
        if self.skipped.not_files:
            what = counted(self.skipped.not_files, _NOT_FILE, _NOT_FILES)
            lines.append(f"{what} not followed")
        if self.skipped.archive_count:
            shown = ", ".join(self.skipped.archives[:5])
            more = ", ..." if self.skipped.archive_count > 5 else ""
            what = counted(self.skipped.archive_count, "archive or table", "archives and tables")
            lines.append(f"{what} found inside others, not opened: {shown}{more}")
        return lines + self._quality_lines()

    def _quality_lines(self) -> list[str]:
        total = self.qualities.total()
        if total < _HISTOGRAM_FROM:
            return []
        lines = ["quality of the tables:"]
        for low, high in _QUALITY_BINS:
            count = sum(self.qualities[quality] for quality in range(low, high + 1))
            bar = "#" * round(_BAR_WIDTH * count / total)
            lines.append(f"  {low:3d}-{high:<3d} {count:8d}  {bar}".rstrip())
        return lines
