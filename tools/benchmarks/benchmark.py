"""How fast dctafd reads, decodes and prepares photos, as ratios against others measured in the same run.

    python -m tools.benchmarks.benchmark                           # everything, some ten minutes
    python -m tools.benchmarks.benchmark --quick                   # the small sizes only
    python -m tools.benchmarks.benchmark --images ../shared/images/train --json docs/results/speed.json
    python -m tools.benchmarks.benchmark --restarts                # one photo on two CPUs against one

A ratio of 3 means that dctafd takes a third of the time. Both sides run in turns; the table gives the median
of the turns' ratios, and the middle half of them. Everything runs on synthetic photos unless told otherwise.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import simplejpeg
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision import transforms

import dctafd
from dctafd.analysis.dataset_stats import dataset_statistics
from dctafd.config import IMAGENET_MEAN, IMAGENET_STD
from tests.support.dataset_stats_reference import directory_sums
from tools.benchmarks.alternatives import installed
from tools.benchmarks.benchmark_photos import Photo, compressed, enlarged_photo, synthetic_photo
from tools.provenance import environment, provenance

SIZES = (0.05, 0.2, 2.0, 12.0)  # megapixels
QUALITIES = (10, 25, 75, 90, 95)
DATASET_FILES = 40
TURN_SECONDS = 0.02  # a side's turn is made of so many calls
COLD_RUN = """
import sys, time, dctafd
data = open(sys.argv[1], "rb").read()
start = time.perf_counter()
dctafd.prepare(data)
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Contest:
    """One thing that both sides do with a photo."""

    name: str
    ours: Callable[[Photo], Any]
    theirs: Callable[[Photo], Any]
    threads: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Measurement:
    """What one contest took with one photo: medians in seconds a photo, and quartiles of theirs / ours."""

    contest: str
    megapixels: float | None
    quality: int | None
    threads: int
    ours_seconds: float
    theirs_seconds: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    turns: int


def read_with_jpeglib(photo: Photo) -> Any:
    """Read all coefficients; the wheel's newest back end."""
    jpeg = jpeglib.read_dct(photo.path)
    jpeg.load()
    return jpeg


def decode_with_pillow(photo: Photo) -> Any:
    """Decode to an RGB array."""
    with Image.open(io.BytesIO(photo.data)) as image:
        return np.asarray(image.convert("RGB"))


REFERENCE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
)


def prepare_with_torchvision(photo: Photo) -> Any:
    """Pillow's decoder and torchvision's reference transform."""
    with Image.open(io.BytesIO(photo.data)) as image:
        return REFERENCE(image.convert("RGB"))


def contests() -> list[Contest]:
    """List what is measured on single photos; jpeglib is not thread-safe."""
    rows = [
        Contest("read / jpeglib", lambda p: dctafd.read(p.data), read_with_jpeglib, (1,)),
        Contest(
            "read / simplejpeg's decode",
            lambda p: dctafd.read(p.data),
            lambda p: simplejpeg.decode_jpeg(p.data),
        ),
        Contest("decode / Pillow", lambda p: dctafd.decode(dctafd.read(p.data)), decode_with_pillow),
        Contest(
            "prepare / Pillow + torchvision",
            lambda p: dctafd.prepare(p.data, history=False),
            prepare_with_torchvision,
        ),
        Contest(
            "prepare with history / Pillow + torchvision",
            lambda p: dctafd.prepare(p.data),
            prepare_with_torchvision,
            (1,),
        ),
    ]
    rows += [
        Contest(
            f"prepare with history / {name}",
            lambda p: dctafd.prepare(p.data),
            lambda p, alternative=alternative: alternative(p.data),  # type: ignore[misc]
            (1,),
        )
        for name, alternative in installed().items()
    ]
    if find_spec("turbojpeg"):
        import turbojpeg

        codec = turbojpeg.TurboJPEG()
        rows.append(
            Contest(
                "decode / PyTurboJPEG",
                lambda p: dctafd.decode(dctafd.read(p.data)),
                lambda p: codec.decode(p.data),
            )
        )
    return rows


def contests_of_threads() -> list[Contest]:
    """List what two threads do together with one photo that has restart intervals, against one thread."""
    return [
        Contest(
            f"{name}, two threads / one",
            lambda p, work=work: work(p.data, threads=2),  # type: ignore[misc]
            lambda p, work=work: work(p.data),  # type: ignore[misc]
            (1,),
        )
        for name, work in (("read", dctafd.read), ("prepare", dctafd.prepare))
    ]


