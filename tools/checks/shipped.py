"""The modules that ship, each beside the classifier that it was trained for, and what their checks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.evaluation_rows import gain_interval
from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import afd_name, load_afd, read_afd_card, shipped_afds
from dctafd.nets.registry import Backbone, load_backbone

_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)
output_option = click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
photos_option = click.option("--photos", "folder", type=_FOLDER, required=True)
checkpoints_option = click.option("--checkpoints", type=_FOLDER, required=True, help="Has MODEL.pth files.")
module_option = click.option(
    "--module", "names", multiple=True, help="Of this module alone; may be repeated."
)


@dataclass(frozen=True, slots=True, eq=False)
class Shipped:
    """A module, re-parameterised, and its classifier."""

    name: str
    afd: AFDModule
    backbone: Backbone


def shipped_modules(checkpoints: Path, names: Sequence[str] = ()) -> list[Shipped]:
    """Load modules; their classifiers from MODEL.pth in a folder, or from where they come."""
    found = []
    for path in shipped_afds():
        if not names or afd_name(path) in names:
            model = read_afd_card(path).model
            file = checkpoints / f"{model}.pth"
            backbone = load_backbone(model, file if file.is_file() else None)
            found.append(Shipped(afd_name(path), load_afd(path).reparameterize(), backbone))
    return found


def paired(
    without: NDArray[np.bool_], corrected: NDArray[np.bool_]
) -> tuple[float, float, float, float, float]:
    """Return the shares of right answers in per cent, their difference in points and its 95 % interval.

    Args:
        without, corrected: (photos,), whether each answer is right.
    """
    before, after = (100 * float(right.mean()) for right in (without, corrected))
    low, high = (round(end, 3) for end in gain_interval(without, corrected))
    return round(before, 3), round(after, 3), round(after - before, 3), low, high
