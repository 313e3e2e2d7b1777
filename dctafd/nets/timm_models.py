"""Classifiers of timm by name, `timm/NAME`: preprocessing, network, weights, and where their features are."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.extras import require_extra

PREFIX = "timm/"


@dataclass(frozen=True, slots=True)
class TimmPreset:
    """What timm says of a model.

    Attributes:
        resize, crop: pixels; the crop is the nearest multiple of 8, the grid's cell.
        mean, std: normalisation of RGB in 0..1.
        classes: of its weights.
        licence, origin: of its weights.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classes: int
    licence: str
    origin: str


def timm_preset(model: str) -> TimmPreset:
    """Return what timm says of `timm/NAME`, without loading the network.

    Raises:
        MissingExtraError: timm is not installed.
        WeightsError: timm has no such model.
    """
    require_extra("timm")
    import timm

    name = model.removeprefix(PREFIX)
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None:
        close = difflib.get_close_matches(name, timm.list_models())
        hint = f"; did you mean {', '.join(PREFIX + found for found in close)}?" if close else ""
        raise WeightsError(f"timm has no model {name!r}{hint}")
    size = int(config.input_size[-1])
    crop = max(8, round(size / 8) * 8)
    return TimmPreset(
        resize=round(crop / (config.crop_pct or 0.875)),
        crop=crop,
        mean=_triple(config.mean),
        std=_triple(config.std),
        classes=int(config.num_classes),
        licence=config.license or "not stated by timm",
        origin=f"timm {name}" + (f", huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else ""),
    )


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def build_timm(model: str, classes: int | None = None) -> nn.Module:
    """Return timm's network with random weights, in eval mode; `classes` None for its own number."""
    require_extra("timm")
    import timm

    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    return timm.create_model(model.removeprefix(PREFIX), pretrained=False, **options).eval()


def pretrained_timm_state(model: str) -> dict[str, Tensor]:
    """Return timm's own weights, from its cache or by its download.

    Raises:
        WeightsError: they are neither cached nor can be downloaded.
    """
    import timm

    name = model.removeprefix(PREFIX)
    try:
        network = timm.create_model(name, pretrained=True)
    except Exception as error:  # of huggingface_hub, urllib, safetensors and others
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"timm's weights of {name} are not in its cache and could not be downloaded ({reason}); "
            "name a local file with --weights FILE"
        ) from error
    return dict(network.state_dict())


def timm_labels(model: str) -> tuple[str, ...] | None:
    """Return the class names of a model's own weights, None where timm does not know them."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(build_timm(model))
    return None if subset is None else tuple(ImageNetInfo(subset).label_descriptions())


def is_timm(network: nn.Module) -> bool:
    """Whether a network was built by timm."""
    return type(network).__module__.startswith("timm.") and hasattr(network, "feature_info")


def timm_has_patch_tokens(network: nn.Module) -> bool:
    """Whether a network of timm cuts its input into patches and works on their tokens."""
    return hasattr(network, "patch_embed") or type(getattr(network, "stem", None)).__name__ == "PatchEmbed"


def timm_stem(network: nn.Module) -> str:
    """Return the name of the layer after the first convolution and its activation."""
    children = dict(network.named_children())
    for name in ("act1", "stem"):
        if name in children:
            return name
    norm = children.get("bn1")
    if norm is not None and not isinstance(getattr(norm, "act", None), nn.Identity | None):
        return "bn1"
    return str(_features(network)[0]["module"])


def timm_stages(network: nn.Module) -> list[str]:
    """Return the names of the layers at the end of each resolution, from fine to coarse."""
    return [str(entry["module"]) for entry in _features(network)]


def timm_blocks(network: nn.Module) -> list[str]:
    """Return the names of the residual blocks inside the stages."""
    found = []
    for stage in timm_stages(network):
        parent, _, last = stage.rpartition(".")
        siblings = [stage]
        if parent and last.isdecimal():  # timm names the last stage of each resolution alone
            siblings = [f"{parent}.{name}" for name, _ in network.get_submodule(parent).named_children()]
        found += [f"{name}.{child}" for name in siblings for child, _ in _children(network, name)]
    return list(dict.fromkeys(found))


def _children(network: nn.Module, name: str) -> Sequence[tuple[str, nn.Module]]:
    return list(network.get_submodule(name).named_children())


def _features(network: nn.Module) -> list[dict[str, Any]]:
    return list(network.feature_info)  # type: ignore[arg-type]
