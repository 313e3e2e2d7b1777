"""From a model's name, and perhaps a file of weights, to a classifier: `load_backbone`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dctafd.config import DEFAULT_MODEL, UNCHANGED, Preprocessing, PreprocessingChanges
from dctafd.errors import WeightsError
from dctafd.imagenet import imagenet_names
from dctafd.nets.afd_files import module_beside
from dctafd.nets.class_name_files import read_class_names
from dctafd.nets.efficientnet_lite import SCALINGS, EfficientNetLite
from dctafd.nets.model_specs import ModelSpec, get_spec, torchvision_weights
from dctafd.nets.packaged_weights import PACKAGED, read_by_position
from dctafd.nets.state_dict import class_count, load_into, read_metadata, read_state_dict, without_prefix
from dctafd.nets.tf_padding import use_tf_same_padding
from dctafd.nets.timm_models import PREFIX, build_timm, pretrained_timm_state, timm_labels
from dctafd.plain_text import summary

WEIGHTS_DIRECTORY = Path(__file__).parent / "weights"

_LARGEST_SIDE = 8192
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A loaded classifier in eval mode.

    Attributes:
        module: maps normalised pixels (B, 3, S, S) to logits (B, classes).
        spec: its preprocessing and provenance.
        labels: class names by index.
        weights: the file that was loaded.
    """

    module: nn.Module
    spec: ModelSpec
    labels: tuple[str, ...]
    weights: Path

    __repr__ = summary


def load_backbone(
    model: str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    labels: str | Path | Sequence[str] | None = None,
    changes: PreprocessingChanges = UNCHANGED,
) -> Backbone:
    """Build a classifier and load its weights.

    Args:
        model: a name of `list_models`, any classifier of torchvision, or timm/NAME for one of timm.
        weights: a state dict, .safetensors or what `torch.save` wrote; None takes the model's own, which
            torchvision and timm download where they are not in their caches.
        labels: class names by index, or a file of them (`read_class_names`); None for the weights file's own,
            those of the AFD-Module beside it (`module_beside`), or ImageNet's for 1,000 classes.
        changes: what the classifier expects of its pixels where it is not what the model usually expects.

    Raises:
        WeightsError: no such model; the weights are not at hand, damaged, or fit another network; there are
            more or fewer class names than classes.

    Example:
        >>> backbone = dctafd.load_backbone("efficientnet_lite0")
        >>> backbone.spec.crop, len(backbone.labels)
        (224, 1000)
    """
    spec = _changed(get_spec(model), changes)
    if weights is None and model.startswith(PREFIX):
        module, path = build_timm(spec.architecture), Path(spec.architecture.removeprefix(PREFIX))
        load_into(module, pretrained_timm_state(spec.architecture), path, spec.name)
        return Backbone(module.eval(), spec, _labels(spec, {}, module, labels), path)
    path = Path(weights) if weights is not None else _own_weights(spec)
    metadata = read_metadata(path)
    if weights is not None:
        spec = replace(spec, temperature=1.0)  # the model's suits its own weights only
        metadata = {**_told_beside(path), **metadata}
    spec = _changed(_with_metadata(spec, metadata, path), changes)
    if weights is None and model in PACKAGED:
        module = build_architecture(spec)
        state = read_by_position(path, module)
    else:
        module, state = _network_for(spec, read_state_dict(path))
    load_into(module, state, path, spec.name)
    return Backbone(module.eval(), spec, _labels(spec, metadata, module, labels), path)


def _told_beside(weights: Path) -> dict[str, str]:
    """Return what the AFD-Module beside a weights file tells of the classifier; {} where there is none."""
    path = module_beside(weights)
    try:
        metadata = read_metadata(path) if path.is_file() else {}
    except WeightsError:  # it is told where the module is wanted
        return {}
    return {key: metadata[key] for key in ("preprocessing", "labels") if metadata.get(key, "null") != "null"}


def own_labels(backbone: Backbone) -> tuple[str, ...] | None:
    """Return a classifier's class names; None where it has ImageNet's, or only numbers."""
    labels = backbone.labels
    return None if labels in (imagenet_names(), _numbers(len(labels))) else labels


