"""Read state dicts from files, safely, and load them into networks, strictly."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dctafd.errors import WeightsError

_BATCH_NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_ema")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read `{key: tensor}` from .safetensors or from what `torch.save` wrote; no code in it is run.

    Floating-point tensors come back as float32. A state dict inside a training checkpoint is found.

    Raises:
        WeightsError: the file is missing, damaged, or holds no state dict.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            stored: Any = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        ValueError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as e:
        raise WeightsError(f"{path} is no readable weights file: {e}") from e
    return _normalized(_unwrapped(stored, path))


def read_metadata(path: Path) -> dict[str, str]:
    """Return a .safetensors file's metadata, {} for other kinds of files.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is no readable weights file: {error}") from error


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict; only BatchNorm's running statistics may be missing (they were folded).

    Raises:
        WeightsError: a key is missing or unexpected, or a shape differs.
    """
    try:
        result = module.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit {type(module).__name__}: {error}") from error
    missing = [k for k in result.missing_keys if k.rpartition(".")[2] not in _BATCH_NORM_STATISTICS]
    for kind, keys in (("lacks", missing), ("has unknown keys", result.unexpected_keys)):
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise WeightsError(f"{path} does not fit {type(module).__name__}: it {kind} {shown}")


def class_count(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """Return how many classes a state dict has, None where the network's last layer is not in it."""
    head = [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)][-1]
    weight = state.get(f"{head}.weight")
    return None if weight is None else int(weight.shape[0])


def _unwrapped(stored: Any, path: Path) -> Mapping[str, Any]:
    for key in _WRAPPERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping) or not any(isinstance(value, Tensor) for value in stored.values()):
        raise WeightsError(f"{path} holds no state dict")
    return stored


def _normalized(stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Keep the tensors, as float32, without the "module." that DataParallel puts before each key."""
    return {
        key.removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in stored.items()
        if isinstance(value, Tensor)
    }
