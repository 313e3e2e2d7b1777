"""Model cards of the shipped modules, by the Hugging Face conventions.

A card is rendered from the weights file's metadata, the module's recipe and docs/results/: nothing in it is
written by hand.
"""

from __future__ import annotations

import json
import operator
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dctafd.nets.afd_weights import AFDCard, afd_name, read_afd_card
from dctafd.nets.registry import get_spec
from tools.recipes.recipe import ModuleRecipe, read_module_recipe
from tools.results.records import Record, Results, source_of
from tools.results.tables import (
    calibration_table,
    cost_table,
    evaluation_table,
    harm_table,
    in_order,
    table,
)

_LICENCE_IDS = {"Apache-2.0": "apache-2.0", "CC BY-NC 4.0": "cc-by-nc-4.0"}
_WIDTH = 110
_PHOTOS = {
    "images/train": "natural photos with a shorter side of 256 pixels (`../shared/images/train`; none "
    "of them is part of this project)"
}
_EVALUATED_ON = (
    "It was measured on photos of ImageNet's validation set (`../shared/images/eval`: 227 x 227 pixels, "
    "about quality 95), and on originals of its training set (`../shared/images/native`), neither of which "
    "it was trained or chosen on."
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
    recipe = read_module_recipe(name)
    protocols = results.evaluations.get(name, {})
    sections = [
        _front_matter(name, card, protocols),
        f"# {name}: AFD-Module for {card.architecture}",
        *_what_it_is(name, card, path.stat().st_size),
        *_data(card, recipe),
        *_licence(card, recipe),
        *_figures(name, protocols, results),
        *_limits(card, recipe, protocols),
        *_making(name, card, recipe),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(name: str, card: AFDCard, protocols: dict[str, Record]) -> str:
    """Return the YAML of the Hub; strings are JSON's, which YAML reads."""
    licence = _LICENCE_IDS.get(card.licence)
    lines = [f"license: {licence or 'other'}"]
    if licence is None:
        lines.append(f"license_name: {json.dumps(card.licence)}")
    lines += ["library_name: dctafd", "pipeline_tag: image-classification", "tags:"]
    tags = ("jpeg", "dct", "compression", "robustness", "image-classification")
    lines += [f"- {tag}" for tag in (*tags, card.architecture)]
    lines += ["datasets:", "- imagenet-1k  # to measure; the training photos are no published data set"]
    lines += ["metrics:", "- accuracy"]
    record = protocols.get("single")
    if record is not None:
        lines += ["model-index:", f"- name: {name}", "  results:"]
        for row in record["rows"]:
            lines += _model_index_entry(record, row)
    return "\n".join(["---", *lines, "---"])


def _model_index_entry(record: Record, row: dict[str, Any]) -> Iterator[str]:
    quality = row["quality"]
    what = f"ImageNet-1k validation, {record['images']} photos, JPEG quality {quality}"
    yield from ("  - task:", "      type: image-classification", "    dataset:", "      type: imagenet-1k")
    yield from (f"      name: {json.dumps(what)}", "      split: validation", "    metrics:")
    for label, key in (("with the module", "afd_top1"), ("without", "direct_top1")):
        yield from (
            "    - type: accuracy",
            f"      name: top-1 in per cent, {label}",
            f"      value: {row[key]}",
        )


def _what_it_is(name: str, card: AFDCard, size: int) -> list[str]:
    config, spec = card.config, get_spec(card.model)
    parts = [f"{config.fe_width} channels in FE-Net" if config.fe_width else "the stem stays as it is"]
    if config.stage_widths:
        parts.append(f"bottlenecks of {_listed(config.stage_widths)} channels after the stages")
    if config.modulation_width:
        parts.append(f"modulation of {len(config.layers.norms)} batch norms")
    network = "" if card.architecture == card.model else f" ({card.architecture})"
    facts = [
        ("file", f"`{name}_afd.safetensors`, {size:,} bytes, fp16, re-parameterised"),
        ("corrects", f"`{card.model}`{network}, {spec.crop} pixels; {spec.origin}"),
        ("shape", f"`{config.variant}`: {'; '.join(parts)}"),
        ("licence", card.licence),
    ]
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts)
    return [
        _filled(
            "It corrects what JPEG compression does to the features of a frozen classifier: from the file's "
            "DCT coefficients and quantisation tables it estimates, block by block, how far the features "
            "have drifted, and moves them back as far as that. The method is the AFD-Module of Peng, Cao, "
            "Sun and Wang (IEEE Transactions on Multimedia 26, 2024; arXiv 2401.01724)."
        ),
        "## What it is",
        f"| | |\n|---|---|\n{rows}",
        _filled(
            "`dctafd classify photo.jpg` takes it by itself for that classifier's weights; "
            f"`--afd {name}` asks for it by name, `--afd off` does without."
        ),
    ]


def _data(card: AFDCard, recipe: ModuleRecipe) -> list[str]:
    photos = " and ".join(_PHOTOS.get(folder, f"`../shared/{folder}`") for folder in recipe.photos)
    text = f"Trained on {card.training['photos']:,} {photos}, without labels. {_EVALUATED_ON}"
    return ["## Data", _filled(text)]


def _licence(card: AFDCard, recipe: ModuleRecipe) -> list[str]:
    spec = get_spec(card.model)
    lines = [f"- the classifier, `{card.model}`: {spec.licence}"]
    lines += [f"- `{teacher}`, which taught, too: {get_spec(teacher).licence}" for teacher in recipe.teachers]
    text = f"These weights: {card.licence}, after what they were trained against:"
    return ["## Licence", _filled(text), "\n".join(lines)]


def _figures(name: str, protocols: dict[str, Record], results: Results) -> list[str]:
    sections = ["## Figures"]
    if protocols:
        sections.append(
            _filled("Top-1 in per cent; gains with their 95 % interval (paired bootstrap over photos).")
        )
    for protocol, record in in_order(protocols):
        sections += [f"### Protocol `{protocol}`, {record['images']:,} photos", evaluation_table(record)]
        sections += [_filled(text) for text in (record.get("note"), source_of(record)) if text]
    if rows := results.rows("do_no_harm", module=name):
        sections += [f"### Photos that need nothing, and large ones, {rows[0]['photos']} originals"]
        sections += [harm_table(rows), *_sources(results, "do_no_harm", name)]
    if rows := results.rows("cost", module=name):
        sections += ["### What it costs", cost_table(rows), *_sources(results, "cost", name)]
    for record in results.others.get("calibration", ()):
        if rows := [row for row in record["rows"] if row["model"] == name]:
            sections += ["### How far its scores can be trusted", calibration_table(rows)]
            sections += [_filled(text) for text in (record.get("note"), source_of(record)) if text]
    if len(sections) == 1:
        sections.append("Nothing has been measured yet.")
    return sections


def _sources(results: Results, kind: str, module: str) -> list[str]:
    records = results.others[kind]
    return [_filled(source_of(r)) for r in records if any(row["module"] == module for row in r["rows"])]


def _limits(card: AFDCard, recipe: ModuleRecipe, protocols: dict[str, Record]) -> list[str]:
    limits = [
        "It is for these weights of the classifier: `--afd auto` attaches it only where the layers that it "
        "corrects respond as those that it was trained for.",
        "It knows JPEG compression. Blur, noise or a crop are not its matter.",
    ]
    if not card.config.reads_surviving:
        limits.append(_OLD_SIZES)
    if protocols:
        fewest = min(record["images"] for record in protocols.values())
        limits.append(f"Figures rest on samples ({fewest:,} photos at the least), as their intervals say.")
    limits += recipe.limits
    return [
        "## Limits",
        "\n".join(textwrap.fill(f"- {text}", _WIDTH, subsequent_indent="  ") for text in limits),
    ]


def _making(name: str, card: AFDCard, recipe: ModuleRecipe) -> list[str]:
    parts = [
        "## How it was made",
        _filled(
            "Against the frozen classifier, from the answers that it gives on uncompressed photos, in these "
            "trainings, each from the averaged weights of the one before. All settings are in the file's "
            "metadata."
        ),
        _trainings(card),
    ]
    parts += [_filled(text) for text in (_combined(card.training), recipe.notes) if text]
    parts.append(f"    python -m tools.recipes.make_module train {name}")
    told = f"runs the recipe `tools/recipes/{name}.toml`. Does it make this module? {recipe.reproduces}"
    return [*parts, _filled(told)]


def _trainings(card: AFDCard) -> str:
    """Return a table of the trainings that led to a module, from its metadata."""
    training, crop = card.training, get_spec(card.model).crop
    rows = []
    for run in [*training.get("earlier", ()), training, *_beside(training)]:
        teachers = ", ".join(f"`{teacher.partition('=')[0]}`" for teacher in run.get("teachers", ()))
        steps, side = f"{run['steps_done']:,}", run["crop"] or crop
        rows.append((steps, run["batch_size"], f"{side} pixels", f"{run['seconds'] / 60:.0f}", teachers))
    return table(("steps", "views a step", "views of", "minutes", "other teachers"), rows)


def _beside(training: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trainings that ran beside the others and count in a mean."""
    runs = [*training.get("earlier", ()), training]
    means = [*training.get("averaged_before", ()), training.get("averaged_with")]
    key = operator.itemgetter("seed", "steps_done", "seconds")
    return [run for run in means if run and key(run) not in map(key, runs)]


def _combined(training: dict[str, Any]) -> str:
    """Return what became of the weights after the last training."""
    text = ""
    if _beside(training):
        text = "What ships is the mean of the last two, which began with the same weights. "
    elif training.get("averaged_with"):
        text = "What ships is the mean of the weights before and after the last one. "
    if "pruned_from" in training:
        before = _listed(training["pruned_from"]["stage_widths"])
        text += f"The bottlenecks, trained with {before} channels, were pruned then."
    return text


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False, break_long_words=False)
