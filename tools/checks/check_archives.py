"""Check that no archive ends a run.

    python -m tools.checks.check_archives --mutations 10000

Archives (zip, tar, tar.gz, tar.zst) have spoiled headers and data, 500 in one run that is killed and resumed;
each has to leave a record, or its members to be counted as passed over. A network of a few hundred weights
answers. That a directory, archives and URLs of the same photos agree is tests/batch/test_places_agree.py.
"""

import json
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dctafd.batch.run import run_to_file
from dctafd.batch.run_options import RunOptions
from dctafd.batch.sources import iter_sources, plan_sources
from dctafd.config import Limits
from dctafd.inference.stream import Step
from dctafd.inputs.source_items import Skipped
from tests.support.archive_mutations import KINDS, mutated_archive
from tests.support.tiny_classifier import photo, tiny_classifier

_ARCHIVES_PER_RUN = 500
_SECONDS_PER_RUN = 300


class _KilledError(Exception):
    """Stands for the end of the process."""


def check_spoiled_archives(folder: Path, mutations: int, seed: int) -> bool:
    """Make runs of 500 spoiled archives, each killed once and resumed; say what became of them."""
    rng = random.Random(seed)
    names = ("a.jpg", "b.jpg", f"{'d' * 60}/{'x' * 60}.jpg")
    members = [(f"photos/{name}", photo(number)) for number, name in enumerate(names)]
    seen: Counter[str] = Counter()
    started = time.monotonic()
    for first in range(0, mutations, _ARCHIVES_PER_RUN):
        paths = []
        for number in range(first, min(first + _ARCHIVES_PER_RUN, mutations)):
            kind = KINDS[number % len(KINDS)]
            paths.append(folder / f"{number:06d}.{kind}")
            paths[-1].write_bytes(mutated_archive(kind, members, rng))
        with _no_longer_than(_SECONDS_PER_RUN):
            seen += _run(paths, folder / f"{first}.jsonl", rng)
        for path in paths:
            path.unlink()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{mutations} spoiled archives in {time.monotonic() - started:.0f} s, at most {memory:.0f} MB")
    for what, count in sorted(seen.items()):
        print(f"  {count:6d}  {what}")
    return seen["archives with nothing to show for it"] == 0


def _run(paths: list[Path], output: Path, rng: random.Random) -> Counter[str]:
    """Classify archives in one run, which is killed and resumed; return what became of them."""
    plan = plan_sources(map(str, paths))
    options = RunOptions(
        top_k=1, batch_size=8, jobs=1, limits=Limits(), stop_on_error=False, output_format="jsonl"
    )
    classifier = tiny_classifier()
    left = iter(range(rng.randrange(1, len(paths))))

    def kill(step: Step) -> None:
        if next(left, None) is None:
            raise _KilledError

    try:
        run_to_file(classifier, plan, options, output, on_step=kill)
    except _KilledError:
        run_to_file(classifier, plan, options, output, resume=True)
    records: dict[str, list[Any]] = {str(path): [] for path in paths}
    for line in output.read_text().splitlines():
        record = json.loads(line)
        records[record["source"]].append(record["error"] and record["error"]["type"])
    return Counter(_outcome(path, errors) for path, errors in records.items())


def _outcome(path: str, errors: list[str | None]) -> str:
    if "ArchiveError" in errors:
        return "archives with an ArchiveError"
    if any(errors):
        return "archives with another error"
    if errors:
        return "archives without an error"
    skipped = Skipped()
    list(iter_sources([path], skipped))
    if skipped != Skipped():
        return "archives whose members were passed over and counted"
    click.echo(f"{path}: no record", err=True)
    return "archives with nothing to show for it"


@contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    """End a run that hangs."""

    def hangs(number: int, frame: object) -> None:
        raise TimeoutError(f"a run of {_ARCHIVES_PER_RUN} archives took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@click.command()
@click.option("--mutations", default=10_000, show_default=True, help="Spoiled archives to make runs over.")
@click.option("--seed", default=0, show_default=True)
def main(mutations: int, seed: int) -> None:
    """Classify spoiled archives."""
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if check_spoiled_archives(Path(name), mutations, seed) else 1)


if __name__ == "__main__":
    main()
