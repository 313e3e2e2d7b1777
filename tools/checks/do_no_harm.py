"""What the shipped corrections do to photos that need none, and to large ones that were compressed hard.

    python -m tools.checks.do_no_harm --checkpoints runs/checkpoints --photos ../shared/images/native \
        -o docs/results/do_no_harm.json

Each shipped module corrects the checkpoint that it was trained for (MODEL.pth in the folder of checkpoints,
or its package). Photos are originals whose names begin with their WordNet id. Exits with 1 where modules lose
more than `--tolerance` points on photos that need nothing, pooled over modules and conditions.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dctafd.inputs.class_names import imagenet_wnids, wnid_in_name
from dctafd.inputs.model_input import InputBatch, collate
from dctafd.inputs.prepare import prepare
from dctafd.nets.afd_weights import afd_name, load_afd, read_afd_card, shipped_afds
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import ModelSpec, load_backbone
from tools.provenance import provenance

BATCH = 8
_BOOTSTRAP_SAMPLES = 2000
_NOISE = 4.0  # standard deviation in levels, about a phone's at ISO 400


@dataclass(frozen=True, slots=True)
class Condition:
    """How a photo is stored before it is classified.

    Attributes:
        name: for the table.
        shorter_side: to which it is resized first, with a sensor's noise where it is enlarged; None for not.
        quality: of the JPEG compression; None leaves the file as it is.
        needs_nothing: whether there is nothing to correct.
    """

    name: str
    shorter_side: int | None
    quality: int | None
    needs_nothing: bool


CONDITIONS = (
    Condition("as stored", None, None, True),
    Condition("quality 90", None, 90, True),
    Condition("quality 95", None, 95, True),
    Condition("PNG saved at 100", None, 100, True),
    Condition("2 megapixels, quality 92", 1225, 92, True),
    Condition("phone size (2250), quality 92", 2250, 92, True),
    Condition("shorter side 1400, quality 8", 1400, 8, False),
    Condition("shorter side 700, quality 10", 700, 10, False),
    Condition("as stored, saved at 10", None, 10, False),
    Condition("as stored, saved at 25", None, 25, False),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One module under one condition; shares in per cent, changes in points.

    Attributes:
        module, condition: their names.
        photos: how many.
        without, corrected: top-1 without and with the module.
        change, low, high: of top-1, with its 95 % interval (paired bootstrap).
        drift: mean drift that the module saw.
        needs_nothing: of the condition.
    """

    module: str
    condition: str
    photos: int
    without: float
    corrected: float
    change: float
    low: float
    high: float
    drift: float
    needs_nothing: bool


def stored_as(original: bytes, condition: Condition, seed: int) -> bytes:
    """Return the JPEG file of a photo under a condition."""
    if condition.quality is None:
        return original
    with Image.open(io.BytesIO(original)) as image:
        rgb = image.convert("RGB")
    if condition.shorter_side is not None:
        factor = condition.shorter_side / min(rgb.size)
        rgb = rgb.resize((round(rgb.width * factor), round(rgb.height * factor)), Image.Resampling.BICUBIC)
        if factor > 1:
            rgb = with_noise(rgb, seed)
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=condition.quality)
    return buffer.getvalue()


