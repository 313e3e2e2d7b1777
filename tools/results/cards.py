"""Model cards of the shipped modules: what card.md.j2 shows, from metadata, recipe and figures."""

from __future__ import annotations

import json
import operator
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from dctafd.nets.afd import AFDConfig
from dctafd.nets.afd_weights import AFDCard, afd_name, read_afd_card
from dctafd.nets.model_specs import get_spec
from tools.recipes.recipe import ModuleRecipe, read_module_recipe
from tools.results import tables
from tools.results.records import Record, Results, told

_LICENCE_IDS = {"Apache-2.0": "apache-2.0", "CC BY-NC 4.0": "cc-by-nc-4.0"}
_WIDTH = 110
_PHOTOS = {
    "images/train": "natural photos with a shorter side of 256 pixels (`../shared/images/train`; none "
    "of them is part of this project)"
}
_ALWAYS_LIMITED = (
    "It is for these weights of the classifier: `--afd auto` attaches it only where the layers that it "
    "corrects respond as those that it was trained for.",
    "It knows JPEG compression. Blur, noise or a crop are not its matter.",
)
_OLD_SIZES = (
    "It learnt from photos stored at 0.8 to 1.8 times the classifier's size. Between that and the sizes at "
    "which nothing is left of the drift it may lose more than it gains."
)


def model_card(path: Path, results: Results) -> str:
    """Return the card of a weights file.

    Raises:
        ValueError: the module has no recipe.
    """
    name, card = afd_name(path), read_afd_card(path)
    recipe, evaluations = read_module_recipe(name), results.evaluations.get(name, {})
    return _template().render(
        name=name,
        card=card,
        recipe=recipe,
        spec=get_spec(card.model),
        size=path.stat().st_size,
        licence_id=_LICENCE_IDS.get(card.licence),
        single=evaluations.get("single"),
        parts=list(_parts(card.config)),
        photos=[_PHOTOS.get(folder, f"`../shared/{folder}`") for folder in recipe.photos],
        teachers=[(teacher, get_spec(teacher).licence) for teacher in recipe.teachers],
        evaluations=evaluations,
        figures=list(_figures(name, results)),
        limits=list(_limits(card, recipe, evaluations)),
        trainings=_trainings(card),
        combined=combined(card.training, card.config),
    )


def _template() -> jinja2.Template:
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=folder, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"filled": _filled, "json": json.dumps}
    return environment.get_template("card.md.j2")


def _filled(text: str, indent: str = "") -> str:
    """Wrap a paragraph, however it is wrapped in the template."""
    return textwrap.fill(
        " ".join(text.split()), _WIDTH, subsequent_indent=indent, break_on_hyphens=bool(indent)
    )


def _parts(config: AFDConfig) -> Iterator[str]:
    yield f"{config.fe_width} channels in FE-Net" if config.fe_width else "the stem stays as it is"
    if config.stage_widths:
        yield f"bottlenecks of {_listed(config.stage_widths)} channels after the stages"
    if config.modulation_width:
        yield f"modulation of {len(config.layers.norms)} batch norms"


def _figures(name: str, results: Results) -> Iterator[tuple[str, str, list[str]]]:
    """Yield title, table and what is said below it."""
    for protocol, record in tables.in_order(results.evaluations.get(name, {})):
        title = f"Protocol `{protocol}`, {record['images']:,} photos"
        yield title, tables.evaluation_table(record), told(record)
    for kind, key, title in (
        ("do_no_harm", "module", "Photos that need nothing, and large ones, {photos} originals"),
        ("cost", "module", "What it costs"),
        ("calibration", "model", "How far its scores can be trusted"),
    ):
        if rows := results.rows(kind, **{key: name}):
            sources = [text for record in results.records(kind, **{key: name}) for text in told(record)]
            yield title.format_map(rows[0]), tables.SHOWN[kind](rows), sources


def _limits(card: AFDCard, recipe: ModuleRecipe, evaluations: Mapping[str, Record]) -> Iterator[str]:
    yield from _ALWAYS_LIMITED
    if not card.config.reads_surviving:
        yield _OLD_SIZES
    if evaluations:
        fewest = min(record["images"] for record in evaluations.values())
        yield f"Figures rest on samples ({fewest:,} photos at the least), as their intervals say."
    yield from recipe.limits


def _trainings(card: AFDCard) -> str:
    """Return a table of the trainings that led to a module, from its metadata."""
    training, crop = card.training, get_spec(card.model).crop
    rows = []
    for run in [*training.get("earlier", ()), training, *_beside(training)]:
        teachers = ", ".join(f"`{teacher.partition('=')[0]}`" for teacher in run.get("teachers", ()))
        steps, side = f"{run['steps_done']:,}", run["crop"] or crop
        rows.append((steps, run["batch_size"], f"{side} pixels", f"{run['seconds'] / 60:.0f}", teachers))
    return tables.table(("steps", "views a step", "views of", "minutes", "other teachers"), rows)


def _beside(training: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trainings that ran beside the others and count in a mean."""
    runs = [*training.get("earlier", ()), training]
    means = [*training.get("averaged_before", ()), training.get("averaged_with")]
    key = operator.itemgetter("seed", "steps_done", "seconds")
    return [run for run in means if run and key(run) not in map(key, runs)]


def combined(training: dict[str, Any], config: AFDConfig) -> str:
    """Return what became of the weights before or after the last training."""
    text = ""
    if _beside(training):
        text = "What ships is the mean of the last two, which began with the same weights. "
    elif training.get("averaged_with"):
        text = "What ships is the mean of the weights before and after the last one. "
    if "pruned_from" in training:
        text += _pruned(training["pruned_from"], config, "then")
    for number, run in enumerate(training.get("earlier", ()), 1):
        if "pruned_from" in run:
            text += _pruned(run["pruned_from"], config, f"after training {number}")
    if training.get("fde_net_alone"):
        text += " The corrections are those of the last training but one; FDE-Net alone was trained on."
    return text


def _pruned(before: dict[str, Any], now: AFDConfig, when: str) -> str:
    """Tell which widths a module had before it was pruned; older files know the bottlenecks' only."""
    text = f"The bottlenecks, trained with {_listed(before['stage_widths'])} channels, were pruned {when}"
    if "fde_width" in before:
        text += (
            f" to {_listed(now.stage_widths)}, FDE-Net's hidden layers from {before['fde_width']} to "
            f"{now.fde_width}, the Feature Drifting Map from {before['fdm_channels']} to {now.fdm_channels}"
        )
    return text + ". "


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
