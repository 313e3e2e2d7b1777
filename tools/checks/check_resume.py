"""Kill `dctafd classify` at random moments, resume it, and compare with an undisturbed run, many times.

    python -m tools.checks.check_resume --rounds 20
    python -m tools.checks.check_resume --rounds 10 --http
    python -m tools.checks.check_resume --rounds 10 --s3
    python -m tools.checks.check_resume --rounds 6 --model efficientnet_lite0 --images 300

Each round makes a run of its own in one of jsonl, csv and Parquet, kills it (SIGKILL) after a random time
within the length of the undisturbed run's work, `--kills` times, and lets the next process finish it with
`--resume`. The file has to be the undisturbed run's to the byte. The photos are a tar of synthetic ones, with
damaged and foreign members among them; without --model a network of a few hundred weights answers. With
--http they come from a web server on this machine; with --s3 from moto's S3 server, and the results, the
manifest and the parts go there.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import fsspec
import numpy as np
from PIL import Image

from tests.support.archive_files import write_tar
from tests.support.http_server import Behaviour, http_server
from tests.support.jpeg_files import encode
from tests.support.s3_server import made_bucket, s3_server
from tools.places import ROOT

FORMATS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True)
class Place:
    """Where outputs go: a folder, or a bucket of the S3 server that the environment names.

    Attributes:
        system: fsspec's file system.
        root: folder or bucket in it.
        scheme: what an address begins with.
    """

    system: Any
    root: str
    scheme: str = ""

    def output(self, name: str) -> str:
        """Return what -o is given."""
        return f"{self.scheme}{self.root}/{name}"

    def names(self, name: str) -> list[str]:
        """Return the files that begin with a name, those in folders, too."""
        found = (path.removeprefix(f"{self.root}/") for path in self.system.find(self.root))
        return sorted(path for path in found if path.startswith(name))

    def read(self, name: str) -> bytes:
        """Return a file's bytes, b"" where there is none."""
        try:
            found: bytes = self.system.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return b""
        return found

    def state(self, name: str) -> str:
        """Return how far a killed run had come."""
        parts = [self.read(part) for part in self.names(f"{name}.partial")]
        return f"{len(parts)} parts, {sum(map(len, parts))} bytes"


@dataclass(frozen=True)
class Command:
    """`dctafd classify` with what every run of this check has in common."""

    words: tuple[str, ...]
    place: Place

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        """Start a run that writes the output of a name."""
        command = [sys.executable, "-m", *self.words, "-q", "-o", self.place.output(name), *more]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT)


def synthetic_tar(path: Path, images: int, seed: int) -> Path:
    """Write a tar of small photos; every 100th is damaged, every 101st is no JPEG file."""
    rng = np.random.default_rng(seed)

    def photo(number: int) -> bytes:
        pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((320, 240)))
        data = encode(pixels, int(rng.integers(5, 96)))
        if number % 100 == 50:
            return data[: len(data) // 2]
        return b"GIF89a" if number % 101 == 30 else data

    return write_tar(path, [(f"{number:06d}.jpg", photo(number)) for number in range(images)])


def wait_for_work(process: subprocess.Popen[bytes], place: Place, name: str) -> None:
    """Wait until a run has written its manifest anew, or has ended."""
    before = place.read(f"{name}.run.json")
    while process.poll() is None and place.read(f"{name}.run.json") in (b"", before):
        time.sleep(0.02)


def undisturbed(command: Command, name: str) -> float:
    """Make a whole run; return the seconds that it worked, without loading the libraries."""
    process = command.start(name)
    wait_for_work(process, command.place, name)
    started = time.monotonic()
    if process.wait() not in (0, 1):
        raise click.ClickException("the undisturbed run failed")
    return time.monotonic() - started


def killed_and_resumed(command: Command, name: str, seconds: float, kills: int) -> tuple[int, list[str]]:
    """Kill a run `kills` times and finish it; return the last exit code and what each kill hit."""
    hits = []
    for number in range(kills):
        process = command.start(name, *(["--resume"] if number else []))
        if random.random() < 0.9:
            wait_for_work(process, command.place, name)
        try:
            process.wait(random.uniform(0, seconds))
            hits.append("the end")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            hits.append(command.place.state(name))
    return command.start(name, "--resume").wait(), hits


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Runs to disturb; the formats take turns.")
@click.option("--kills", default=2, show_default=True, help="Kills in each round.")
@click.option("--images", default=1500, show_default=True, help="Photos.")
@click.option("--model", help="A name of `dctafd models`. [default: the tests' tiny network]")
@click.option("--seed", default=0, show_default=True)
@click.option("--http", is_flag=True, help="Serve the photos on 127.0.0.1 and read them from there.")
@click.option("--s3", is_flag=True, help="Read from, and write to, moto's S3 server on 127.0.0.1.")
def main(rounds: int, kills: int, images: int, model: str | None, seed: int, http: bool, s3: bool) -> None:
    """Check that killed and resumed runs give the undisturbed run's file."""
    random.seed(seed)
    os.environ.setdefault("TINY_CHECKPOINTS", "0.1")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        source = str(synthetic_tar(folder / "photos.tar", images, seed))
        place = Place(fsspec.filesystem("file"), str(folder))
        if http:
            contents = {"photos.tar": Path(source).read_bytes()}
            source = stack.enter_context(http_server(Behaviour(contents))) + "photos.tar"
        elif s3:
            os.environ.update(stack.enter_context(s3_server()))
            place = Place(made_bucket("check"), "check", "s3://")
            place.system.put_file(source, "check/photos.tar")
            source = place.output("photos.tar")
        module = "dctafd" if model else "tests.support.tiny_cli"
        command = Command((module, "classify", source, *(("--model", model) if model else ())), place)
        seconds = {}
        for kind in FORMATS:
            seconds[kind] = undisturbed(command, f"whole.{kind}")
            print(f"undisturbed {kind}: {seconds[kind]:.1f} s", flush=True)
        wrong = 0
        for number in range(rounds):
            kind = FORMATS[number % len(FORMATS)]
            output = f"round{number}.{kind}"
            code, hits = killed_and_resumed(command, output, seconds[kind], kills)
            same = code in (0, 1) and place.read(output) == place.read(f"whole.{kind}")
            tidy = place.names(output) == [output]
            wrong += not (same and tidy)
            print(f"round {number + 1:2d} {kind:7s} killed at {', '.join(hits)}: "
                  f"{'the same file' if same and tidy else 'DIFFERENT'}", flush=True)  # fmt: skip
    print(f"{rounds - wrong} of {rounds} runs gave the same file")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
