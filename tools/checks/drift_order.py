"""Whether the drift that modules predict orders photos of all sizes and qualities as the measured drift does.

    python -m tools.checks.drift_order --checkpoints runs/checkpoints --photos ../shared/images/native \
        -o docs/results/drift_order.json

Each original is stored at several times the classifier's size (with a sensor's noise where it is enlarged)
and compressed at several qualities. Predicted is the mean of FDM channel 0 under the crop, measured the mean
RMS difference of the stem's features from those of the same photo at quality 100 without subsampling.
Exits with 1 where a module's rank correlation is 0.8 or less, or its median drift is out of order. Photos
smaller than the classifier's input are left out of the order of sizes: enlarging smooths their errors, too.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dctafd.analysis.stem_features import StemFeatures
from dctafd.inputs.class_names import wnid_in_name
from dctafd.inputs.model_input import collate
from dctafd.inputs.pictures import encode_jpeg
from dctafd.inputs.prepare import prepare
from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import afd_name, load_afd, read_afd_card, shipped_afds
from dctafd.nets.registry import Backbone, load_backbone
from tools.checks.do_no_harm import with_noise
from tools.checks.provenance import provenance

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0)
QUALITIES = (5, 7, 10, 18, 25, 50, 75, 95)


@dataclass(frozen=True, slots=True)
class Order:
    """How well one module orders photos.

    Attributes:
        module: its name.
        photos: how many, each at every scale and quality.
        rank_correlation: Spearman's, of predicted and measured drift, pooled over all.
        predicted, measured: medians, (scales, qualities).
        falls_with_size: whether the predicted medians do at every quality, from scale 1 on.
        rises_with_compression: whether they do at every scale.
    """

    module: str
    photos: int
    rank_correlation: float
    predicted: list[list[float]]
    measured: list[list[float]]
    falls_with_size: bool
    rises_with_compression: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Module:
    name: str
    backbone: Backbone
    stem: StemFeatures
    afd: AFDModule


def stored(photo: bytes, shorter_side: int, seed: int) -> NDArray[np.uint8]:
    """Return an original at a size, (height, width, 3): with a sensor's noise where it is enlarged."""
    with Image.open(io.BytesIO(photo)) as image:
        rgb = image.convert("RGB")
    factor = shorter_side / min(rgb.size)
    size = round(rgb.width * factor), round(rgb.height * factor)
    resized = rgb.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(with_noise(resized, seed) if factor > 1 else resized)


@torch.inference_mode()
def drifts(pixels: NDArray[np.uint8], modules: Sequence[_Module]) -> NDArray[np.float64]:
    """Return (modules, qualities, 2): predicted and measured drift of one stored photo."""
    clean = encode_jpeg(pixels, 100, "4:4:4")
    files = [clean, *(encode_jpeg(pixels, quality) for quality in QUALITIES)]
    found = np.empty((len(modules), len(QUALITIES), 2))
    for index, module in enumerate(modules):
        spec, grid = module.backbone.spec, module.backbone.spec.crop // 8
        batch = collate(
            [prepare(file, spec.resize, spec.crop, mean=spec.mean, std=spec.std) for file in files]
        )
        features = module.stem(batch.pixels)
        fdm = module.afd.guide(*batch.tensors()[1:]).fdm
        measured = module.afd.measured_drift(features[1:], features[:1], grid)
        found[index, :, 0] = fdm[1:, 0].mean((1, 2)).numpy()
        found[index, :, 1] = measured.mean((1, 2)).numpy()
    return found


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two equally long vectors."""
    ranks = [np.argsort(np.argsort(values.ravel())).astype(np.float64) for values in (a, b)]
    return float(np.asarray(np.corrcoef(ranks[0], ranks[1]))[0, 1])


def order_of(name: str, found: NDArray[np.float64]) -> Order:
    """Summarise (photos, scales, qualities, 2) predicted and measured drifts of one module."""
    medians = np.median(found, 0)  # (scales, qualities, 2)
    predicted = medians[..., 0]
    return Order(
        name,
        len(found),
        round(rank_correlation(found[..., 0], found[..., 1]), 4),
        predicted.round(5).tolist(),
        medians[..., 1].round(5).tolist(),
        falls_with_size=bool((np.diff(predicted[SCALES.index(1.0) :], axis=0) < 0).all()),
        rises_with_compression=bool((np.diff(predicted, axis=1) < 0).all()),
    )


def _load(path: Path, checkpoints: Path) -> _Module:
    model = read_afd_card(path).model
    file = checkpoints / f"{model}.pth"
    backbone = load_backbone(model, file if file.is_file() else None)
    afd = load_afd(path)
    stem = StemFeatures(backbone.module, afd.config.layers.stem.name)
    return _Module(afd_name(path), backbone, stem, afd.reparameterize())


_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--photos", "folder", type=_FOLDER, required=True)
@click.option("--checkpoints", type=_FOLDER, required=True)
@click.option("--module", "names", multiple=True, help="Of this module alone; may be repeated.")
@click.option("--limit", default=24, show_default=True, help="Photos to use, evenly spread.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(folder: Path, checkpoints: Path, names: tuple[str, ...], limit: int, output: Path | None) -> None:
    """Compare predicted with measured drift for every shipped module."""
    photos = sorted(path for path in folder.iterdir() if wnid_in_name(path.name))
    photos = [photos[i * len(photos) // limit] for i in range(min(limit, len(photos)))]
    modules = [_load(path, checkpoints) for path in shipped_afds() if not names or afd_name(path) in names]
    found = np.empty((len(photos), len(SCALES), len(modules), len(QUALITIES), 2))
    for row, photo in enumerate(photos):
        for column, scale in enumerate(SCALES):
            pixels = stored(photo.read_bytes(), round(256 * scale), row)
            found[row, column] = drifts(pixels, modules)
    orders = [order_of(module.name, found[:, :, index]) for index, module in enumerate(modules)]
    for order in orders:
        click.echo(
            f"{order.module:22} rank correlation {order.rank_correlation:.3f}, falls with size: "
            f"{order.falls_with_size}, rises with compression: {order.rises_with_compression}"
        )
    if output is not None:
        settings = {"scales": SCALES, "qualities": QUALITIES}
        record = {**provenance(), **settings, "rows": [asdict(order) for order in orders]}
        output.write_text(json.dumps(record, indent=1) + "\n")
    good = all(o.rank_correlation > 0.8 and o.falls_with_size and o.rises_with_compression for o in orders)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
