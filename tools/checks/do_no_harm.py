"""What the shipped corrections do to photos that need none, and to large ones that were compressed hard.

    python -m tools.checks.do_no_harm --checkpoints runs/checkpoints --photos ../shared/images/native \
        -o docs/results/do_no_harm.json

Each shipped module corrects the checkpoint that it was trained for (MODEL.pth in the folder of checkpoints,
or its package). Photos are originals whose names begin with their WordNet id. Exits with 1 where modules lose
more than `--tolerance` points on photos that need nothing, pooled over modules and conditions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from dctafd.inputs.class_names import imagenet_wnids, wnid_in_name
from dctafd.inputs.model_input import InputBatch, collate
from dctafd.inputs.pictures import encode_jpeg
from dctafd.inputs.prepare import prepare
from dctafd.nets.attach import attach
from dctafd.nets.fold import fold_batch_norms
from tools.checks.originals import originals, resized
from tools.checks.shipped import (
    Shipped,
    checkpoints_option,
    module_option,
    output_option,
    paired,
    photos_option,
    shipped_modules,
)
from tools.provenance import write_figures

BATCH = 8


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
    picture = resized(original, condition.shorter_side, seed)
    return encode_jpeg(np.asarray(picture), condition.quality)


class Corrected:
    """A module on the classifier that it was trained for.

    Args:
        module: both.
    """

    def __init__(self, module: Shipped) -> None:
        self.name, self.spec = module.name, module.backbone.spec
        network = attach(fold_batch_norms(module.backbone.module), module.afd)
        self._network = network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def answers(self, inputs: InputBatch) -> NDArray[np.float64]:
        """Return the top class without and with the module, and the drift it saw, (3, B), for RGB in 0..1."""
        mean, std = (torch.tensor(part)[:, None, None] for part in (self.spec.mean, self.spec.std))
        pixels = ((inputs.pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        without = self._network(pixels)
        corrected = self._network(pixels, *inputs.tensors()[1:])
        assert corrected.fdm is not None
        best = [output.logits.argmax(1) for output in (without, corrected)]
        return np.stack([*best, corrected.fdm[:, 0].mean((1, 2))])


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
    rows = []
    for module, parts in zip(modules, found, strict=True):
        without, corrected, drift = np.concatenate(parts, 1)
        figures = paired(without == labels, corrected == labels)
        drift = round(float(drift.mean()), 4)
        rows.append(Row(module.name, condition.name, len(labels), *figures, drift, condition.needs_nothing))
    return rows


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


@click.command()
@photos_option
@checkpoints_option
@module_option
@click.option("--limit", type=click.IntRange(min=1), help="Photos to use, evenly spread.")
@click.option("--condition", "wanted", multiple=True, type=click.Choice([c.name for c in CONDITIONS]))
@click.option("--tolerance", default=0.3, show_default=True, help="Points.")
@output_option
def main(
    folder: Path,
    checkpoints: Path,
    names: tuple[str, ...],
    limit: int | None,
    wanted: tuple[str, ...],
    tolerance: float,
    output: Path | None,
) -> None:
    """Measure every shipped module on photos that need nothing, and on large ones."""
    photos = originals(folder, limit)
    conditions = [condition for condition in CONDITIONS if not wanted or condition.name in wanted]
    corrected = [Corrected(module) for module in shipped_modules(checkpoints, names)]
    rows: list[Row] = []
    for condition in conditions:
        for row in measure(corrected, photos, condition):
            rows.append(row)
            click.echo(
                f"{row.module:22} {row.condition:30} {row.without:6.1f} {row.corrected:6.1f}  "
                f"{row.change:+.1f} ({row.low:+.1f}..{row.high:+.1f})  drift {row.drift:.4f}"
            )
        if output is not None:  # after each condition: all of it takes long
            write_figures(output, map(asdict, rows), photos=folder.name)
    changes = [row.change for row in rows if row.needs_nothing]
    pooled = sum(changes) / max(len(changes), 1)
    worst = min((row for row in rows if row.needs_nothing), key=lambda row: row.change, default=None)
    if worst is not None:
        what = f"{worst.module}, {worst.condition}, {worst.change:+.1f}"
        click.echo(f"photos that need nothing: {pooled:+.2f} points, pooled; worst {what}")
    sys.exit(1 if pooled < -tolerance else 0)


if __name__ == "__main__":
    main()
