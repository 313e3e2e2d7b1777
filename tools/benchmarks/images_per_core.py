"""Images per second of one core's time in `dctafd classify`: what costs on a cluster are reckoned from.

    python -m tools.benchmarks.images_per_core ../shared/images/native -o docs/results/images_per_core.json

A run over the photos and one over the same photos several times differ by the work alone: what both take to
start falls out. CPU seconds (user and system, all threads) are counted, not the clock, so that what else the
machine does matters little.
"""

import resource
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import click

from dctafd.batch.sources import iter_sources
from tests.support.archive_files import tar_bytes
from tools.places import ROOT
from tools.provenance import write_figures


def cpu_seconds(command: list[str]) -> float:
    """Run a command; return the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        raise click.ClickException(f"{' '.join(command)} ended with {done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.argument("photos", type=click.Path(exists=True, file_okay=False))
@click.option("--times", default=4, show_default=True, help="How often the longer run has each photo.")
@click.option("--limit", default=100, show_default=True, help="Photos in the shorter run.")
@click.option("--runtime", "runtimes", multiple=True, default=["openvino", "torch"], show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def main(photos: str, times: int, limit: int, runtimes: tuple[str, ...], output: Path) -> None:
    """Measure, and write the figures as JSON."""
    found = islice(iter_sources([photos]), limit)
    members = [(Path(item.source).name, item.read()) for item in found]
    rows = [row(members, times, runtime, afd) for runtime in runtimes for afd in ("auto", "off")]
    write_figures(output, rows, model="efficientnet_lite0", photos=f"{len(members)} of {photos}")


def row(members: list[tuple[str, bytes]], times: int, runtime: str, afd: str) -> dict[str, str | float]:
    """Return what one runtime does."""
    options = ["--runtime", runtime, "--afd", afd, "--jobs", "1", "-q", "--format", "jsonl"]
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for repeats in (1, 1, times):  # the first compiles and exports
            path = Path(folder) / f"{repeats}.tar"
            path.write_bytes(tar_bytes(members * repeats))
            command = [sys.executable, "-m", "dctafd", "classify", str(path), *options]
            seconds.append(cpu_seconds(command))
            print(f"{len(members) * repeats} photos: {seconds[-1]:.1f} CPU seconds", flush=True)
    _, short, long = seconds
    images = len(members) * (times - 1)
    return {
        "runtime": runtime,
        "afd": afd,
        "bytes_per_photo": round(sum(len(data) for _, data in members) / len(members)),
        "start_cpu_seconds": round(short - (long - short) / (times - 1), 1),
        "images_per_core_second": round(images / (long - short), 1),
    }


if __name__ == "__main__":
    main()
