"""What each correction of an AFD-Module gives: the module with one of them switched off at a time.

    python tools/measure_corrections.py --model resnet50_pqf --weights runs/shipped/resnet50_pqf.pth \\
        --afd resnet50_pqf --images ../shared/images/train

Photos need no labels. The other corrections were trained beside the one that is missing, so a row says how
much the module relies on it, and not how good a module trained without it would be.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import afd_path, load_afd
from dctafd.nets.attach import attach
from dctafd.nets.fe_net import StageCorrection
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import load_backbone
from dctafd.training.config import Machine
from dctafd.training.data import find_photos, load_photos
from dctafd.training.validation import Validation, split_photos


def without_one(afd: AFDModule) -> Iterator[str]:
    """Switch each correction off in turn, in place, and on again; yield the layer's name while it is off."""
    layers = afd.config.layers
    lasts = [(layers.stem.name, afd.fe.decode)]  # layers without bias that all a correction does goes through
    for layer, correction in zip(layers.stages, afd.stages, strict=False):
        assert isinstance(correction, StageCorrection)
        lasts.append((layer.name, correction.expand))
    for name, last in lasts:
        kept = last.weight.detach().clone()
        last.weight.data.zero_()
        yield name
        last.weight.data.copy_(kept)


@click.command()
@click.option("--model", required=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False))
@click.option("--afd", required=True, help="A file, or the name of a module that ships.")
@click.option("--images", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=48, show_default=True, help="Photos, those that trainings hold out.")
@click.option("--quality", "qualities", multiple=True, type=int, default=(7, 10, 18), show_default=True)
def main(
    model: str,
    weights: str | None,
    afd: str,
    images: tuple[Path, ...],
    limit: int,
    qualities: tuple[int, ...],
) -> None:
    """Print the KL divergence from the answers on clean photos, and how often they agree, as a table."""
    backbone, module, machine = load_backbone(model, weights), load_afd(afd_path(afd)), Machine.choose()
    _, held_out = split_photos(find_photos(images), limit)
    photos = load_photos(held_out, round(1.5 * backbone.spec.crop), machine.threads)
    validation = Validation(photos, backbone.spec, machine.threads, qualities)
    frozen = fold_batch_norms(backbone.module)

    def show(name: str, afd: AFDModule) -> None:
        rows = validation.measure(attach(frozen, afd).to(machine.device), machine.device)
        cells = (f"{row.divergence:.2f}, {row.corrected:.0f} %" for row in rows)
        click.echo(f"| {name} | {' | '.join(cells)} |")

    click.echo(f"{len(photos)} photos; KL divergence, and how many have the clean photo's top class\n")
    click.echo(f"| corrections | {' | '.join(f'q{quality}' for quality in qualities)} |")
    click.echo("|---" * (len(qualities) + 1) + "|")
    show("all", module)
    show("none", AFDModule(module.config).eval())  # new modules change nothing
    for layer in without_one(module):
        show(f"without that of `{layer}`", module)


if __name__ == "__main__":
    main()