def with_noise(picture: Image.Image, seed: int) -> Image.Image:
    """Return a picture with a sensor's noise."""
    pixels = np.asarray(picture)
    noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(pixels + _NOISE * noise, 0, 255).astype(np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A module on the classifier that it was trained for."""

    name: str
    spec: ModelSpec
    network: CorrectedClassifier

    @classmethod
    def load(cls, path: Path, checkpoints: Path) -> Corrected:
        """Load a module's file, and its classifier from MODEL.pth in a folder, or from where it comes."""
        model = read_afd_card(path).model
        file = checkpoints / f"{model}.pth"
        backbone = load_backbone(model, file if file.is_file() else None)
        network = attach(fold_batch_norms(backbone.module), load_afd(path).reparameterize())
        in_layout = network.to(memory_format=torch.channels_last)
        return cls(afd_name(path), backbone.spec, in_layout)

    @torch.inference_mode()
    def answers(self, inputs: InputBatch) -> NDArray[np.float64]:
        """Return the top class without and with the module, and the drift it saw, (3, B), for RGB in 0..1."""
        mean, std = (torch.tensor(part)[:, None, None] for part in (self.spec.mean, self.spec.std))
        pixels = ((inputs.pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        without = self.network(pixels)
        corrected = self.network(pixels, *inputs.tensors()[1:])
        assert corrected.fdm is not None
        best = [output.logits.argmax(1) for output in (without, corrected)]
        return np.stack([*best, corrected.fdm[:, 0].mean((1, 2))])


def change_interval(without: NDArray[np.bool_], corrected: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the 95 % interval of the change in top-1, in points: a paired bootstrap over the photos."""
    difference = corrected.astype(np.int64) - without
    shares = [(difference == value).mean() for value in (1, -1, 0)]
    drawn = np.random.default_rng(0).multinomial(len(difference), shares, _BOOTSTRAP_SAMPLES)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / len(difference), [2.5, 97.5])
    return float(low), float(high)


def measure(modules: list[Corrected], photos: list[Path], condition: Condition) -> list[Row]:
    """Return one row per module; each photo is made and prepared once for all that see the same of it."""
    found: list[list[NDArray[np.float64]]] = [[] for _ in modules]
    for files in _batches(photos, condition):
        prepared: dict[tuple[int, int], InputBatch] = {}
        for index, module in enumerate(modules):
            seen = module.spec.resize, module.spec.crop
            if seen not in prepared:
                inputs = [prepare(file, *seen, mean=(0, 0, 0), std=(1, 1, 1)) for file in files]
                prepared[seen] = collate(inputs)
            found[index].append(module.answers(prepared[seen]))
    numbers = {wnid: number for number, wnid in enumerate(imagenet_wnids())}
    labels = np.array([numbers[wnid_in_name(photo.name) or ""] for photo in photos])
    return [
        _row(module.name, condition, labels, np.concatenate(answers, 1))
        for module, answers in zip(modules, found, strict=True)
    ]


def _row(name: str, condition: Condition, labels: NDArray[np.int64], answers: NDArray[np.float64]) -> Row:
    without, corrected = answers[:2] == labels
    low, high = change_interval(without, corrected)
    shares = [100 * float(part.mean()) for part in (without, corrected)]
    return Row(
        name,
        condition.name,
        len(labels),
        without=round(shares[0], 3),
        corrected=round(shares[1], 3),
        change=round(shares[1] - shares[0], 3),
        low=round(low, 3),
        high=round(high, 3),
        drift=round(float(answers[2].mean()), 4),
        needs_nothing=condition.needs_nothing,
    )


def _batches(photos: list[Path], condition: Condition) -> Iterator[list[bytes]]:
    """Yield batches of files; one is made while the network works on the one before."""

    def make(first: int) -> list[bytes]:
        chosen = enumerate(photos[first : first + BATCH], start=first)
        return [stored_as(photo.read_bytes(), condition, number) for number, photo in chosen]

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, 0)
        for first in range(BATCH, len(photos) + BATCH, BATCH):
            batch, waiting = waiting.result(), pool.submit(make, first)
            yield batch


_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--photos", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--checkpoints", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--module", "modules", multiple=True, help="Of this module alone; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), help="Photos to use, evenly spread.")
@click.option("--condition", "names", multiple=True, type=click.Choice([c.name for c in CONDITIONS]))
@click.option("--tolerance", default=0.3, show_default=True, help="Points.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(
    folder: Path,
    checkpoints: Path,
    modules: tuple[str, ...],
    limit: int | None,
    names: tuple[str, ...],
    tolerance: float,
    output: Path | None,
) -> None:
    """Measure every shipped module on photos that need nothing, and on large ones."""
    photos = sorted(path for path in folder.iterdir() if wnid_in_name(path.name))
    if limit is not None and limit < len(photos):
        photos = [photos[i * len(photos) // limit] for i in range(limit)]
    conditions = [condition for condition in CONDITIONS if not names or condition.name in names]
    wanted = [path for path in shipped_afds() if not modules or afd_name(path) in modules]
    corrected = [Corrected.load(path, checkpoints) for path in wanted]
    rows: list[Row] = []
    for condition in conditions:
        for row in measure(corrected, photos, condition):
            rows.append(row)
            click.echo(
                f"{row.module:22} {row.condition:30} {row.without:6.1f} {row.corrected:6.1f}  "
                f"{row.change:+.1f} ({row.low:+.1f}..{row.high:+.1f})  drift {row.drift:.4f}"
            )
        if output is not None:  # after each condition: all of it takes long
            record = {**provenance(), "photos": str(folder.name), "rows": [asdict(row) for row in rows]}
            output.write_text(json.dumps(record, indent=1) + "\n")
    changes = [row.change for row in rows if row.needs_nothing]
    pooled = sum(changes) / max(len(changes), 1)
    worst = min((row for row in rows if row.needs_nothing), key=lambda row: row.change, default=None)
    if worst is not None:
        what = f"{worst.module}, {worst.condition}, {worst.change:+.1f}"
        click.echo(f"photos that need nothing: {pooled:+.2f} points, pooled; worst {what}")
    sys.exit(1 if pooled < -tolerance else 0)


if __name__ == "__main__":
    main()
