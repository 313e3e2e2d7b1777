"""Carry an AFD-Module over to a classifier whose channels are those of another one in another order.

    python tools/transfer_afd.py runs/shipped/resnet50_pqf_afd.checkpoint.pt \\
        --from resnet50_pqf runs/shipped/resnet50_pqf.pth --to resnet50_ktb runs/shipped/resnet50_ktb.pth \\
        --images ../shared/images/train -o runs/shipped/from_pqf.checkpoint.pt

Compressed checkpoints of one network often differ from it by a permutation (Martinez et al. 2021, "Permute,
Quantize, and Fine-tune") and a fine-tuning. Both networks see the same photos; the channels of the stem and
of each stage are paired by the correlation of their features, and the module's first and last layers there
are permuted and scaled to match. What is written serves `dctafd train --start-from`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import attach
from dctafd.nets.registry import Backbone, load_backbone
from dctafd.training.checkpoints import read_checkpoint, save_checkpoint
from dctafd.training.data import PairSource, find_photos, load_photos
from dctafd.training.degrade import DegradationRange


def layer_features(backbone: Backbone, shape: str, clean: Tensor) -> list[Tensor]:
    """Return the features of the stem and the stages for photos, (N, C) each, N places in all of them."""
    classifier = attach(backbone.module, AFDModule.for_backbone(backbone.module, shape))  # type: ignore[arg-type]
    with torch.no_grad():
        layers = classifier.direct_features(clean).layers
    return [layer.permute(0, 2, 3, 1).flatten(0, 2).double() for layer in layers]


def match_channels(wanted: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pair each wanted channel with one of the known, the most correlated pairs first.

    Args:
        wanted, known: (N, C), features of two networks at the same places.

    Returns:
        For each wanted channel: the known one's index, the factor from known to wanted, the correlation.
    """
    correlation = (_standardized(wanted).T @ _standardized(known)) / len(wanted)  # (C, C)
    index = torch.full((wanted.shape[1],), -1)
    free = correlation.clone()
    for _ in range(len(index)):
        row, column = divmod(int(free.argmax()), len(index))
        index[row] = column
        free[row], free[:, column] = -2.0, -2.0
    paired = known[:, index]
    size = paired.square().sum(0)  # 0 for dead channels, whose factor is 1
    factor = torch.where(
        size > 0, (wanted * paired).sum(0) / size.clamp(min=1e-9), 1.0
    )  # 1 for dead channels
    return index, factor.clamp(0.05, 20.0).float(), correlation.gather(1, index[:, None])[:, 0]


def _standardized(features: Tensor) -> Tensor:
    return (features - features.mean(0)) / features.std(0).clamp(min=1e-9)


def transfer(weights: dict[str, Tensor], pairs: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return a module's state dict with the channels that it reads and writes permuted and scaled."""
    changed = dict(weights)
    for number, (index, factor, _) in enumerate(pairs):
        if number == 0:
            reads, writes = "fe.encode.weight", "fe.decode.weight"
        else:
            reads, writes = f"stages.{number - 1}.reduce.weight", f"stages.{number - 1}.expand.weight"
        if reads not in weights:  # shape "stem" has no stages
            continue
        changed[reads] = weights[reads][:, index] / factor[None, :, None, None]
        axis = 1 if number == 0 else 0  # the stem's last layer is a transposed convolution
        scale = factor[None, :, None, None] if axis else factor[:, None, None, None]
        changed[writes] = weights[writes].index_select(axis, index) * scale
    return changed


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from", "known", nargs=2, required=True, help="Model and weights that it was trained for.")
@click.option("--to", "wanted", nargs=2, required=True, help="Model and weights that it is to serve.")
@click.option("--images", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=48, show_default=True, help="Photos to compare the networks on.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(
    checkpoint: Path,
    known: tuple[str, str],
    wanted: tuple[str, str],
    images: tuple[Path, ...],
    limit: int,
    output: Path,
) -> None:
    """Write a checkpoint for `dctafd train --start-from`."""
    record: dict[str, Any] = read_checkpoint(checkpoint)
    shape = record["settings"]["shape"]
    backbones = [load_backbone(*wanted), load_backbone(*known)]
    paths = find_photos(images)[:: max(1, len(find_photos(images)) // limit)][:limit]
    photos = load_photos(paths, 256, threads=2)
    source = PairSource(photos, backbones[0].spec, DegradationRange(), len(photos), 0, crop=128)
    clean = torch.from_numpy(np.stack([source.pair(0, index).clean for index in range(len(photos))]))
    features = [layer_features(backbone, shape, clean) for backbone in backbones]
    pairs = [match_channels(*layers) for layers in zip(*features, strict=True)]
    for number, (_, factor, correlation) in enumerate(pairs):
        quartiles = np.percentile(correlation.numpy(), [10, 50, 90])
        click.echo(
            f"layer {number}: correlation of the pairs, 10th, 50th, 90th percentile "
            f"{quartiles[0]:.2f} {quartiles[1]:.2f} {quartiles[2]:.2f}; factor, median {factor.median():.2f}"
        )
    record["average"] = transfer(record["average"], pairs)
    save_checkpoint(output, record)


if __name__ == "__main__":
    main()
