"""How much memory a process takes while it works, from /proc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SECONDS_BETWEEN_SAMPLES = 0.25
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process.

    Attributes:
        seconds: since its start.
        megabytes: resident memory.
        done: what it had done by then.
    """

    seconds: float
    megabytes: float
    done: int


def watched(command: list[str], done: Callable[[], int], directory: Path) -> tuple[int, list[Sample]]:
    """Run a command; return its exit status and what it took over time.

    Args:
        command: program and arguments.
        done: says how far it has come.
        directory: where it runs.
    """
    process = subprocess.Popen(command, cwd=directory)
    page = os.sysconf("SC_PAGE_SIZE")
    begin, samples = time.monotonic(), []
    while process.poll() is None:
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):  # it has just ended
            break
        samples.append(Sample(time.monotonic() - begin, pages * page / _MB, done()))
        time.sleep(_SECONDS_BETWEEN_SAMPLES)
    return process.wait(), samples


def growth(samples: list[Sample], total: int) -> float:
    """Return by how many MB the most of the last quarter of the work is above that of the second quarter."""

    def most(first: float, last: float) -> float:
        chosen = [s.megabytes for s in samples if first * total <= s.done <= last * total]
        return max(chosen, default=0.0)

    return most(0.75, 1.0) - most(0.25, 0.5)


def report(samples: list[Sample], total: int, rows: int = 10) -> str:
    """Return a line for each tenth of the work."""
    lines = []
    for number in range(rows + 1):
        reached = next((s for s in samples if s.done >= number * total / rows), None)
        if reached is not None:
            lines.append(
                f"{reached.done:7d} done after {reached.seconds:6.1f} s: {reached.megabytes:5.0f} MB"
            )
    return "\n".join(lines)
