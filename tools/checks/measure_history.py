"""How often `estimate_history` is right: the table in docs/history.md.

    python -m tools.checks.measure_history ../shared/images/eval --limit 1000 -o docs/results/history.json

Photos are cropped to their centre (224x224 by default) and compressed with Pillow (4:2:0): once, or twice on
one grid, or with a resize or a shift of the grid in between, which must count as single. The photos of
images/eval are stored at quality 95 and 227x227, so the crop moves their own grid by one pixel: that
compression leaves no comb.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from PIL import Image

import dctafd
from dctafd.jpeg.history import HistoryEstimate, estimate_history
from tools.checks.provenance import provenance

SINGLE = (30, 40, 50, 60, 70, 75, 80, 85, 90, 95)
FIRST = (7, 10, 15, 18, 25, 50)
FINER_SECOND = ((70, 85), (75, 85), (80, 85), (10, 95), (50, 95), (90, 95), (10, 75), (25, 50))
NOT_FINER_SECOND = ((90, 85), (85, 85))
Way = Callable[[Image.Image], bytes]


def compress(image: Image.Image, quality: int) -> bytes:
    """Compress with Pillow's defaults."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def recompress(image: Image.Image, quality: int) -> Image.Image:
    """Compress and decompress."""
    return Image.open(io.BytesIO(compress(image, quality))).convert("RGB")


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Cut out the middle of a photo."""
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def shifted(image: Image.Image) -> Image.Image:
    """Move the 8x8 grid."""
    return image.crop((3, 5, image.width, image.height))


def resized(image: Image.Image, scale: float) -> Image.Image:
    """Resize with Pillow's bicubic filter."""
    return image.resize((round(image.width * scale), round(image.height * scale)))


def _again(
    image: Image.Image, first: int, second: int, scale: float | None = None, moved: bool = False
) -> bytes:
    between = recompress(image, first)
    between = shifted(between) if moved else between
    return compress(between if scale is None else resized(between, scale), second)


def ways() -> Iterator[tuple[str, int | None, Way]]:
    """Yield a row's name, the first quality to be found (None: single) and how its file is made."""
    for quality in SINGLE:
        yield f"single {quality}", None, partial(compress, quality=quality)
    for first, second in (*((first, 85) for first in FIRST), *FINER_SECOND, *NOT_FINER_SECOND):
        truth = first if first < second else None
        name = f"{first}, then {second}"
        yield name, truth, partial(_again, first=first, second=second)
    for scale in (0.5, 0.8, 1.5):
        for second in (85, 95):
            name = f"10, resized by {scale}, then {second}"
            yield name, None, partial(_again, first=10, second=second, scale=scale)
    for second in (85, 95):
        name = f"10, shifted, then {second}"
        yield name, None, partial(_again, first=10, second=second, moved=True)


def load_photos(directory: Path, limit: int, size: int) -> list[Image.Image]:
    """Return centre crops, evenly chosen among the directory's files."""
    paths = sorted(path for path in directory.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    stride = max(1, len(paths) // limit)
    return [centre_crop(Image.open(path).convert("RGB"), size) for path in paths[::stride][:limit]]


def measure(photos: list[Image.Image], way: Way) -> tuple[list[HistoryEstimate], float]:
    """Return an estimate per photo and the median milliseconds of CPU time that one takes."""
    estimates, seconds = [], []
    for photo in photos:
        jpeg = dctafd.read(way(photo))
        start = time.thread_time()
        estimates.append(estimate_history(jpeg))
        seconds.append(time.thread_time() - start)
    return estimates, 1000 * sorted(seconds)[len(seconds) // 2]


def row(
    name: str, truth: int | None, estimates: list[HistoryEstimate], milliseconds: float
) -> dict[str, Any]:
    """Return what was found of photos that were compressed in one way."""
    qualities = [estimate.primary_quality for estimate in estimates]
    found = [quality for quality in qualities if quality is not None]
    n = len(estimates)
    right = n - len(found) if truth is None else sum(abs(quality - truth) <= 1 for quality in found)
    evidence = sorted(estimate.evidence for estimate in estimates)
    return {
        "name": name,
        "to_find": truth,
        "photos": n,
        "right": right,
        "called_double": len(found),
        "evidence": [round(evidence[at], 1) for at in (0, n // 2, -1)],
        "milliseconds": round(milliseconds, 2),
    }


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--limit", default=200, show_default=True, help="Photos.")
@click.option("--size", default=224, show_default=True, help="Side of the centre crop.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A JSON file.")
def main(directory: Path, limit: int, size: int, output: Path | None) -> None:
    """Measure estimate_history on photos."""
    photos = load_photos(directory, limit, size)
    estimate_history(dctafd.read(compress(photos[0], 85)))  # compiles the kernels
    click.echo(f"{len(photos)} photos, {size}x{size}")
    rows = []
    for name, truth, way in ways():
        rows.append(found := row(name, truth, *measure(photos, way)))
        click.echo(f"{name:30} right {found['right']:5}  called double {found['called_double']:5}")
    if output is not None:
        output.write_text(json.dumps({**provenance(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
