"""Read state dicts from files, safely, and load them into networks, strictly."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.jpeg.foreign import START_BYTES, kind_of
from dctafd.plain_text import reason

_BATCH_NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_KINDS = ".safetensors, or what torch.save wrote"
_STATE_DICT_WANTED = "its state dict is wanted: torch.save(network.state_dict(), ...)"
_ZIP = b"PK\3\4"
_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_ema", "state_dict_ema", "ema_state_dict")
#: What DataParallel, Lightning, torch.compile and people put before each key.
_PREFIXES = ("module.", "model.", "_orig_mod.", "network.", "net.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read `{key: tensor}` from .safetensors or from what `torch.save` wrote; no code in it is run.

    Floating-point tensors come back as float32. A state dict inside a training checkpoint is found.

    Raises:
        WeightsError: the file is missing, damaged, or holds no state dict.
    """
    _check_kind(path)
    stored: Any
    try:
        if path.suffix == ".safetensors":
            stored = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice to those who call it
                stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and zipfile raise almost anything for a damaged file
        raise _unreadable(path, error) from error
    return _normalized(_unwrapped(stored, path))


def _check_kind(path: Path) -> None:
    """Refuse what can be no weights file by its first bytes, before any library sees it."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except OSError as error:
        raise WeightsError(f"the weights file cannot be read: {reason(error)}") from error
    if not start:
        raise WeightsError(f"{path} is empty")
    if start.startswith(_ZIP) or start[8:9] == b"{":  # torch.save's; safetensors', after eight bytes of size
        return
    if (kind := kind_of(start)) is not None:
        raise WeightsError(f"{path} is no weights file ({_KINDS}) but {kind}")


def _unreadable(path: Path, error: Exception) -> WeightsError:
    """Say what is wrong with a file that could not be loaded, without the library's advice to programmers."""
    if path.suffix == ".safetensors":
        return WeightsError(f"{path} is no .safetensors file, or is damaged")
    if "TorchScript" in str(error):
        return WeightsError(f"{path} holds a TorchScript program; {_STATE_DICT_WANTED}")
    if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
        return WeightsError(f"{path} holds a whole network or other objects; {_STATE_DICT_WANTED}")
    return WeightsError(f"{path} is no weights file ({_KINDS}), or is damaged")


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
    except Exception as error:  # a damaged header is told by OSError, SafetensorError and others
        raise _unreadable(path, error) from error


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: Path, name: str | None = None) -> None:
    """Load a state dict; only BatchNorm's running statistics may be missing (they were folded).

    Args:
        module: the network.
        state: of `read_state_dict`.
        path: where it came from, for messages.
        name: what messages call the network; its class if None.

    Raises:
        WeightsError: a key is missing or unexpected, a shape differs, or numbers are none; the message names
            the first.
    """
    difference = _first_difference(module.state_dict(), state)
    if difference is not None:
        raise WeightsError(
            f"{path} does not fit {name or type(module).__name__}: {difference}; "
            "a network of your own can be built in Python and corrected by dctafd.attach"
        )
    broken = next((key for key, tensor in state.items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise WeightsError(f"{path} is no use: {broken} holds NaN or infinity")
    module.load_state_dict(dict(state), strict=False)


def without_prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without what wrappers put before its keys, where that makes them the wanted ones.

    What else such a file holds, a loss's weights or a count of averaged steps, is left out.
    """
    found, first = dict(state), next(iter(wanted))
    while first not in found:
        prefix = next((prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in found)), None)
        if prefix is None:
            return dict(state)
        found = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    return found


def _first_difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Say where a file differs first from a network, in the network's order; None where it fits."""
    for key, tensor in wanted.items():
        if key not in found:
            if key.rpartition(".")[2] not in _BATCH_NORM_STATISTICS:
                layer = key.rpartition(".")[0]
                inside = next((other for other in found if other.startswith(f"{layer}.")), None)
                return f"it lacks {key}" + (
                    f" and has {inside}" if inside else f"; its first is {next(iter(found), 'none')}"
                )
        elif found[key].shape != tensor.shape:
            return f"{key} is {_shape(found[key])} in the file, {_shape(tensor)} in the network"
    unknown = [key for key in found if key not in wanted]
    if unknown:
        more = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
        return f"it has unknown keys {unknown[0]}{more}"
    return None


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


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
        raise WeightsError(f"{path} holds no state dict: no tensors by name")
    return stored


def _normalized(stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Keep the tensors, as float32."""
    return {
        key: value.float() if value.is_floating_point() else value
        for key, value in stored.items()
        if isinstance(value, Tensor)
    }
