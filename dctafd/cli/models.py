"""`dctafd models`: the classifiers that are known by name, and whether their weights are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctafd.cli.options import format_option, output_option
from dctafd.cli.output import write_records

_CLASSES = 1000  # all that are known by name are ImageNet-1k's

if TYPE_CHECKING:
    from dctafd.batch.store_writing import OutputUrl
    from dctafd.nets.model_specs import ModelSpec


@click.command()
@format_option("table", "json", "jsonl", "csv")
@output_option
def command(output_format: str, output: Path | OutputUrl | None) -> None:
    """List the models: how many classes, whether the weights are here, which have a correction, the licence.

    Any other classifier of torchvision can be named to --model, too. --format json also tells the network,
    the size of its input, where weights and class names come from, and the corrections by name.

    \b
    Example:
      dctafd models --format json
    """
    from dctafd.nets.model_specs import list_models

    modules = _modules_by_model()
    record = _row if output_format == "table" else _record
    write_records([record(spec, modules.get(spec.name, [])) for spec in list_models()], output_format, output)


def _row(spec: ModelSpec, modules: list[str]) -> dict[str, Any]:
    return {
        "model": spec.name,
        "classes": _CLASSES,
        "weights": _weights(spec),
        "module": "own" if modules else "none",
        "licence": spec.licence.partition(";")[0],
    }


def _record(spec: ModelSpec, modules: list[str]) -> dict[str, Any]:
    return {
        "model": spec.name,
        "architecture": spec.architecture,
        "classes": _CLASSES,
        "labels": spec.labels,
        "weights": _weights(spec),
        "weights_file": None if spec.weights_file is None else str(spec.weights_file),
        "modules": modules,
        "resize": spec.resize,
        "crop": spec.crop,
        "licence": spec.licence,
        "origin": spec.origin,
    }


def _weights(spec: ModelSpec) -> str:
    return "here" if spec.available else "download" if spec.weights_file else "--weights FILE"


def _modules_by_model() -> dict[str, list[str]]:
    """Return the shipped AFD-Modules by the model whose weights they were trained for."""
    from dctafd.nets.afd_weights import afd_name, read_afd_card, shipped_afds

    found: dict[str, list[str]] = {}
    for path in shipped_afds():
        found.setdefault(read_afd_card(path).model, []).append(afd_name(path))
    return found
