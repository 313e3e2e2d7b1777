"""`dctafd models`: the classifiers that are known by name, and whether their weights are on this machine."""

from pathlib import Path
from typing import Any

import click

from dctafd.cli.output import format_option, output_option, write_records


@click.command()
@format_option("table", "json", "jsonl", "csv")
@output_option
def command(output_format: str, output: Path | None) -> None:
    """List the models: what is built in, what weights are at hand, where they came from, their licence.

    Any other classifier of torchvision can be named to --model, too.

    \b
    Example:
      dctafd models --format json
    """
    from dctafd.nets.registry import list_models

    write_records([_record(spec) for spec in list_models()], output_format, output)


def _record(spec: Any) -> dict[str, Any]:
    return {
        "model": spec.name,
        "architecture": spec.architecture,
        "weights": "at hand" if spec.available else "download" if spec.weights_file else "--weights FILE",
        "input": f"{spec.resize}/{spec.crop}",
        "labels": spec.labels,
        "licence": spec.licence,
        "origin": spec.origin,
    }
