"""How a module that ships was made, as data: tools/recipes/NAME.toml.

    model = "efficientnet_lite0"        # as of --model
    checkpoint = "resnet50_pqf"         # ../shared/weights/NAME.npz; left out where a package has the weights
    photos = ["images/train"]           # folders of ../shared
    licence = "Apache-2.0"
    reproduces = "Why the recipe makes this very module again, or why not."
    notes = "What else a reader of the card should know."
    limits = ["What the module is not for."]
    start_from = "none"                 # or the name of a module that ships; "none" if left out
    leave_out_fe_net = false            # leave the stem as it is from where [prune] is, or would be

    [every_training]                    # what all have in common
    ema_decay = 0.997

    [[trainings]]                       # keys of `dctafd train --recipe`, each from the one before
    name = "whole views"
    minutes = 60
    teachers = ["mobilenet_v2_coral"]   # checkpoints of ../shared/weights
    mean_with_start = false             # take the mean of the weights before and after
    seeds = [33, 34]                    # train with each of two, from the same weights, and take the mean
    fde_net_alone = false               # take FDE-Net from this training, the corrections as they were before

    [prune]                             # channels that stay, each only where some leave
    stage_widths = [32, 64, 128]        # of the corrections after the stages, here none after the last
    fde_width = 16                      # hidden channels of FDE-Net
    fdm_channels = 4                    # of the Feature Drifting Map
    before = "whole views"              # the training that begins with it; after the last if left out

Only `model`, `photos`, `licence`, `reproduces` and one training are needed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctafd.nets.prune import PrunedWidths
from dctafd.training.recipe import Recipe, recipe_of

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One training.

    Attributes:
        name: what it is called in messages and file names.
        recipe: of `dctafd train`; its teachers are names without files.
        mean_with_start: whether the mean of the weights before and after goes on.
        seeds: two where the mean of two trainings from the same weights goes on.
        fde_net_alone: whether only FDE-Net goes on as trained, and the rest as it was before.
    """

    name: str
    recipe: Recipe
    mean_with_start: bool = False
    seeds: tuple[int, ...] = ()
    fde_net_alone: bool = False


@dataclass(frozen=True, slots=True)
class ModuleRecipe:
    """One module; the attributes are the keys of its file (see above).

    Attributes:
        name: of the module.
        model, checkpoint: the frozen classifier.
        photos: folders of ../shared to learn from.
        licence: of the weights.
        reproduces: whether the recipe makes this very module again.
        notes, limits: for the card.
        trainings: in their order.
        start_from: the module to begin with, None for a new one.
        leave_out_fe_net: whether the file that ships leaves the stem as it is.
        prune: channels that stay, None for all.
        prune_before: the training that begins without FE-Net, or pruned; None where that is done at the end.
    """

    name: str
    model: str
    photos: tuple[str, ...]
    licence: str
    reproduces: str
    trainings: tuple[TrainingPlan, ...]
    checkpoint: str | None = None
    notes: str = ""
    limits: tuple[str, ...] = ()
    start_from: str | None = None
    leave_out_fe_net: bool = False
    prune: PrunedWidths | None = None
    prune_before: str | None = None

    @property
    def teachers(self) -> tuple[str, ...]:
        """Other networks that taught in any of the trainings."""
        named = (teacher for plan in self.trainings for teacher in plan.recipe.config.teachers)
        return tuple(dict.fromkeys(named))


def recipe_names(folder: Path = FOLDER) -> list[str]:
    """Return the modules that have a recipe."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_module_recipe(name: str, folder: Path = FOLDER) -> ModuleRecipe:
    """Read a module's recipe.

    Raises:
        ValueError: there is none, or what it says makes no sense; the message says which key.
    """
    path = folder / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"tools/recipes/{name}.toml is missing: it says how the module was made")
    try:
        return _module_recipe(name, tomllib.loads(path.read_text("utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _module_recipe(name: str, table: dict[str, Any]) -> ModuleRecipe:
    common = table.pop("every_training", {})
    plans = tuple(_plan(common, training, table["licence"]) for training in table.pop("trainings"))
    if not plans:
        raise ValueError("there is no training")
    prune: dict[str, Any] = table.pop("prune", {})
    before = prune.pop("before", None)
    if before not in (None, *(plan.name for plan in plans)):
        raise ValueError(f"prune.before = {before!r} is none of the trainings")
    if "stage_widths" in prune:
        prune["stage_widths"] = tuple(prune["stage_widths"])
    table |= {"prune": PrunedWidths(**prune) if prune else None, "prune_before": before}
    start = table.pop("start_from", "none")
    table |= {key: tuple(table.pop(key)) for key in ("photos", "limits") if key in table}
    start_from = None if start == "none" else start
    return ModuleRecipe(name, trainings=plans, start_from=start_from, **table)


def _plan(common: Mapping[str, Any], training: Mapping[str, Any], licence: str) -> TrainingPlan:
    table = {**common, **training}
    name, seeds = table.pop("name"), tuple(table.pop("seeds", ()))
    mean_with_start, fde_net_alone = table.pop("mean_with_start", False), table.pop("fde_net_alone", False)
    if len(seeds) not in (0, 2):
        raise ValueError(f"{name}: seeds are two, or left out")
    if sum(map(bool, (seeds, mean_with_start, fde_net_alone))) > 1:
        raise ValueError(f"{name}: seeds, mean_with_start, fde_net_alone: give one of them")
    recipe = recipe_of({**table, "card": {"licence": licence}})
    return TrainingPlan(name, recipe, mean_with_start, seeds, fde_net_alone)
