"""Average the weights of two AFD-Modules of one lineage: a training's result and what it began with, say.

    python tools/average_afd.py before.safetensors after.safetensors -o afd.safetensors

Weights that lie on one path of training can be averaged, and often do better than either (Wortsman et al.
2022, Model soups). What the second file says of itself is kept; its metadata then tells of the averaging, and
of the trainings that led to the first file alone. Where the training widened the module or began to correct
later stages, the first file is widened here as it was there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import torch

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.afd_weights import AFDCard, load_afd, read_afd_card, save_afd
from dctafd.nets.state_dict import read_state_dict
from dctafd.nets.widen import begin_with

weights_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def average(first: AFDModule, second: AFDModule) -> AFDModule:
    """Return `second`, changed in place to the mean of both; they must be built alike."""
    with torch.no_grad():
        others = first.state_dict()
        for name, own in second.state_dict().items():
            own.lerp_(others[name], 0.5)
    return second


def as_training_began(before: Path, after: AFDCard) -> AFDModule:
    """Load a module, widened as `dctafd train --start-from` did for the training that `after` tells of.

    Raises:
        WeightsError: that module was not narrower in every layer.
    """
    torch.manual_seed(after.training["seed"])  # of which new channels' incoming weights are drawn
    afd = AFDModule(after.config)
    begin_with(afd, read_state_dict(before), before)
    return afd.eval().reparameterize()


def _of_one_kind(first: AFDConfig, second: AFDConfig) -> bool:
    """Whether two modules differ in their widths at most, and the second corrects all that the first does."""
    alike = replace(second, fe_width=first.fe_width, stage_widths=first.stage_widths)
    return first == alike and len(first.stage_widths) <= len(second.stage_widths)


@click.command()
@click.argument("before", type=weights_file)
@click.argument("after", type=weights_file)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(before: Path, after: Path, output: Path) -> None:
    """Write the mean of BEFORE and AFTER, two re-parameterised weights files; BEFORE may be narrower."""
    cards = [read_afd_card(path) for path in (before, after)]
    if not _of_one_kind(cards[0].config, cards[1].config) or not all(card.reparameterized for card in cards):
        raise click.ClickException("both files must hold re-parameterised modules of one configuration")
    try:
        alike = cards[0].config == cards[1].config
        first = load_afd(before) if alike else as_training_began(before, cards[1])
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    known = cards[1].training.get("earlier", [])
    own_way = [run for run in cards[0].training.get("earlier", []) if run not in known]
    training = {**cards[1].training, "averaged_with": {**cards[0].training, "earlier": own_way}}
    if "averaged_with" in cards[1].training:  # AFTER was a mean itself
        means = [*cards[1].training.get("averaged_before", []), cards[1].training["averaged_with"]]
        training["averaged_before"] = means
    save_afd(output, average(first, load_afd(after)), replace(cards[1], training=training))
    click.echo(f"wrote {output}")


if __name__ == "__main__":
    main()
