"""An ImageNet-C-like tree, evaluated as a folder, a shard and a Parquet file, and after a kill.

    python -m tools.checks.check_evaluation --images ../shared/images/eval --limit 24

Photos with a labels.csv are resized, cropped and compressed as ImageNet-C's jpeg_compression is (qualities
25, 18, 15, 10 and 7 for severities 1 to 5, then saved again at 85) and put into
jpeg_compression/SEVERITY/WNID. One command, `dctafd evaluate --protocol stored`, measures the tree; the same
files in a tar and in a table have to give equal rows, and so has a run that was killed (SIGKILL) halfway and
resumed. Prints the tree's rows; exits with 1 where something differs.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from dctafd.analysis.protocols import IMAGENET_C_QUALITY
from dctafd.analysis.published import SEVERITY_QUALITIES
from dctafd.inputs.class_names import imagenet_wnids
from dctafd.inputs.pictures import centre_crop, decode_jpeg, decode_picture, encode_jpeg
from tools.checks.originals import Labelled, listed_photos, spread

_BATCH = 8


def write_tree(photos: list[Labelled], folder: Path) -> list[Path]:
    """Write severities 1 to 5 of the photos under a folder, as ImageNet-C's recipe makes them."""
    wnids, files = imagenet_wnids(), []
    for path, label in photos:
        pixels = centre_crop(decode_picture(path.read_bytes()), 256, 224)
        for severity, quality in SEVERITY_QUALITIES.items():
            target = folder / "jpeg_compression" / str(severity) / wnids[label] / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode_jpeg(decode_jpeg(encode_jpeg(pixels, quality)), IMAGENET_C_QUALITY))
            files.append(target)
    return sorted(files)


def write_shard(files: list[Path], folder: Path, path: Path) -> None:
    """Put files under a folder into a tar, by their paths."""
    with tarfile.open(path, "w") as archive:
        for file in files:
            data = file.read_bytes()
            header = tarfile.TarInfo(str(file.relative_to(folder)))
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


def write_table(files: list[Path], folder: Path, path: Path) -> None:
    """Put files under a folder into a Parquet file as Hugging Face's data sets have images."""
    import pyarrow
    from pyarrow import parquet

    images = [{"bytes": file.read_bytes(), "path": str(file.relative_to(folder))} for file in files]
    parquet.write_table(pyarrow.table({"image": images}), path)


def start(images: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start `dctafd evaluate --protocol stored`."""
    command = [sys.executable, "-m", "dctafd", "evaluate", "--images", str(images), "--protocol", "stored"]
    options = ["--batch-size", str(_BATCH), "--jobs", "1", "-q", "-o", str(output), *more]
    return subprocess.Popen([*command, *options])


def measured(images: Path, output: Path, *more: str) -> dict[str, Any]:
    """Make a whole run; return its record."""
    if start(images, output, *more).wait() != 0:
        raise click.ClickException(f"the evaluation of {images} failed")
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def killed_halfway(images: Path, output: Path, photos: int) -> int:
    """Start a run, kill it when half of the photos are in its journal, and say how many were."""
    process, journal = start(images, output), output.with_name(output.name + ".partial")
    while process.poll() is None:
        done = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
        if done >= photos // 2:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return done
        time.sleep(0.02)
    raise click.ClickException("the run ended before it could be killed")


@click.command()
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--limit", default=24, show_default=True, help="Photos, five files each.")
def main(images: Path, limit: int) -> None:
    """Compare the ways to the same rows."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        tree, shard, table = work / "imagenet-c", work / "imagenet-c.tar", work / "imagenet-c.parquet"
        files = write_tree(spread(listed_photos(images), limit), tree)
        write_shard(files, tree, shard)
        write_table(files, tree, table)
        expected = measured(tree, work / "tree.json")
        for row in (*expected["rows"], *expected["means"]):
            primary = row.get("primary_quality")
            click.echo(
                f"{row['folder']:20} top-1 {row['direct_top1']:5.1f} -> {row['afd_top1']:5.1f}"
                + ("" if primary is None else f"  quality {primary:.0f} > {row['table_quality']:.0f}")
            )
        wrong = 0
        for kind, source in (("shard", shard), ("table", table)):
            same = measured(source, work / f"{kind}.json")["rows"] == expected["rows"]
            wrong += not same
            click.echo(f"{kind}: {'the same rows' if same else 'OTHER ROWS'}")
        output = work / "killed.json"
        done = killed_halfway(tree, output, len(files))
        same = measured(tree, output, "--resume") == expected
        wrong += not same
        click.echo(
            f"killed after {done} of {len(files)} files and resumed: {'the same' if same else 'DIFFERENT'}"
        )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
