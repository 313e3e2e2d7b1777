"""Feed spoiled JPEG files to dctafd's reader and report what crashes, hangs or bloats it.

    python -m tools.checks.fuzz_read --mutations 10000            # seeded mutations of generated files
    python -m tools.checks.fuzz_read --mutations 2000 a.jpg b/    # of given files and directories
    python -m tools.checks.fuzz_read --atheris -- -runs=100000    # coverage-guided, with the package atheris

With --mutations the files are read in a child process. A child that dies (crash), is silent for longer than
--seconds (hang) or whose memory grows by more than --megabytes (bloat) is counted, its file is kept in
--keep, and a new child goes on with the next file. Any exception other than a DctafdError counts as a crash.
Exit code 1 if there was any finding.
"""

import argparse
import collections
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.jpeg_files import all_kinds
from tests.support.mutations import mutated

MAX_PIXELS = 4_000_000


def read_every_way(data: bytes) -> str:
    """Read `data` whole, strictly and in part; return the outcome's name."""
    import numpy as np

    import dctafd
    from dctafd.config import Limits
    from dctafd.errors import CorruptJpegError, DctafdError
    from dctafd.jpeg.coefficients import JpegHeader
    from dctafd.jpeg.partial import ComponentPlan
    from dctafd.jpeg.reader import read_planned

    def lower_half(header: JpegHeader) -> list[ComponentPlan]:
        return [
            ComponentPlan(
                4,
                (part.block_rows // 2, part.block_rows, 0, part.block_columns),
                np.arange(0, part.block_rows, 3),
                np.arange(0, part.block_columns, 3),
            )
            for part in header.components
        ]

    try:
        jpeg = dctafd.read(data, engine="numba", max_pixels=MAX_PIXELS)
    except DctafdError as error:
        return type(error).__name__
    dctafd.decode(jpeg)
    read_planned(data, lower_half, Limits(MAX_PIXELS), "numba")
    try:
        dctafd.read(data, engine="numba", max_pixels=MAX_PIXELS, strict=True)
    except CorruptJpegError:
        return "read, with damage"
    return "read, with warnings" if jpeg.warnings else "read clean"


def load_seeds(paths: list[str]) -> list[bytes]:
    """Return the bytes of files and of the files in directories; generated files where none are given."""
    if not paths:
        return list(all_kinds().values())
    files = [
        path for name in paths for path in ([Path(name)] if Path(name).is_file() else Path(name).rglob("*"))
    ]
    return [path.read_bytes() for path in sorted(files) if path.is_file()]


def work(connection: Connection, seeds: list[bytes], first: int, last: int, seed: int) -> None:
    """Child process: read mutation `first` to `last`, telling the parent before and after each."""
    for data in seeds[:40]:
        read_every_way(data)  # compiles the kernels and shows what memory valid files take
    connection.send(("ready", peak_bytes()))
    for number in range(first, last):
        connection.send(("start", number))
        try:
            outcome = read_every_way(mutated(seeds[number % len(seeds)], seed + number))
        except Exception as error:
            outcome = f"crash: {type(error).__name__}: {error}"
        connection.send(("done", (outcome, peak_bytes())))
    connection.send(("end", None))


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_mutations(options: argparse.Namespace) -> int:
    """Supervise children over all mutations; return the number of findings."""
    seeds = load_seeds(options.files)
    outcomes: collections.Counter[str] = collections.Counter()
    findings: list[str] = []
    number, slowest, started = 0, 0.0, time.monotonic()
    while number < options.mutations:
        parent, child = multiprocessing.Pipe()
        arguments = (child, seeds, number, options.mutations, options.seed)
        process = multiprocessing.get_context("spawn").Process(target=work, args=arguments, daemon=True)
        process.start()
        child.close()
        number, slowest, finding = supervise(parent, process, options, outcomes, number, slowest)
        if finding:
            findings.append(finding)
            keep_file(options.keep, seeds, number - 1, options.seed)
    print(f"{options.mutations} mutations of {len(seeds)} files in {time.monotonic() - started:.0f} s")
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome}")
    print(f"slowest file {slowest:.2f} s; findings: {len(findings)}")
    for finding in findings:
        print(f"  {finding}")
    return len(findings)


def supervise(
    connection: Connection,
    process: multiprocessing.process.BaseProcess,
    options: argparse.Namespace,
    outcomes: collections.Counter[str],
    number: int,
    slowest: float,
) -> tuple[int, float, str | None]:
    """Follow one child to its end or first finding; return the next number, the slowest time, the finding."""
    baseline, began, patience = 0, time.monotonic(), 120.0
    finding = None
    while finding is None:
        try:
            if not connection.poll(patience):
                finding = f"hang: mutation {number} took more than {patience:.0f} s"
                break
            kind, value = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join(5)
            finding = f"crash: mutation {number}, exit code {process.exitcode}"
            break
        if kind == "ready":
            baseline, patience = value, options.seconds
        elif kind == "start":
            number, began = value, time.monotonic()
        elif kind == "done":
            outcome, peak = value
            outcomes[outcome.split(":")[0]] += 1
            slowest = max(slowest, time.monotonic() - began)
            number += 1
            if outcome.startswith("crash"):
                finding = f"{outcome} (mutation {number - 1})"
            elif peak - baseline > options.megabytes * 2**20:
                finding = f"bloat: {(peak - baseline) >> 20} MB over valid files (mutation {number - 1})"
        else:
            process.join()
            return number, slowest, None
    process.kill()
    process.join()
    if finding.startswith(("hang", "crash: mutation")):
        number += 1
    return number, slowest, finding


def keep_file(folder: str, seeds: list[bytes], number: int, seed: int) -> None:
    """Write the file of a finding, to look at it later."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / f"mutation_{number}.jpg").write_bytes(mutated(seeds[number % len(seeds)], seed + number))


def run_atheris(arguments: list[str]) -> None:
    """Hand over to atheris (libFuzzer)."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris, or use --mutations, which needs nothing")
    with atheris.instrument_imports(include=["dctafd.jpeg"]):
        import dctafd.jpeg.reader  # noqa: F401
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(all_kinds().values()):
            (Path(corpus) / f"{number}").write_bytes(data[2:])
        atheris.Setup([sys.argv[0], *arguments, corpus], lambda data: read_every_way(b"\xff\xd8" + data))
        atheris.Fuzz()


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", help="files and directories to mutate; by default generated ones")
    parser.add_argument("--mutations", type=int, default=1000, help="how many mutated files to read")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seconds", type=float, default=10, help="time allowed for one file")
    parser.add_argument("--megabytes", type=int, default=256, help="memory allowed above that of valid files")
    parser.add_argument("--keep", default="/tmp/dctafd_fuzz", help="folder for files of findings")
    parser.add_argument("--atheris", action="store_true", help="use atheris; its options follow --")
    options = parser.parse_args()
    if options.atheris:
        run_atheris(options.files)
        return 0
    return 1 if run_mutations(options) else 0


if __name__ == "__main__":
    sys.exit(main())
