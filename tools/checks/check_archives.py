"""Check that a directory, archives and URLs of the same photos agree, and that no archive ends a run.

    python -m tools.checks.check_archives --images 2000 ../shared/images/eval ../shared/images/caltech101
    python -m tools.checks.check_archives --mutations 10000
    python -m tools.checks.check_archives --flat 20000

First: photos come from the directories that are named; one in a hundred is cut off after 100 bytes, one in a
hundred replaced by a GIF's first bytes, and each of these has to be in the records with its error. One in
fifty has a hard and a symbolic link. The URLs are those of a web server and of moto's S3 on 127.0.0.1.
Second: archives (zip, tar, tar.gz, tar.zst) with spoiled headers and data, 500 in one run that is killed and
resumed. Without --model a network of a few hundred weights answers. Third: the memory that a run over a tar
behind a URL takes, tenth by tenth.
"""

import io
import json
import os
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pyarrow
from pyarrow import parquet

from dctafd.batch.run import run_to_stream
from dctafd.batch.run_options import RunOptions
from dctafd.batch.sources import iter_sources, plan_sources
from dctafd.config import Limits
from dctafd.inference.classifier import Classifier
from dctafd.inference.loading import load_classifier
from tests.support.archive_files import tar_bytes
from tests.support.http_server import Behaviour, http_server
from tests.support.s3_server import made_bucket, s3_server
from tests.support.tiny_classifier import photo, tiny_classifier
from tools.checks.memory_over_time import growth, report, watched
from tools.checks.spoiled_archives import check_spoiled_archives

ROOT = Path(__file__).resolve().parents[2]
TINY = "tests.support.tiny_cli"
_FLAT_MB = 30  # what a run's quarters differ by anyway
_ROW_GROUP = 256
_BATCH = 32


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
    """Write the photos, and links to some, as a directory, a tar (with links), a zip and a table (files)."""
    directory = folder / "photos"
    directory.mkdir()
    for number, (name, data) in enumerate(photos):
        (directory / name).write_bytes(data)
        if number % 50 == 0:
            os.link(directory / name, directory / f"{number:05d}-hard.jpg")
            (directory / f"{number:05d}-soft.jpg").symlink_to(name)
    names = [Path(item.source).name for item in iter_sources([str(directory)])]
    with (
        tarfile.open(folder / "photos.tar", "w") as tar,
        zipfile.ZipFile(folder / "photos.zip", "w") as archive,
    ):
        for name in names:
            tar.add(directory / name, name)
            archive.write(directory / name, name)
    rows = [{"bytes": (directory / name).read_bytes(), "path": name} for name in names]
    table = pyarrow.table({"image": rows, "number": range(len(rows))})
    parquet.write_table(table, folder / "photos.parquet", row_group_size=_ROW_GROUP)
    return [directory, *(folder / f"photos.{kind}" for kind in ("tar", "zip", "parquet"))]


def records(source: str, classifier: Classifier) -> list[dict[str, Any]]:
    """Classify a source; return its records with the photo's name for source and member."""
    options = RunOptions(
        top_k=5, batch_size=_BATCH, jobs=1, limits=Limits(), stop_on_error=False, output_format="jsonl"
    )
    text = io.StringIO()
    run_to_stream(classifier, plan_sources([source], 32 * _BATCH), options, text)
    found = [json.loads(line) for line in text.getvalue().splitlines()]
    return [{**r, "source": None, "member": Path(r["member"] or r["source"]).name} for r in found]


def check_agreement(directories: tuple[str, ...], images: int, classifier: Classifier) -> bool:
    """Compare the records of a directory, archives and a table, on disk, behind http:// and s3:// URLs."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        photos = members(directories, images)
        places = write_all(Path(name), photos)
        served = {place.name: place.read_bytes() for place in places[1:]}
        url = stack.enter_context(http_server(Behaviour(served)))
        os.environ.update(stack.enter_context(s3_server()))
        store = made_bucket("photos")
        for file, data in served.items():
            store.pipe(f"photos/{file}", data)
        sources = [*map(str, places), *(place + file for place in (url, "s3://photos/") for file in served)]
        found = {source: records(source, classifier) for source in sources}
    directory, tar = found[sources[0]], found[sources[1]]
    wanted = {
        f"{number:05d}.jpg": kind
        for number in range(len(photos))
        for position, kind in ((33, "CorruptJpegError"), (66, "NotAJpegError"))
        if number % 100 == position
    }
    named = {record["member"]: record["error"]["type"] for record in tar if record["error"]}
    links = 2 * len(range(0, len(photos), 50))
    print(f"{len(photos)} photos and {links} links")
    for source, theirs in found.items():
        verdict = "the same" if theirs == directory else "DIFFERENT"
        print(f"{source.replace(url, 'http://.../')}: {len(theirs)} records, {verdict}")
    print(f"{len(wanted)} spoilt members:", "each named" if named == wanted else f"NOT as expected: {named}")
    same = all(theirs == directory for theirs in found.values())
    return same and named == wanted and len(tar) == len(photos) + links


def check_memory(images: int) -> bool:
    """Classify tiny photos from a tar behind a URL, and look at the memory meanwhile."""
    photos = [photo(number) for number in range(100)]
    tar = tar_bytes([(f"{number:06d}.jpg", photos[number % 100]) for number in range(images)])
    with http_server(Behaviour({"photos.tar": tar})) as url, tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "o.jsonl"
        partial = output.with_name("o.jsonl.partial")
        lines = Lines(partial)
        command = [sys.executable, "-m", TINY, "classify", f"{url}photos.tar", "-q", "-o", str(output)]
        status, samples = watched(command, lines.count, ROOT)
        done = len(output.read_text().splitlines()) if status == 0 else 0
    print(report(samples, images))
    grown = growth(samples, images)
    print(
        f"{done} records of {images} photos; from the second quarter to the last, {grown:+.0f} MB", flush=True
    )
    return done == images and grown < _FLAT_MB


class Lines:
    """Counts the lines of a file that grows.

    Args:
        path: the file; one that is gone has as many as it had.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._lines = path, 0, 0

    def count(self) -> int:
        """Return how many there are."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return self._lines
        self._read += len(data)
        self._lines += data.count(b"\n")
        return self._lines


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
    """Compare the records of the same photos in many places; classify spoiled archives; look at memory."""
    good = True
    if directories:
        classifier = load_classifier(model, weights) if model else tiny_classifier()
        good = check_agreement(directories, images, classifier)
    if mutations:
        with tempfile.TemporaryDirectory() as name:
            good = check_spoiled_archives(Path(name), mutations, seed) and good
    if flat:
        good = check_memory(flat) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
