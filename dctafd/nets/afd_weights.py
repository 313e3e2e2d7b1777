"""Files of AFD-Module weights: what they hold, which one serves a classifier, whether it fits."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.files import atomic_path
from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.registry import WEIGHTS_DIRECTORY, Backbone
from dctafd.nets.state_dict import load_into, read_metadata, read_state_dict
from dctafd.nets.stem import features_at

#: Relative difference of two stems' responses up to which they count as the same stem.
FINGERPRINT_TOLERANCE = 0.02
_PROBE_SIZE = 32
_SHIPPED_ENDING = "_afd.safetensors"


class StemMismatchWarning(UserWarning):
    """AFD weights are used with a stem that is not the one they were trained against, or none are at hand."""


@dataclass(frozen=True, slots=True)
class AFDCard:
    """What a weights file says of itself.

    Attributes:
        config: what the module is built from.
        model: name of the model whose weights it was trained against.
        architecture: torchvision's name of that network.
        serves: names of the models that `afd="auto"` uses it for.
        fingerprint: the stem's response to a fixed pattern (`stem_fingerprint`).
        reparameterized: whether the RepConvs are stored folded.
        licence: licence of these weights.
        training: seeds, qualities, steps, photos and the like, as the training recorded them.
    """

    config: AFDConfig
    model: str
    architecture: str
    serves: tuple[str, ...]
    fingerprint: tuple[float, ...]
    reparameterized: bool = False
    licence: str = "Apache-2.0"
    training: dict[str, Any] = field(default_factory=dict)


def save_afd(path: str | Path, afd: AFDModule, card: AFDCard, dtype: torch.dtype = torch.float16) -> None:
    """Write a module and its card as .safetensors, whole or not at all; floats are stored as `dtype`."""
    path = Path(path)
    state = {
        key: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).contiguous()
        for key, value in afd.state_dict().items()
    }
    record = {**asdict(card), "config": card.config.to_json(), "reparameterized": afd.reparameterized}
    metadata = {"format": "dctafd-afd", **{key: json.dumps(value) for key, value in record.items()}}
    with atomic_path(path) as partial:
        save_file(state, partial, metadata)


def read_afd_card(path: str | Path) -> AFDCard:
    """Read what a weights file says of itself, without its tensors.

    Raises:
        WeightsError: the file is missing, damaged, or holds no AFD-Module.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if metadata.pop("format", None) != "dctafd-afd":
        raise WeightsError(f"{path} holds no AFD-Module (what `dctafd train` writes)")
    try:
        record = {key: json.loads(value) for key, value in metadata.items()}
        record["config"] = AFDConfig.from_json(record["config"])
        for key in ("serves", "fingerprint"):
            record[key] = tuple(record[key])
        return AFDCard(**record)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has damaged metadata: {error!r}") from error


def load_afd(path: str | Path) -> AFDModule:
    """Build the AFD-Module that a weights file holds, in eval mode.

    Raises:
        WeightsError: the file is missing, damaged, or holds no AFD-Module.
    """
    path = Path(path)
    card = read_afd_card(path)
    afd = AFDModule(card.config).eval()
    if card.reparameterized:
        afd.reparameterize()
    load_afd_state(afd, read_state_dict(path), path)
    return afd


def load_afd_state(afd: AFDModule, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a module's state dict, also one from before activations had a slope below 0 (plain ReLUs).

    Raises:
        WeightsError: a key is missing or unexpected, or a shape differs.
    """
    slopes = {key: torch.zeros(1) for key in afd.state_dict() if key.endswith(".activate.weight")}
    load_into(afd, {**slopes, **state}, path)


def select_afd(afd: str | Path, backbone: Backbone) -> AFDModule | None:
    """Return the module for a classifier: "auto" picks a shipped one, "off" none.

    Anything else is a file's path, or the name of a shipped module, for instance "resnet18".

    Warns (`StemMismatchWarning`) where the weights were trained against another stem, and where "auto"
    finds none for this model.

    Raises:
        WeightsError: the file is missing, damaged, or made for another network.
    """
    if afd == "off":
        return None
    path = find_shipped_afd(backbone) if afd == "auto" else afd_path(afd)
    if path is None:
        warnings.warn(
            f"no AFD-Module is shipped for {backbone.spec.name}: its answers are not corrected "
            "(`dctafd train` makes one, --afd PATH uses it)",
            StemMismatchWarning,
            stacklevel=2,
        )
        return None
    card = read_afd_card(path)
    _check_layers(backbone, card, path)
    distance = fingerprint_distance(
        stem_fingerprint(backbone.module, card.config.layers.stem.name), card.fingerprint
    )
    if distance > FINGERPRINT_TOLERANCE:
        warnings.warn(
            f"{path.name} was trained against the stem of {card.model}; that of {backbone.weights.name} "
            f"responds differently by {distance:.0%}, so its corrections may not fit",
            StemMismatchWarning,
            stacklevel=2,
        )
    return load_afd(path)


def find_shipped_afd(backbone: Backbone, directory: Path = WEIGHTS_DIRECTORY) -> Path | None:
    """Return the shipped file that serves this model, else the one whose stem is nearest, else None.

    Of two files that fit equally, one of shape "deep" comes before one of shape "stem".
    """
    found = [(path, read_afd_card(path)) for path in sorted(directory.glob(f"*{_SHIPPED_ENDING}"))]
    cards = dict(sorted(found, key=lambda entry: entry[1].config.shape))
    for path, card in cards.items():
        if backbone.spec.name in card.serves:
            return path
    same = {path: card for path, card in cards.items() if card.architecture == backbone.spec.architecture}
    if not same:
        return None

    def distance(path: Path) -> float:
        stem = same[path].config.layers.stem.name
        return fingerprint_distance(stem_fingerprint(backbone.module, stem), same[path].fingerprint)

    return min(same, key=distance)


def afd_path(afd: str | Path) -> Path:
    """Return a module's file, given by its path or by a shipped module's name; a file comes first."""
    shipped = WEIGHTS_DIRECTORY / f"{afd}{_SHIPPED_ENDING}"
    return shipped if shipped.is_file() and not Path(afd).is_file() else Path(afd)


def stem_fingerprint(backbone: nn.Module, layer: str) -> tuple[float, ...]:
    """Return the mean response of each of the stem's channels to a fixed pattern, 5 significant digits.

    Equal stems have equal fingerprints however their BatchNorm is stored.
    """
    parameter = next(backbone.parameters())
    cells = torch.arange(3 * _PROBE_SIZE**2, dtype=torch.float32).reshape(1, 3, _PROBE_SIZE, _PROBE_SIZE)
    pattern = (2 * torch.sin(0.37 * cells + 1e-4 * cells.square())).to(parameter.device, parameter.dtype)
    with torch.no_grad():
        stem = features_at(backbone, layer, pattern)
    return tuple(float(f"{value:.5g}") for value in stem.float().mean((0, 2, 3)).tolist())


def fingerprint_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the relative difference of two fingerprints; infinite where the stems differ in width."""
    if len(first) != len(second):
        return math.inf
    return math.dist(first, second) / max(math.hypot(*first), math.hypot(*second), 1e-12)


def _check_layers(backbone: Backbone, card: AFDCard, path: Path) -> None:
    layers = card.config.layers
    modules = dict(backbone.module.named_modules())
    for layer in (layers.stem, *layers.stages):
        if layer.name not in modules:
            raise WeightsError(
                f"{path} is for {card.architecture}; {backbone.spec.name} has no {layer.name!r}"
            )
