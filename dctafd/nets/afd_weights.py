"""Files of AFD-Module weights: what they hold, and which one a classifier gets."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dctafd.config import Preprocessing
from dctafd.errors import WeightsError
from dctafd.files import atomic_path
from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.afd_files import AFD_ENDING, module_beside
from dctafd.nets.fit import Fingerprints, distances, fingerprints, telling_layers, tolerance
from dctafd.nets.layers import has_patch_tokens
from dctafd.nets.registry import WEIGHTS_DIRECTORY, Backbone
from dctafd.nets.state_dict import load_into, read_metadata, read_state_dict


class FitWarning(UserWarning):
    """No AFD-Module fits a classifier's weights, or one is used that was trained against others."""


@dataclass(frozen=True, slots=True)
class AFDCard:
    """What a weights file says of itself.

    Attributes:
        config: what the module is built from.
        model: name of the model whose weights it was trained against.
        architecture: torchvision's name of that network.
        fingerprints: the responses of the layers that it corrects to a fixed pattern (`dctafd.nets.fit`); the
            stem's alone in files of before.
        reparameterized: whether the RepConvs are stored folded.
        licence: licence of these weights.
        training: seeds, qualities, steps, photos and the like, as the training recorded them.
            training["verdict"]["helps"] says what the held-out photos said, where they were asked.
        preprocessing: what the classifier expected of its pixels; None in files of before.
        labels: its class names, where they are its own.
    """

    config: AFDConfig
    model: str
    architecture: str
    fingerprints: Fingerprints
    reparameterized: bool = False
    licence: str = "Apache-2.0"
    training: dict[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None

    @property
    def helps(self) -> bool:
        """Whether the module helped on held-out photos; True where that was not measured."""
        return bool(self.training.get("verdict", {}).get("helps", True))


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
        record["config"] = config = AFDConfig.from_json(record["config"])
        record.pop("serves", None)  # as modules of before said; what fits is measured now
        if "fingerprint" in record:
            record["fingerprints"] = {config.layers.stem.name: record.pop("fingerprint")}
        record["fingerprints"] = {name: tuple(values) for name, values in record["fingerprints"].items()}
        if record.get("preprocessing") is not None:
            record["preprocessing"] = Preprocessing.from_dict(record["preprocessing"])
        if record.get("labels") is not None:
            record["labels"] = tuple(map(str, record["labels"]))
        return AFDCard(**record)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has damaged metadata: {error!r}") from error


def load_afd(path: str | Path) -> AFDModule:
    """Build the AFD-Module that a weights file holds, in eval mode.

    Raises:
        WeightsError: the file is missing, damaged, or holds no AFD-Module.

    Example:
        >>> afd = dctafd.load_afd("squeezenet1_1_onnxzoo")
        >>> afd.config.layers.stem.channels
        64
    """
    path = afd_path(path)
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


class SelectedAFD(NamedTuple):
    """The AFD-Module that corrects a classifier.

    Attributes:
        module: in eval mode.
        name: what records call it: its file's name without the ending.
    """

    module: AFDModule
    name: str


def select_afd(afd: str | Path, backbone: Backbone) -> SelectedAFD | None:
    """Return the module for a classifier.

    Args:
        afd: "off" for none; "auto" for the one of those that ship, or that lies beside the classifier's
            weights file as NAME_afd.safetensors, that was trained for these weights or for ones within
            `TOLERANCE` of them, the nearest first, else none; the name of a shipped module or a file's path
            for that one.
        backbone: the classifier.

    Warns (`FitWarning`) where "auto" finds none, and where a module that was asked for was trained against
    other weights.

    Raises:
        WeightsError: the file is missing, damaged, or made for another network.
    """
    if afd == "off":
        return None
    if afd == "auto":
        return _fitting_afd(backbone)
    path = afd_path(afd)
    card = read_afd_card(path)
    _check_layers(backbone, card, path)
    found = _distances(backbone, card)
    far = {name: distance for name, distance in found.items() if distance > tolerance(card.fingerprints)}
    if far:
        shown = ", ".join(f"{name} {_per_cent(distance)}" for name, distance in far.items())
        _warn(
            f"{path.name} was trained against {card.model}; {backbone.weights.name} responds differently "
            f"({shown}), so its corrections may do harm"
        )
    return SelectedAFD(load_afd(path), afd_name(path))


def afd_name(path: Path) -> str:
    """Return what records call the module of a file."""
    return path.name.removesuffix(".safetensors").removesuffix("_afd")


def _fitting_afd(backbone: Backbone) -> SelectedAFD | None:
    """Return the module that fits a classifier's weights, a "deep" one first, then the nearest."""
    if has_patch_tokens(backbone.module):
        _warn(
            f"{backbone.spec.name} works on patch tokens, which AFD-Modules do not correct: its answers are "
            "those of --afd off"
        )
        return None
    fitting, nearest, smallest = [], None, math.inf
    for path in _candidates(backbone):
        card = read_afd_card(path)
        if card.architecture != backbone.spec.architecture or not _has_layers(backbone, card):
            continue
        distance = max(_distances(backbone, card).values())
        if distance <= tolerance(card.fingerprints) and card.helps:
            fitting.append((card.config.variant, distance, path))
        elif distance < smallest:
            nearest, smallest = path, distance
    if fitting:
        path = min(fitting)[2]
        return SelectedAFD(load_afd(path), afd_name(path))
    told = "" if nearest is None else f" ({afd_name(nearest)} is for others, {_per_cent(smallest)} away)"
    start = "" if nearest is None else f" --start-from {nearest.name}"
    _warn(
        f"no AFD-Module was trained for {backbone.weights.name}{told}: its answers are not corrected "
        f"(`dctafd train --model {backbone.spec.name}{start}` makes one)"
    )
    return None


def shipped_afds() -> list[Path]:
    """Return the files of the modules that ship."""
    return sorted(WEIGHTS_DIRECTORY.glob(f"*{AFD_ENDING}"))


def _candidates(backbone: Backbone) -> list[Path]:
    beside = module_beside(backbone.weights)
    return [*([beside] if beside.is_file() else []), *shipped_afds()]


def afd_path(afd: str | Path) -> Path:
    """Return a module's file, given by its path or by a shipped module's name; a file comes first."""
    shipped = WEIGHTS_DIRECTORY / f"{afd}{AFD_ENDING}"
    return shipped if shipped.is_file() and not Path(afd).is_file() else Path(afd)


def module_fingerprints(backbone: nn.Module, config: AFDConfig) -> Fingerprints:
    """Return a network's fingerprints, as the card of a module of this configuration has them."""
    return fingerprints(backbone, telling_layers(config.layers))


def _distances(backbone: Backbone, card: AFDCard) -> dict[str, float]:
    return distances(card.fingerprints, fingerprints(backbone.module, tuple(card.fingerprints)))


def _has_layers(backbone: Backbone, card: AFDCard) -> bool:
    modules = dict(backbone.module.named_modules())
    return all(name in modules for name in card.fingerprints)


def _check_layers(backbone: Backbone, card: AFDCard, path: Path) -> None:
    modules = dict(backbone.module.named_modules())
    for name in card.fingerprints:
        if name not in modules:
            raise WeightsError(
                f"{path} is for {card.architecture}; {backbone.spec.name} has no layer {name!r}"
            )


def _per_cent(distance: float) -> str:
    return "of another width" if math.isinf(distance) else f"{100 * distance:.3g} %"


def _warn(message: str) -> None:
    warnings.warn(message, FitWarning, stacklevel=4)
