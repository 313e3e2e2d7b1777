"""Training checkpoints: all that a training needs to go on exactly where it stopped."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dctafd.errors import WeightsError
from dctafd.files import atomic_path
from dctafd.training.config import OLD_NAMES


@dataclass(slots=True)
class TrainingState:
    """Where a training stands.

    Attributes:
        step: optimiser steps done.
        seconds: time spent on them, over all runs.
        loss_scales: the terms of the loss before training, in units of which they count ever after.
    """

    step: int = 0
    seconds: float = 0.0
    loss_scales: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> TrainingState:
        """Read a checkpoint's "state", also one of before, when `loss_scales` were `units`."""
        return cls(**{"loss_scales" if name == "units" else name: value for name, value in record.items()})


def amount_of(state: TrainingState, batch_size: int) -> dict[str, Any]:
    """Return how much was trained, for a weights file's metadata."""
    return {
        "steps_done": state.step,
        "images_seen": state.step * batch_size,
        "seconds": round(state.seconds, 1),
    }


def summary_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's settings and how much was trained, for the metadata of what begins with it."""
    amount = amount_of(TrainingState.from_record(record["state"]), record["settings"]["batch_size"])
    return {**record["settings"], **amount}


def save_checkpoint(path: Path, record: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    with atomic_path(path) as partial:
        torch.save(record, partial)


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of a training with the same settings.

    Args:
        path: what `save_checkpoint` wrote.
        settings: what has to be as it was; compared with the record's "settings".

    Raises:
        WeightsError: the file is damaged, or belongs to a training with other settings.
    """
    record = read_checkpoint(path)
    stored = {OLD_NAMES.get(name, name): value for name, value in record["settings"].items()}
    changed = [name for name in settings if stored.get(name) != settings[name]]
    if changed:
        raise WeightsError(
            f"{path} belongs to a training with another {', '.join(changed)}: "
            "delete it to begin anew, or choose another output"
        )
    return record


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, whatever its settings; no code in it is run.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is no training checkpoint: {error}") from error
    if not isinstance(record, dict) or not {"settings", "state", "afd", "average"} <= set(record):
        raise WeightsError(f"{path} is no training checkpoint")
    return record