def _changed(spec: ModelSpec, changes: PreprocessingChanges) -> ModelSpec:
    spec = replace(spec, **changes.to_dict())
    if changes == UNCHANGED:
        return spec
    if spec.crop % 8 or not 8 <= spec.crop <= spec.resize <= _LARGEST_SIDE:
        raise WeightsError(
            f"a crop of {spec.crop} pixels from {spec.resize}: it has to be a multiple of 8, and no larger"
        )
    if min(spec.std) <= 0:
        raise WeightsError(f"std = {spec.std}: RGB is divided by it, so it is above 0")
    return spec


def _with_metadata(spec: ModelSpec, metadata: dict[str, str], path: Path) -> ModelSpec:
    """Return the spec with the preprocessing and the temperature that a weights file of ours tells."""
    changes: dict[str, Any] = {}
    try:
        if "preprocessing" in metadata:
            changes = asdict(Preprocessing.from_dict(json.loads(metadata["preprocessing"])))
        if "temperature" in metadata:
            changes["temperature"] = float(json.loads(metadata["temperature"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has damaged metadata: {error!r}") from error
    return replace(spec, **changes)


def build_architecture(spec: ModelSpec, classes: int | None = None) -> nn.Module:
    """Return the network with random weights; `classes` None for its usual number."""
    module = _build(spec.architecture, classes)
    return use_tf_same_padding(module) if spec.tf_same_padding else module


def _network_for(
    spec: ModelSpec, stored: dict[str, torch.Tensor]
) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return a network with as many classes as a state dict has, and the state dict with its keys."""
    module = build_architecture(spec)
    wanted = module.state_dict()
    state = without_prefix(stored, wanted)
    classes = class_count(module, state)
    if classes not in (None, class_count(module, wanted)):
        module = build_architecture(spec, classes)
    return module, state


def _build(architecture: str, classes: int | None) -> nn.Module:
    if architecture.startswith(PREFIX):
        return build_timm(architecture, classes)
    if architecture in SCALINGS:
        return EfficientNetLite(*SCALINGS[architecture], classes=classes or 1000)
    from torchvision import models

    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if architecture in _WITH_AUXILIARY_HEADS:
        options |= {"init_weights": False, "transform_input": True}  # as torchvision's own weights want it
    return models.get_model(architecture, weights=None, **options)


def _own_weights(spec: ModelSpec) -> Path:
    """Return the file of a model's own weights, downloading torchvision's where they are not cached."""
    if spec.name in PACKAGED:
        return PACKAGED[spec.name].verified()
    if spec.weights_file is None:
        raise WeightsError(
            f"the weights of {spec.name} are not distributed with dctafd: name them with --weights FILE "
            f"(--model {DEFAULT_MODEL} needs none)"
        )
    if not spec.available:
        _download(spec)
    return spec.weights_file


def _download(spec: ModelSpec) -> None:
    url = torchvision_weights(spec.name).url
    assert spec.weights_file is not None
    spec.weights_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        digest = spec.weights_file.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(spec.weights_file), hash_prefix=digest, progress=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"{spec.weights_file} is missing and could not be downloaded from {url} ({error}); "
            "name a local file with --weights FILE, or use --model efficientnet_lite0, which needs none"
        ) from error


def _labels(
    spec: ModelSpec,
    metadata: dict[str, str],
    module: nn.Module,
    given: str | Path | Sequence[str] | None,
) -> tuple[str, ...]:
    """Class names as given, else the weights file's, else ImageNet's for 1000 classes, else the indices."""
    classes = class_count(module, module.state_dict())
    if given is not None:
        names = read_class_names(Path(given)) if isinstance(given, str | Path) else tuple(given)
        if classes is not None and len(names) != classes:
            raise WeightsError(f"there are {len(names)} class names, the network has {classes} classes")
        return names
    if (stored := _stored_labels(metadata)) is not None and classes in (None, len(stored)):
        return stored
    if classes in (1000, None):
        return imagenet_names()
    known = timm_labels(spec.architecture) if spec.architecture.startswith(PREFIX) else None
    if known is not None and len(known) == classes:
        return known
    return _numbers(classes)


def _stored_labels(metadata: dict[str, str]) -> tuple[str, ...] | None:
    """Return the class names that a weights file tells, None where it tells none."""
    try:
        names = json.loads(metadata.get("labels", "null"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the class names in the weights file are damaged: {error}") from error
    return tuple(map(str, names)) if isinstance(names, list) else None


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(index) for index in range(count))
