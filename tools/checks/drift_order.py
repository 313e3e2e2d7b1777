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

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from dctafd.analysis.stem_features import StemFeatures
from dctafd.inputs.model_input import collate
from dctafd.inputs.pictures import encode_jpeg
from dctafd.inputs.prepare import prepare
from tools.checks.originals import originals, resized
from tools.checks.shipped import (
    Shipped,
    checkpoints_option,
    module_option,
    output_option,
    photos_option,
    shipped_modules,
)
from tools.provenance import write_figures

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


@torch.inference_mode()
def drifts(pixels: NDArray[np.uint8], modules: Sequence[tuple[Shipped, StemFeatures]]) -> NDArray[np.float64]:
    """Return (modules, qualities, 2): predicted and measured drift of one stored photo."""
    clean = encode_jpeg(pixels, 100, "4:4:4")
    files = [clean, *(encode_jpeg(pixels, quality) for quality in QUALITIES)]
    found = np.empty((len(modules), len(QUALITIES), 2))
    for index, (module, stem) in enumerate(modules):
        spec, grid = module.backbone.spec, module.backbone.spec.crop // 8
        batch = collate(
            [prepare(file, spec.resize, spec.crop, mean=spec.mean, std=spec.std) for file in files]
        )
        features = stem(batch.pixels)
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


@click.command()
@photos_option
@checkpoints_option
@module_option
@click.option("--limit", default=24, show_default=True, help="Photos to use, evenly spread.")
@output_option
def main(folder: Path, checkpoints: Path, names: tuple[str, ...], limit: int, output: Path | None) -> None:
    """Compare predicted with measured drift for every shipped module."""
    photos = originals(folder, limit)
    modules = [
        (module, StemFeatures(module.backbone.module, module.afd.config.layers.stem.name))
        for module in shipped_modules(checkpoints, names)
    ]
    found = np.empty((len(photos), len(SCALES), len(modules), len(QUALITIES), 2))
    for row, photo in enumerate(photos):
        for column, scale in enumerate(SCALES):
            stored = np.asarray(resized(photo.read_bytes(), round(256 * scale), row))
            found[row, column] = drifts(stored, modules)
    orders = [order_of(module.name, found[:, :, index]) for index, (module, _) in enumerate(modules)]
    for order in orders:
        click.echo(
            f"{order.module:22} rank correlation {order.rank_correlation:.3f}, falls with size: "
            f"{order.falls_with_size}, rises with compression: {order.rises_with_compression}"
        )
    if output is not None:
        write_figures(output, map(asdict, orders), scales=SCALES, qualities=QUALITIES)
    good = all(o.rank_correlation > 0.8 and o.falls_with_size and o.rises_with_compression for o in orders)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
