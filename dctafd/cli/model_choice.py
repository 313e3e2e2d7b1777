"""The options that choose a classifier: which one, corrected by what, where it runs, what it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from dctafd.config import DEFAULT_MODEL, UNCHANGED, PreprocessingChanges

_Decorator = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which classifier, corrected by what, where: what the options of `model_options` say.

    Attributes:
        model: its name.
        weights: a file of weights, None for the model's own.
        afd: "auto", "off", a weights file or a shipped module's name.
        device: "auto", "cpu", "cuda" ...
        labels: a file of class names, None for those of the weights.
        changes: what the classifier expects of its pixels where it is not what the model usually expects.
    """

    model: str
    weights: Path | None = None
    afd: str = "auto"
    device: str = "auto"
    labels: Path | None = None
    changes: PreprocessingChanges = UNCHANGED


_EXISTING_FILE: click.Path = click.Path(exists=True, dir_okay=False, path_type=Path)


class _ThreeNumbers(click.ParamType[tuple[float, float, float]]):
    """R,G,B in 0..1, or one number for all three."""

    name = "R,G,B"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float, float]:
        try:
            numbers = [float(part) for part in str(value).split(",")]
            red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
        except ValueError:
            self.fail(f"{value!r} is not of the form 0.485,0.456,0.406", param, ctx)
        return red, green, blue


def _preprocessing_options() -> list[_Decorator]:
    return [
        click.option("--resize", type=click.IntRange(8, 8192), help="Shorter side after resizing."),
        click.option("--crop", type=click.IntRange(8, 8192), help="Side of the crop, a multiple of 8."),
        click.option("--mean", type=_ThreeNumbers(), help="Subtracted from RGB in 0..1."),
        click.option("--std", type=_ThreeNumbers(), help="What RGB is divided by."),
    ]


def model_options(
    *,
    default: str | None = DEFAULT_MODEL,
    afd: bool = True,
    device: bool = True,
    labels: bool = True,
    preprocessing: bool = True,
) -> _Decorator:
    """`--model`, `--weights` and what belongs to them, passed as one `choice: ModelChoice`.

    Args:
        default: the model where none is named; with None, `choice` is None, too.
        afd: whether the command corrects.
        device: whether it lets one choose where it runs.
        labels: whether `--labels` names the classes.
        preprocessing: whether `--resize`, `--crop`, `--mean` and `--std` change what the model expects.
    """
    options = [
        click.option(
            "--model", default=default, show_default=True, help="The classifier; see `dctafd models`."
        ),
        click.option(
            "--weights",
            type=_EXISTING_FILE,
            help="The classifier's weights, a state dict.",
        ),
    ]
    if labels:
        text = "Class names: a file with one per line, or JSON."
        options.append(click.option("--labels", "class_names", type=_EXISTING_FILE, help=text))
    if preprocessing:
        options += _preprocessing_options()
    if afd:
        text = "The correction: auto, off, a weights file or a shipped module's name."
        options.append(click.option("--afd", default="auto", show_default=True, help=text))
    if device:
        options.append(
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
        )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def gather(
            *arguments: Any,
            model: str | None,
            weights: Path | None,
            afd: str = "auto",
            device: str = "auto",
            class_names: Path | None = None,
            resize: int | None = None,
            crop: int | None = None,
            mean: tuple[float, float, float] | None = None,
            std: tuple[float, float, float] | None = None,
            **others: Any,
        ) -> Any:
            if model is None and weights is not None:
                raise click.UsageError("--weights belongs to --model")
            changes = PreprocessingChanges(resize, crop, mean, std)
            choice = None if model is None else ModelChoice(model, weights, afd, device, class_names, changes)
            return function(*arguments, choice=choice, **others)

        for option in reversed(options):
            gather = option(gather)
        return gather

    return decorate
