"""Does a classifier see more if coefficients are dequantised to their bin's expected value, not its middle?

    python tools/measure_dequantising.py --model resnet50_pqf --weights runs/shipped/resnet50_pqf.pth

Photos are compressed as in protocol `single`. The coefficients of each component and frequency are taken for
Laplacian with mean zero, whose width follows from the file's own coefficients by maximum likelihood, and each
nonzero one is moved to the mean of its bin, towards zero (Price and Rabbani, "Biased reconstruction for JPEG
decoding", Signal Processing 80, 1999). The classifier is measured alone, and with the module that ships for
it, which was trained on the bins' middles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional

from dctafd import attach, prepare, read
from dctafd.analysis.evaluate import LabelledPhoto, gain_interval, read_labels
from dctafd.inputs.model_input import ModelInput, collate
from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.nets.afd_weights import select_afd
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import Backbone, ModelSpec, load_backbone
from dctafd.training.degrade import encode_jpeg

BATCH = 25
EVAL = Path(__file__).resolve().parents[2] / "shared/images/eval"


def laplacian_shifts(magnitudes: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return by how much the mean of a nonzero bin lies below its middle, (64,), in units of samples.

    Args:
        magnitudes: (blocks, 64), of the quantised coefficients.
        steps: (64,), quantisation steps.
    """
    blocks, zeros = len(magnitudes), (magnitudes == 0).sum(0)
    total = (magnitudes * steps).sum(0)
    denominator = 2 * blocks * steps + 4 * total
    root = zeros**2 * steps**2 - (2 * (blocks - zeros) * steps - 4 * total) * denominator
    decay = (np.sqrt(root) - zeros * steps) / denominator  # exp(-step / 2 widths), 0 without nonzero ones
    decay = np.clip(decay, 1e-6, 1 - 1e-6)
    half_steps = steps / 2
    width = -half_steps / np.log(decay)
    return half_steps / np.tanh(half_steps / width) - width


def dequantised_to_means(jpeg: JpegCoefficients) -> JpegCoefficients:
    """Return the photo with coefficients dequantised already: to their bins' means, DC to the middle."""
    components = []
    for component in jpeg.components:
        quantised = component.coefficients.reshape(-1, 64).astype(np.int64)
        steps = component.quant_table.reshape(64).astype(np.int64)
        shifts = laplacian_shifts(np.abs(quantised), steps)
        shifts[0] = 0
        means = np.rint(quantised * steps - np.sign(quantised) * shifts).astype(np.int16)
        components.append(
            replace(
                component,
                coefficients=means.reshape(component.coefficients.shape),
                quant_table=np.ones_like(component.quant_table),
            )
        )
    return replace(jpeg, components=tuple(components))


def compressed_inputs(path: Path, quality: int, spec: ModelSpec) -> tuple[ModelInput, ModelInput]:
    """Return a photo's input with bins' middles, and the same with pixels from bins' means."""
    with Image.open(path) as image:
        resized = functional.resize(image.convert("RGB"), [spec.resize])
    stored = encode_jpeg(np.asarray(functional.center_crop(resized, [spec.crop])), quality)
    jpeg = read(stored)
    middles, means = (
        prepare(which, None, spec.crop, mean=spec.mean, std=spec.std)
        for which in (jpeg, dequantised_to_means(jpeg))
    )
    return middles, replace(middles, pixels=means.pixels)


@torch.inference_mode()
def right_answers(backbone: Backbone, photos: Sequence[LabelledPhoto], quality: int) -> NDArray[np.bool_]:
    """Return which answers are right, (2, 2, photos): alone or with the module; from middles or means."""
    module = select_afd("auto", backbone)
    if module is None:
        raise click.ClickException(f"no module ships for {backbone.spec.name}")
    corrected = attach(backbone.module, module.reparameterize()).eval()
    found = []
    for first in range(0, len(photos), BATCH):
        group = photos[first : first + BATCH]
        labels = torch.tensor([photo.label for photo in group])
        pairs = [compressed_inputs(photo.path, quality, backbone.spec) for photo in group]
        batches = [collate(list(inputs)).tensors() for inputs in zip(*pairs, strict=True)]
        logits = [[corrected.direct(batch[0]) for batch in batches], [corrected(*batch) for batch in batches]]
        found.append(np.array([[(one.argmax(1) == labels).numpy() for one in row] for row in logits]))
    return np.concatenate(found, 2)


@click.command()
@click.option("--model", default="builtin", show_default=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False))
@click.option("--images", type=click.Path(exists=True, path_type=Path), default=EVAL, show_default=True)
@click.option("--qualities", default="7,10,18", show_default=True)
@click.option("--limit", default=250, show_default=True, help="Only the first so many photos.")
def main(model: str, weights: str | None, images: Path, qualities: str, limit: int) -> None:
    """Measure top-1 with bins' middles and with their means, with and without the AFD-Module."""
    backbone = load_backbone(model, weights)
    backbone = replace(backbone, module=fold_batch_norms(backbone.module.eval()))
    photos = read_labels(images / "labels.csv", images)[:limit]
    click.echo(
        f"{len(photos)} photos; top-1 (%) with bins' middles and means; gain in points, 95 % interval\n"
    )
    click.echo("| quality | classifier | middles | means | gain |\n|---|---|---|---|---|")
    for quality in map(int, qualities.split(",")):
        rows = zip(("alone", "with its module"), right_answers(backbone, photos, quality), strict=True)
        for name, (middles, means) in rows:
            gain = 100 * (means.mean() - middles.mean())
            low, high = gain_interval(middles, means)
            click.echo(
                f"| {quality} | {name} | {100 * middles.mean():.1f} | {100 * means.mean():.1f} "
                f"| {gain:+.1f} ({low:+.1f}..{high:+.1f}) |"
            )


if __name__ == "__main__":
    main()
