"""Check that a directory, archives and URLs of the same photos agree, and that no archive ends a run.

    python -m tools.checks.check_archives --images 2000 ../shared/images/eval ../shared/images/caltech101
    python -m tools.checks.check_archives --mutations 10000
    python -m tools.checks.check_archives --flat 20000

First: photos come from the directories that are named; one in a hundred is cut off after 100 bytes, one in a
hundred replaced by a GIF's first bytes, and each of these has to be in the records with its error. One in
fifty has a hard and a symbolic link. The URLs are those of a server on 127.0.0.1. Second: archives (zip, tar,
tar.gz, tar.zst) with spoiled headers and data, 500 in one run that is killed and resumed. Without --model a
network of a few hundred weights answers. Third: the most memory that a quarter of so many photos, and all of
them, take from a tar behind a URL.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click

from dctafd.batch.sources import iter_sources
from tests.support.archive_files import tar_bytes
from tests.support.http_server import Behaviour, http_server
from tests.support.tiny_classifier import photo
from tools.checks.spoiled_archives import check_spoiled_archives

ROOT = Path(__file__).resolve().parents[2]
TINY = "tests.support.tiny_cli"
_FLAT_MB = 50  # what two runs of the same length differ by


def members(directories: tuple[str, ...], images: int) -> list[tuple[str, bytes]]:
    """Return names and bytes of the first `images` photos, two in a hundred of them spoilt."""
    chosen: list[tuple[str, bytes]] = []
    for number, item in zip(range(images), iter_sources(directories), strict=False):
        data = item.read()
        if number % 100 == 33:
            data = data[:100]
        elif number % 100 == 66:
            data = b"GIF89a"
        chosen.append((f"{number:05d}.jpg", data))
    return chosen


def write_all(folder: Path, photos: list[tuple[str, bytes]]) -> list[Path]:
    """Write the photos, and links to some, as a directory, a tar (with links) and a zip (with the files)."""
    directory = folder / "photos"
    directory.mkdir()
    for number, (name, data) in enumerate(photos):
        (directory / name).write_bytes(data)
        if number % 50 == 0:
            os.link(directory / name, directory / f"{number:05d}-hard.jpg")
            (directory / f"{number:05d}-soft.jpg").symlink_to(name)
    with (
        tarfile.open(folder / "photos.tar", "w") as tar,
        zipfile.ZipFile(folder / "photos.zip", "w") as archive,
    ):
        for name in (Path(item.source).name for item in iter_sources([str(directory)])):
            tar.add(directory / name, name)
            archive.write(directory / name, name)
    return [directory, folder / "photos.tar", folder / "photos.zip"]


def records(source: Path | str, module: str, options: tuple[str, ...]) -> list[dict[str, Any]]:
    """Classify a source; return its records with the photo's name for source and member."""
    command = [sys.executable, "-m", module, "classify", str(source), "--format", "jsonl", "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 1:
        raise click.ClickException(f"exit code {done.returncode} instead of 1: {done.stderr}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [{**r, "source": None, "member": Path(r["member"] or r["source"]).name} for r in found]


def check_agreement(directories: tuple[str, ...], images: int, module: str, options: tuple[str, ...]) -> bool:
    """Compare the records of a directory, a tar and a zip, on disk and behind URLs."""
    with tempfile.TemporaryDirectory() as name:
        photos = members(directories, images)
        places = write_all(Path(name), photos)
        served = {place.name: place.read_bytes() for place in places[1:]}
        with http_server(Behaviour(served)) as url:
            sources = [*places, *(url + name for name in served)]
            directory, tar, *others = (records(source, module, options) for source in sources)
    wanted = {
        f"{number:05d}.jpg": kind
        for number in range(len(photos))
        for position, kind in ((33, "CorruptJpegError"), (66, "NotAJpegError"))
        if number % 100 == position
    }
    named = {record["member"]: record["error"]["type"] for record in tar if record["error"]}
    links = 2 * len(range(0, len(photos), 50))
    same = all(found == directory for found in (tar, *others))
    counts = ", ".join(str(len(found)) for found in (directory, tar, *others))
    print(f"{counts} records of {len(photos)} photos and {links} links")
    print("directory, tar, zip, tar and zip behind URLs:", "the same" if same else "DIFFERENT")
    print(f"{len(wanted)} spoilt members:", "each named" if named == wanted else f"NOT as expected: {named}")
    return same and named == wanted and len(tar) == len(photos) + links


def check_memory(images: int) -> bool:
    """Classify a quarter of `images` tiny photos from a tar behind a URL, then all; compare the memory."""
    photos = [photo(number) for number in range(100)]
    peaks = []
    for count in (images // 4, images):
        tar = tar_bytes([(f"{number:06d}.jpg", photos[number % 100]) for number in range(count)])
        with http_server(Behaviour({"photos.tar": tar})) as url, tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "o.jsonl"
            command = [sys.executable, "-m", TINY, "classify", f"{url}photos.tar", "-q", "-o", str(output)]
            process = subprocess.Popen(command, cwd=ROOT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            lines = len(output.read_text().splitlines()) if process.returncode == 0 else 0
        peaks.append(usage.ru_maxrss / 1024)
        print(f"{lines} records of {count} photos, at most {peaks[-1]:.0f} MB", flush=True)
        if lines != count:
            return False
    return peaks[1] < peaks[0] + _FLAT_MB


@click.command()
@click.argument("directories", nargs=-1, type=click.Path(exists=True, file_okay=False))
@click.option("--images", default=2000, show_default=True)
@click.option("--mutations", default=0, show_default=True, help="Spoiled archives to make runs over.")
@click.option("--flat", default=0, show_default=True, help="Photos from a URL, whose memory is measured.")
@click.option("--seed", default=0, show_default=True)
@click.option("--model", help="A name of `dctafd models`. [default: the tests' tiny network]")
@click.option("--weights", type=click.Path(exists=True))
def main(
    directories: tuple[str, ...],
    images: int,
    mutations: int,
    flat: int,
    seed: int,
    model: str | None,
    weights: str | None,
) -> None:
    """Compare the records of a directory, a tar and a zip; classify spoiled archives."""
    good = True
    if directories:
        chosen = {"--model": model, "--weights": weights}
        options = tuple(text for pair in chosen.items() if pair[1] is not None for text in pair)
        good = check_agreement(directories, images, "dctafd" if model else TINY, options)
    if mutations:
        with tempfile.TemporaryDirectory() as name:
            good = check_spoiled_archives(Path(name), mutations, seed) and good
    if flat:
        good = check_memory(flat) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
