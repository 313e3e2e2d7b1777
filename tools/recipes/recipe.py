"""How a module that ships was made, as data: tools/recipes/NAME.toml.

    model = "efficientnet_lite0"        # as of --model
    checkpoint = "resnet50_pqf"         # ../shared/weights/NAME.npz; left out where a package has the weights
    photos = ["images/train"]           # folders of ../shared
    licence = "Apache-2.0"
    reproduces = "Why the recipe makes this very module again, or why not."
    notes = "What else a reader of the card should know."
    limits = ["What the module is not for."]
    start_from = "none"                 # or the name of a module that ships; "none" if left out
    leave_out_fe_net = false            # leave the stem as it is in the file that ships

    [every_training]                    # what all have in common
    ema_decay = 0.997

    [[trainings]]                       # keys of `dctafd train --recipe`, each from the one before
    name = "whole views"
    minutes = 60
    teachers = ["mobilenet_v2_coral"]   # checkpoints of ../shared/weights
    mean_with_start = false             # take the mean of the weights before and after
    seeds = [33, 34]                    # train with each of two, from the same weights, and take the mean

    [prune]
    stage_widths = [32, 64, 128, 96]    # channels that the corrections after the stages keep

Only `model`, `photos`, `licence`, `reproduces` and one training are needed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """

    name: str
    recipe: Recipe
    mean_with_start: bool = False
    seeds: tuple[int, ...] = ()


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
        pruned_widths: of the corrections after the stages; empty for all channels.
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
    pruned_widths: tuple[int, ...] = ()

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
    widths = tuple(table.pop("prune", {}).get("stage_widths", ()))
    start = table.pop("start_from", "none")
    table |= {key: tuple(table.pop(key)) for key in ("photos", "limits") if key in table}
    start_from = None if start == "none" else start
    return ModuleRecipe(name, trainings=plans, pruned_widths=widths, start_from=start_from, **table)


def _plan(common: Mapping[str, Any], training: Mapping[str, Any], licence: str) -> TrainingPlan:
    table = {**common, **training}
    name, seeds = table.pop("name"), tuple(table.pop("seeds", ()))
    mean_with_start = table.pop("mean_with_start", False)
    if len(seeds) not in (0, 2):
        raise ValueError(f"{name}: seeds are two, or left out")
    if seeds and mean_with_start:
        raise ValueError(f"{name}: seeds and mean_with_start are different means: give one of them")
    return TrainingPlan(name, recipe_of({**table, "card": {"licence": licence}}), mean_with_start, seeds)
