"""The options that choose a classifier, its weights, its correction and the device, for all commands."""

from collections.abc import Callable
from typing import Any

import click

_Function = Callable[..., Any]

weights_option = click.option(
    "--weights", type=click.Path(exists=True, dir_okay=False), help="The classifier's weights, a state dict."
)
afd_option = click.option(
    "--afd",
    default="auto",
    show_default=True,
    help="The correction: auto, off, a weights file or a shipped module's name.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ..."
)


def model_options(function: _Function) -> _Function:
    """`--model` (default builtin) and `--weights`, passed as `model: str` and `weights: str | None`."""
    model = click.option(
        "--model", default="builtin", show_default=True, help="The classifier; see `dctafd models`."
    )
    return model(weights_option(function))
