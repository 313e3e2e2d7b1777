"""Kill `dctafd classify` at random moments, resume it, and compare with an undisturbed run, many times.

    python -m tools.checks.check_resume --rounds 20
    python -m tools.checks.check_resume --rounds 10 --http
    python -m tools.checks.check_resume --model resnet18 --weights resnet18.pth --images 2000 photos/

Each round makes a run of its own in one of jsonl, csv and Parquet, kills it (SIGKILL) after a random time
within the length of the undisturbed run's work, `--kills` times, and lets the next process finish it with
`--resume`. The file has to be the undisturbed run's to the byte. Without photos it makes a tar of synthetic
ones, with damaged and foreign members among them; without --model a network of a few hundred weights answers.
"""

import io
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from tests.support.http_server import Behaviour, http_server

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True)
class Command:
    """`dctafd classify` with what every run of this check has in common."""

    sources: tuple[str, ...]
    options: tuple[str, ...]
    module: str

    def start(self, output: Path, *more: str) -> subprocess.Popen[bytes]:
        """Start a run that writes to `output`."""
        command = [sys.executable, "-m", self.module, "classify", *self.sources, *self.options]
        return subprocess.Popen(
            [*command, "-q", "-o", str(output), *more], stderr=subprocess.DEVNULL, cwd=ROOT
        )


def synthetic_tar(path: Path, images: int, seed: int) -> None:
    """Write a tar of small photos; every 100th is damaged, every 101st is no JPEG file."""
    rng = np.random.default_rng(seed)
    with tarfile.open(path, "w") as archive:
        for number in range(images):
            pixels = rng.integers(0, 256, (12, 16, 3), np.uint8)
            buffer = io.BytesIO()
            photo = Image.fromarray(pixels).resize((320, 240))
            photo.save(buffer, "JPEG", quality=int(rng.integers(5, 96)))
            data = buffer.getvalue()
            if number % 100 == 50:
                data = data[: len(data) // 2]
            elif number % 101 == 30:
                data = b"GIF89a"
            header = tarfile.TarInfo(f"{number:06d}.jpg")
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


def wait_for_work(process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until a run has written its manifest anew, or has ended."""
    manifest = output.with_name(output.name + ".run.json")
    before = manifest.stat().st_mtime_ns if manifest.exists() else 0
    while process.poll() is None and not (manifest.exists() and manifest.stat().st_mtime_ns > before):
        time.sleep(0.01)


def undisturbed(command: Command, output: Path) -> float:
    """Make a whole run; return the seconds that it worked, without loading the libraries."""
    process = command.start(output)
    wait_for_work(process, output)
    started = time.monotonic()
    if process.wait() not in (0, 1):
        raise click.ClickException("the undisturbed run failed")
    return time.monotonic() - started


def killed_and_resumed(command: Command, output: Path, seconds: float, kills: int) -> tuple[int, list[str]]:
    """Kill a run `kills` times and finish it; return the last exit code and what each kill hit."""
    hits = []
    for number in range(kills):
        process = command.start(output, *(["--resume"] if number else []))
        if random.random() < 0.9:
            wait_for_work(process, output)
        try:
            process.wait(random.uniform(0, seconds))
            hits.append("the end")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            hits.append(state(output))
    return command.start(output, "--resume").wait(), hits


def state(output: Path) -> str:
    """Return how far a killed run had come."""
    partial = output.with_name(output.name + ".partial")
    if partial.is_dir():
        return f"{len(list(partial.iterdir()))} parts"
    return f"{partial.stat().st_size} bytes" if partial.exists() else "nothing yet"


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(exists=True))
@click.option("--rounds", default=20, show_default=True, help="Runs to disturb; the formats take turns.")
@click.option("--kills", default=2, show_default=True, help="Kills in each round.")
@click.option("--images", default=1500, show_default=True, help="Synthetic photos, where no SOURCE is named.")
@click.option("--model", help="A name of `dctafd models`. [default: the tests' tiny network]")
@click.option("--weights", type=click.Path(exists=True))
@click.option("--afd", default="auto", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--http", is_flag=True, help="Serve the sources on 127.0.0.1 and read them from there.")
def main(
    sources: tuple[str, ...],
    rounds: int,
    kills: int,
    images: int,
    model: str | None,
    weights: str | None,
    afd: str,
    seed: int,
    http: bool,
) -> None:
    """Check that killed and resumed runs give the undisturbed run's file."""
    random.seed(seed)
    options = (
        *(("--model", model, "--afd", afd) if model else ()),
        *(("--weights", weights) if weights else ()),
    )
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        if not sources:
            synthetic_tar(folder / "photos.tar", images, seed)
            sources = (str(folder / "photos.tar"),)
        sources = tuple(str(Path(source).resolve()) for source in sources)
        if http:
            served = {Path(source).name: Path(source).read_bytes() for source in sources}
            url = stack.enter_context(http_server(Behaviour(served)))
            sources = tuple(url + name for name in served)
        command = Command(sources, options, "dctafd" if model else "tests.support.tiny_cli")
        seconds = {}
        for kind in FORMATS:
            seconds[kind] = undisturbed(command, folder / f"whole.{kind}")
            print(f"undisturbed {kind}: {seconds[kind]:.1f} s", flush=True)
        wrong = 0
        for number in range(rounds):
            kind = FORMATS[number % len(FORMATS)]
            output = folder / f"round{number}.{kind}"
            code, hits = killed_and_resumed(command, output, seconds[kind], kills)
            same = code in (0, 1) and output.read_bytes() == (folder / f"whole.{kind}").read_bytes()
            tidy = sorted(path.name for path in folder.glob(f"{output.name}*")) == [output.name]
            wrong += not (same and tidy)
            print(f"round {number + 1:2d} {kind:7s} killed at {', '.join(hits)}: "
                  f"{'the same file' if same and tidy else 'DIFFERENT'}", flush=True)  # fmt: skip
    print(f"{rounds - wrong} of {rounds} runs gave the same file")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