def turn_seconds(
    work: Callable[[Photo], Any],
    photo: Photo,
    calls: int,
    pool: ThreadPoolExecutor | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the seconds a photo that `calls` calls take, spread over the pool's threads if there is one."""
    start = clock()
    if pool is None:
        for _ in range(calls):
            work(photo)
    else:
        for done in [pool.submit(work, photo) for _ in range(calls)]:
            done.result()
    return (clock() - start) / calls


def measure(contest: Contest, photo: Photo, threads: int, seconds: float, cpu_time: bool) -> Measurement:
    """Let both sides take turns for about `seconds`, at least five turns each."""
    clock = time.process_time if cpu_time and threads == 1 else time.perf_counter
    sides = contest.ours, contest.theirs
    calls = []
    for side in sides:
        side(photo)
        calls.append(max(int(TURN_SECONDS / turn_seconds(side, photo, 1)), 1) * threads)
    times: list[tuple[float, float]] = []
    with ThreadPoolExecutor(threads) as executor:
        pool = executor if threads > 1 else None
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            ours = turn_seconds(contest.ours, photo, calls[0], pool, clock)
            times.append((ours, turn_seconds(contest.theirs, photo, calls[1], pool, clock)))
    return summary(contest.name, photo.megapixels, photo.quality, threads, times)


def summary(
    name: str, megapixels: float | None, quality: int | None, threads: int, times: list[tuple[float, float]]
) -> Measurement:
    """Reduce turns of (ours, theirs) in seconds to their medians and the ratios' quartiles."""
    turns = np.array(times)
    low, middle, high = np.percentile(turns[:, 1] / turns[:, 0], (25, 50, 75))
    ours, theirs = np.median(turns, axis=0)
    return Measurement(
        name, megapixels, quality, threads, float(ours), float(theirs), float(middle),
        (float(low), float(high)), len(turns),
    )  # fmt: skip


def measure_dataset_stats(photo: Photo, seconds: float, cpu_time: bool) -> Measurement:
    """Statistics of a folder of equal photos, one process and thread, against jpeglib and NumPy."""
    clock = time.process_time if cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        for index in range(DATASET_FILES):
            Path(folder, f"{index}.jpg").write_bytes(photo.data)
        sides = (lambda _: dataset_statistics(folder), lambda _: directory_sums(folder))
        times: list[tuple[float, float]] = []
        end = time.perf_counter() + 4 * seconds
        sides[0](photo)
        while time.perf_counter() < end or len(times) < 3:
            ours, theirs = (turn_seconds(side, photo, 1, clock=clock) / DATASET_FILES for side in sides)
            times.append((ours, theirs))
    return summary("dataset-stats / jpeglib + NumPy", photo.megapixels, photo.quality, 1, times)


def cold_starts(photo: Photo) -> dict[str, float]:
    """Return the seconds of a process's first `prepare`: kernels compiled, and kernels from the cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}

        def first_call() -> float:
            command = [sys.executable, "-c", COLD_RUN, photo.path]
            return float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)

        compiled = first_call()
        return {
            "first prepare, kernels compiled": compiled,
            "first prepare, kernels cached": float(np.median([first_call() for _ in range(5)])),
        }


def make_photos(arguments: argparse.Namespace, folder: Path) -> Iterator[Photo]:
    """Make one photo a size and quality."""
    sizes = SIZES[:2] if arguments.quick else SIZES
    for megapixels in sizes:
        pixels = (
            enlarged_photo(arguments.images, megapixels) if arguments.images else synthetic_photo(megapixels)
        )
        for quality in (25, 90) if arguments.quick else QUALITIES:
            yield compressed(pixels, megapixels, quality, folder, restart_marker_rows=int(arguments.restarts))


def show(measurements: list[Measurement], starts: dict[str, float], console: Console) -> None:
    """Print the tables."""
    table = Table("contest", "MP", "quality", "threads", "dctafd ms", "other ms", "ratio", "middle half")
    previous = None
    for m in measurements:
        if previous not in (None, m.contest):
            table.add_section()
        previous = m.contest
        table.add_row(
            m.contest, f"{m.megapixels:g}", str(m.quality), str(m.threads), f"{m.ours_seconds * 1e3:.2f}",
            f"{m.theirs_seconds * 1e3:.2f}", f"{m.ratio:.2f}",
            f"{m.ratio_quartiles[0]:.2f} - {m.ratio_quartiles[1]:.2f}",
        )  # fmt: skip
    console.print(table)
    for name, seconds in starts.items():
        console.print(f"{name}: {seconds:.2f} s")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, two qualities")
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="tile these photos instead of synthetic ones"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each row (default 1)")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="on a busy machine: count processor time where one thread works",
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="contests whose name contains this")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="one of the numbers of threads only")
    parser.add_argument("--restarts", action="store_true", help="two threads with one photo against one only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements")
    arguments = parser.parse_args()
    if arguments.restarts and arguments.cpu_time:
        parser.error("--restarts is about the clock, not about processor time")
    console = Console(width=130 if not sys.stdout.isatty() else None)
    torch.set_num_threads(1)
    jpeglib.version.set("turbo210")
    with tempfile.TemporaryDirectory() as folder:
        photos = list(make_photos(arguments, Path(folder)))
        measurements = [
            measure(contest, photo, threads, arguments.seconds, arguments.cpu_time)
            for contest in (contests_of_threads() if arguments.restarts else contests())
            if arguments.only in contest.name
            for threads in contest.threads
            if arguments.threads in (None, threads)
            for photo in photos
        ]
        starts = {}
        if arguments.only in "dataset-stats" and not arguments.restarts:
            small = [photo for photo in photos if photo.megapixels == 0.2]
            measurements += [
                measure_dataset_stats(photo, arguments.seconds, arguments.cpu_time) for photo in small
            ]
        if not arguments.only and not arguments.restarts:
            starts = cold_starts(photos[0])
    show(measurements, starts, console)
    if arguments.json:
        record = {
            **provenance(),
            "environment": environment(),
            "rows": [asdict(measurement) for measurement in measurements],
            "seconds": starts,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
