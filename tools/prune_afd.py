"""Make a trained AFD-Module's corrections after the stages narrower, and so faster, without training again.

    python tools/prune_afd.py --model resnet50_pqf --weights runs/shipped/resnet50_pqf.pth \\
        --images ../shared/images/train --afd wide.safetensors --stage-widths 16,48,96,32 -o new.safetensors

Photos that trainings learn from, saved at several qualities, tell which channels the others can stand in for
(`dctafd/nets/prune.py`); what that costs, `compare_afd.py` tells on those that they hold out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch
from compare_afd import make_batches

from dctafd.errors import DctafdError
from dctafd.nets.afd_weights import load_afd, read_afd_card, save_afd
from dctafd.nets.attach import attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.prune import collect_moments, prune_stages
from dctafd.nets.registry import Backbone, load_backbone
from dctafd.training.config import Machine
from dctafd.training.data import find_photos, load_photos
from dctafd.training.validation import split_photos
from dctafd.training.views import Photo

QUALITIES = (7, 9, 11, 14, 18, 23, 30, 40)  # evenly spread as trainings draw them, in logarithms


def views(photos: Sequence[Photo], backbone: Backbone) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield one view of each photo, saved at one of the qualities in turn, as the classifier's arguments."""
    for start, quality in enumerate(QUALITIES):
        for batch in make_batches(photos[start :: len(QUALITIES)], backbone, quality, boxes=1):
            yield batch.compressed.tensors()


def _widths(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list such as 24,48,64,96", ctx, parameter) from None


@click.command()
@click.option("--model", required=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False))
@click.option("--afd", "wide", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--stage-widths", required=True, callback=_widths, help="Whole numbers, commas between.")
@click.option("--images", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--photos", "limit", default=96, show_default=True)
@click.option("--held-out", default=48, show_default=True, help="As of `dctafd train`.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(
    model: str,
    weights: str | None,
    wide: Path,
    stage_widths: tuple[int, ...],
    images: tuple[Path, ...],
    limit: int,
    held_out: int,
    output: Path,
) -> None:
    """Write the pruned module and print what each correction lost."""
    try:
        backbone, afd, card = load_backbone(model, weights), load_afd(wide), read_afd_card(wide)
        learnt_from, _ = split_photos(find_photos(images), held_out)
        step = max(1, len(learnt_from) // limit)
        photos = load_photos(
            learnt_from[::step][:limit], round(1.5 * backbone.spec.crop), Machine.choose().jobs
        )
        classifier = attach(fold_batch_norms(backbone.module), afd.reparameterize()).eval()
        pruned, lost = prune_stages(afd, collect_moments(classifier, views(photos, backbone)), stage_widths)
    except DctafdError as error:
        raise click.ClickException(str(error)) from error
    for stage, (before, after, share) in enumerate(
        zip(card.config.stage_widths, stage_widths, lost, strict=True), start=1
    ):
        click.echo(
            f"correction {stage}: {before} -> {after} channels, {100 * share:.2f} % of its energy lost"
        )
    note = {
        "stage_widths": list(card.config.stage_widths),
        "photos": len(photos),
        "qualities": list(QUALITIES),
    }
    training = {**card.training, "pruned_from": note}
    save_afd(output, pruned, replace(card, config=pruned.config, reparameterized=True, training=training))
    click.echo(f"wrote {output}")


if __name__ == "__main__":
    main()
