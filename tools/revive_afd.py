"""Give the dead channels of an AFD-Module a new beginning, without changing what it does.

    python tools/revive_afd.py runs/shipped/resnet50_pqf_afd.checkpoint.pt \\
        --model resnet50_pqf --weights runs/shipped/resnet50_pqf.pth \\
        --images ../shared/images/train -o runs/shipped/resnet50_pqf.revived.pt

A channel whose output was never above zero on the photos is dead: plain ReLUs hid it from later layers and
from the gradient. In the corrections after the stages its incoming weights are drawn anew and its outgoing
ones become zero; an FE-Net that changes next to nothing is begun anew whole. What is written serves
`dctafd train --start-from`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.afd_weights import load_afd_state
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fe_net import StageCorrection
from dctafd.nets.layers import find_layers
from dctafd.nets.registry import load_backbone
from dctafd.training.checkpoints import read_checkpoint, save_checkpoint
from dctafd.training.data import PairSource, collate_pairs, find_photos, load_photos
from dctafd.training.degrade import DegradationRange

BATCH = 16
LEAST_STEM_CHANGE = 1e-4  # mean absolute correction over the stem's mean; dead ones were at 0 and 2e-8
_INCOMING = ("conv3", "conv1", "expand1", "expand3")  # RepConv's layers that read its input
_OUTGOING = ("conv3", "conv1", "expand1_conv3", "expand3_conv1")  # and those that write its output


def revive_stage(
    stage: StageCorrection, fresh: StageCorrection, dead_reduce: Tensor, dead_conv: Tensor
) -> None:
    """Take a correction's dead channels from a new one, in place; its output stays as it was.

    Args:
        stage, fresh: of equal shape.
        dead_reduce, dead_conv: (width,) bool, of the bottleneck's first and second layer.
    """
    width = len(dead_reduce)
    with torch.no_grad():
        _copy_rows(stage.reduce, fresh.reduce, dead_reduce)
        for name in _INCOMING:
            getattr(stage.conv, name).weight[:, :width][:, dead_reduce] = 0
        for name in _OUTGOING:
            _copy_rows(getattr(stage.conv, name), getattr(fresh.conv, name), dead_conv)
        stage.conv.bias[dead_conv] = 0
        stage.expand.weight[:, dead_conv] = 0


def _copy_rows(layer: nn.Conv2d, fresh: nn.Conv2d, rows: Tensor) -> None:
    layer.weight[rows] = fresh.weight[rows]
    if layer.bias is not None:
        assert fresh.bias is not None
        layer.bias[rows] = fresh.bias[rows]


@contextmanager
def highest_outputs(layers: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect, while the context lasts, the highest output of each channel of layers, (C,) each."""
    highest: dict[str, Tensor] = {}

    def hook(name: str, output: Tensor) -> None:
        top = output.detach().amax((0, 2, 3))
        highest[name] = torch.maximum(highest[name], top) if name in highest else top

    handles = [
        layer.register_forward_hook(lambda _m, _i, output, name=name: hook(name, output))
        for name, layer in layers.items()
    ]
    try:
        yield highest
    finally:
        for handle in handles:
            handle.remove()


def revive(classifier: CorrectedClassifier, fresh: AFDModule, batches: list[tuple[Tensor, ...]]) -> list[str]:
    """Revive the dead channels of a classifier's module, in place.

    Args:
        classifier: with the module, not re-parameterised.
        fresh: a new module of the same configuration.
        batches: inputs of the classifier, on which a channel has to show that it lives.

    Returns:
        A line of report for each part.
    """
    afd = classifier.afd
    layers = {
        f"{index}.{name}": layer
        for index, stage in enumerate(afd.stages)
        for name, layer in (("reduce", stage.reduce), ("conv", stage.conv))
    }
    change = size = 0.0
    with torch.no_grad(), highest_outputs(layers) as highest:  # type: ignore[arg-type]
        for inputs in batches:
            features = classifier.forward_features(*inputs)
            change += float((features.layers[0] - features.stem_before).abs().mean())
            size += float(features.stem_before.abs().mean())
    lines = [f"FE-Net changed the stem by {change / size:.2g}"]
    if change < LEAST_STEM_CHANGE * size:
        afd.fe.load_state_dict(fresh.fe.state_dict())
        lines[0] += ": begun anew"
    for index, (stage, new) in enumerate(zip(afd.stages, fresh.stages, strict=True)):
        assert isinstance(stage, StageCorrection)
        assert isinstance(new, StageCorrection)
        dead = [highest[f"{index}.{name}"] <= 0 for name in ("reduce", "conv")]
        revive_stage(stage, new, *dead)
        counts = ", ".join(f"{int(one.sum())} of {len(one)}" for one in dead)
        lines.append(f"stage {index}: revived {counts} channels")
    return lines


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False))
@click.option("--images", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--limit", default=64, show_default=True, help="Compressed photos on which channels may show life."
)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(
    checkpoint: Path, model: str, weights: str | None, images: tuple[Path, ...], limit: int, output: Path
) -> None:
    """Write a checkpoint for `dctafd train --start-from`."""
    record = read_checkpoint(checkpoint)
    settings = record["settings"]
    backbone = load_backbone(model, weights)
    widths = settings["stage_widths"]
    config = AFDConfig.for_layers(
        find_layers(backbone.module, settings["layer"], backbone.spec.crop),
        settings["shape"],
        settings["fe_width"],
        None if widths is None else tuple(widths),
    )
    torch.manual_seed(1)
    afd, fresh = AFDModule(config).eval(), AFDModule(config).eval()
    load_afd_state(afd, record["average"], checkpoint)
    found = find_photos(images)
    photos = load_photos(
        found[:: max(1, len(found) // limit)][:limit], round(1.5 * backbone.spec.crop), threads=2
    )
    source = PairSource(photos, backbone.spec, DegradationRange(), BATCH, seed=1)
    steps = range(-(-len(photos) // BATCH))
    pairs = ([source.pair(step, index) for index in range(BATCH)] for step in steps)
    batches = [collate_pairs(batch).compressed.tensors() for batch in pairs]
    for line in revive(attach(backbone.module, afd), fresh, batches):
        click.echo(line)
    record["average"] = record["afd"] = afd.state_dict()
    save_checkpoint(output, record)


if __name__ == "__main__":
    main()
