"""Load the classifier that the options chose; what does not fit is wrong usage, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctafd.cli.startup import collector_paused
from dctafd.cli.stderr import warnings_as_notes

if TYPE_CHECKING:
    import torch

    from dctafd.cli.model_choice import ModelChoice
    from dctafd.inference.classifier import Classifier
    from dctafd.nets.afd import AFDModule
    from dctafd.nets.registry import Backbone


def load_chosen_classifier(
    choice: ModelChoice,
    quiet: bool,
    dtype: str = "float32",
    runtime: str = "torch",
    min_score: float | None = None,
) -> Classifier:
    """Load the classifier with its correction into a runtime; tell on stderr what may not fit."""
    with warnings_as_notes(quiet), collector_paused():
        from dctafd.inference.loading import load_classifier

        _check_afd(choice.afd)
        if choice.device not in ("auto", "cpu"):
            chosen_device(choice.device)
        try:
            return load_classifier(
                choice.model,
                choice.weights,
                choice.afd,
                choice.device,
                runtime,
                choice.labels,
                dtype=dtype,
                changes=choice.changes,
                min_score=min_score,
            )
        except ValueError as error:  # the runtime knows no such device or dtype
            raise click.BadParameter(str(error), param_hint="--runtime") from None


def load_chosen_backbone(choice: ModelChoice) -> Backbone:
    """Load the classifier alone."""
    with collector_paused():
        from dctafd.nets.registry import load_backbone

        _check_afd(choice.afd)
        return load_backbone(choice.model, choice.weights, choice.labels, choice.changes)


def load_chosen_afd(backbone: Backbone, choice: ModelChoice, quiet: bool) -> AFDModule | None:
    """Load the module that `--afd` names, re-parameterised; tell on stderr where it may not fit."""
    from dctafd.nets.afd_weights import select_afd

    with warnings_as_notes(quiet):
        selected = select_afd(choice.afd, backbone)
    return None if selected is None else selected.module.reparameterize()


def chosen_device(name: str) -> torch.device:
    """Return the device that `--device` names, and see that it is there."""
    import torch

    from dctafd.nets.device import choose_device

    try:
        device = choose_device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what torch says of no such device
        reason = str(error).splitlines()[0]
        raise click.BadParameter(f"{name!r}: {reason}", param_hint="--device") from None
    return device


def _check_afd(afd: str) -> None:
    if afd in ("auto", "off") or Path(afd).is_file():
        return
    from dctafd.nets.afd_weights import afd_path

    if not afd_path(afd).is_file():
        message = f"{afd!r} is neither auto, off, a file nor a shipped module's name"
        raise click.BadParameter(message, param_hint="--afd")
