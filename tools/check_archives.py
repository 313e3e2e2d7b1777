"""Check that a directory, a tar and a zip with the same photos give the same records, bad members named.

    python tools/check_archives.py --images 2000 ../shared/images/eval ../shared/images/caltech101

One photo in a hundred is cut off after 100 bytes and one in a hundred replaced by a GIF's first bytes; each
of these has to be in the records with its error. Photos come from the directories that are named.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click

from dctafd.batch.sources import iter_sources


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
    """Write the photos as a directory, a tar and a zip."""
    directory = folder / "photos"
    directory.mkdir()
    for name, data in photos:
        (directory / name).write_bytes(data)
    with (
        tarfile.open(folder / "photos.tar", "w") as tar,
        zipfile.ZipFile(folder / "photos.zip", "w") as archive,
    ):
        for name, _ in photos:
            tar.add(directory / name, name)
            archive.write(directory / name, name)
    return [directory, folder / "photos.tar", folder / "photos.zip"]


def records(source: Path, options: tuple[str, ...]) -> list[dict[str, Any]]:
    """Classify a source; return its records with the photo's name for source and member."""
    command = [sys.executable, "-m", "dctafd", "classify", str(source), "--format", "jsonl", "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 1:
        raise click.ClickException(f"exit code {done.returncode} instead of 1: {done.stderr}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [{**r, "source": None, "member": Path(r["member"] or r["source"]).name} for r in found]


@click.command()
@click.argument("directories", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--images", default=2000, show_default=True)
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--weights", type=click.Path(exists=True))
def main(directories: tuple[str, ...], images: int, model: str, weights: str | None) -> None:
    """Compare the records of a directory, a tar and a zip."""
    options = ("--model", model, *(("--weights", weights) if weights else ()))
    with tempfile.TemporaryDirectory() as name:
        photos = members(directories, images)
        directory, tar, archive = (records(place, options) for place in write_all(Path(name), photos))
    wanted = {
        f"{number:05d}.jpg": kind
        for number in range(len(photos))
        for position, kind in ((33, "CorruptJpegError"), (66, "NotAJpegError"))
        if number % 100 == position
    }
    named = {record["member"]: record["error"]["type"] for record in tar if record["error"]}
    print(f"{len(directory)}, {len(tar)} and {len(archive)} records of {len(photos)} photos")
    print("directory, tar and zip:", "the same" if directory == tar == archive else "DIFFERENT")
    print(f"{len(wanted)} spoilt members:", "each named" if named == wanted else f"NOT as expected: {named}")
    sys.exit(0 if directory == tar == archive and named == wanted and len(tar) == len(photos) else 1)


if __name__ == "__main__":
    main()
