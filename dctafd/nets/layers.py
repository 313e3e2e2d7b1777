"""Find a backbone's stem and its later stages by name, and measure their feature maps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.efficientnet_lite import EfficientNetLite
from dctafd.nets.timm_models import is_timm, timm_blocks, timm_has_patch_tokens, timm_stages, timm_stem

#: Class in `torchvision.models` -> name of the stem.
_STEMS = {
    "ResNet": "relu",  # also ResNeXt and Wide-ResNet
    "RegNet": "stem",
    "MobileNetV2": "features.0",
    "MobileNetV3": "features.0",
    "EfficientNet": "features.0",
    "ConvNeXt": "features.0",
    "SqueezeNet": "features.1",
    "DenseNet": "features.relu0",
    "ShuffleNetV2": "conv1",
    "MNASNet": "layers.2",
    "GoogLeNet": "conv1",
    "Inception3": "Conv2d_1a_3x3",
}
_PATCH_TOKENS = ("torchvision.models.vision_transformer", "torchvision.models.swin_transformer")
_SHORTCUT = re.compile(r"downsample|shortcut|proj\b")
_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, slots=True)
class FeatureLayer:
    """A named layer of a backbone and the feature map that it gives.

    Attributes:
        name: as in `nn.Module.get_submodule`.
        channels: channels of its output.
        stride: classifier pixels per cell, to the nearest whole number.
        non_negative: whether its output is never negative (it ends in a ReLU).
    """

    name: str
    channels: int
    stride: int
    non_negative: bool


@dataclass(frozen=True, slots=True)
class BackboneLayers:
    """The stem and the later stages whose features an AFD-Module corrects.

    Attributes:
        stem: the layer after the first convolution with its activation.
        stages: the last layer at each resolution below the stem's, from fine to coarse.
        norms: the last batch norm of each block after the stem, in order; empty where there are none.
    """

    stem: FeatureLayer
    stages: tuple[FeatureLayer, ...]
    norms: tuple[FeatureLayer, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, for a weights file's metadata."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> BackboneLayers:
        """Read what `to_json` wrote."""
        stages, norms = (
            tuple(FeatureLayer(**layer) for layer in record.get(kind, ())) for kind in ("stages", "norms")
        )
        return cls(FeatureLayer(**record["stem"]), stages, norms)


def has_patch_tokens(backbone: nn.Module) -> bool:
    """Whether a network cuts its input into patches and works on their tokens, as ViT and Swin do."""
    if is_timm(backbone):
        return timm_has_patch_tokens(backbone)
    return type(backbone).__module__ in _PATCH_TOKENS


def find_stem(backbone: nn.Module) -> str:
    """Return the name of the layer after a known architecture's first convolution and activation.

    Raises:
        WeightsError: it works on patch tokens; or it is not known: name its stem layer instead.
    """
    if has_patch_tokens(backbone):
        raise WeightsError(
            f"{type(backbone).__name__} works on patch tokens, which AFD-Modules do not correct; "
            "--afd off classifies with it"
        )
    if isinstance(backbone, EfficientNetLite):
        return "act1"
    if is_timm(backbone):
        return timm_stem(backbone)
    from torchvision import models

    for family, name in _STEMS.items():
        if isinstance(backbone, getattr(models, family)):
            return name
    if isinstance(backbone, models.VGG):
        relu = next(name for name, child in backbone.features.named_children() if isinstance(child, nn.ReLU))
        return f"features.{relu}"
    raise WeightsError(
        f"the stem of a {type(backbone).__name__} is not known: name its layer, which "
        "is the activation after the first convolution, such as act1"
    )


def find_layers(backbone: nn.Module, layer: str | None = None, input_size: int = 224) -> BackboneLayers:
    """Find the stem and the later stages of a convolutional backbone by one forward pass on noise.

    Args:
        backbone: any nn.Module that maps (B, 3, S, S) to logits; left as it is.
        layer: name of the stem layer; None finds it for the torchvision families.
        input_size: S of the forward pass.

    Raises:
        WeightsError: there is no such layer, or it gives no feature map.
    """
    stem_name = find_stem(backbone) if layer is None else layer
    shapes = _probe(backbone, input_size)
    if stem_name not in shapes:
        raise WeightsError(f"{type(backbone).__name__} has no layer {stem_name!r} that gives a feature map")
    stem = shapes[stem_name]
    timm = layer is None and is_timm(backbone)
    trunk = timm_stages(backbone) if timm else list(_trunk(backbone, stem_name))
    blocks = timm_blocks(backbone) if timm else _blocks(trunk)
    stages = _last_at_each_resolution([shapes[name] for name in trunk if name in shapes], stem.stride)
    return BackboneLayers(stem, tuple(stages), tuple(_norms(backbone, shapes, blocks)))


def _norms(
    backbone: nn.Module, shapes: dict[str, FeatureLayer], blocks: Sequence[str]
) -> Iterator[FeatureLayer]:
    """Yield the last batch norm of each block, the shortcuts' left out."""
    norms = [
        name
        for name, module in backbone.named_modules()
        if _is_plain_batch_norm(module) and name in shapes and not _SHORTCUT.search(name)
    ]
    for block in blocks:
        inside = [name for name in norms if name.startswith(f"{block}.")]
        yield from (shapes[name] for name in inside[-1:])


def _is_plain_batch_norm(module: nn.Module) -> bool:
    """Whether a layer is a batch norm and nothing else; timm has some that end in an activation."""
    return isinstance(module, nn.BatchNorm2d) and isinstance(getattr(module, "act", None), nn.Identity | None)


def _blocks(names: Sequence[str]) -> list[str]:
    """Return those of the names that hold none of the others: the blocks inside containers."""
    return [name for name in names if not any(other.startswith(f"{name}.") for other in names)]


def _probe(backbone: nn.Module, input_size: int) -> dict[str, FeatureLayer]:
    """Run noise through the backbone and describe each layer's feature map, in order of execution."""
    shapes: dict[str, FeatureLayer] = {}

    def record(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
            stride = round(input_size / output.shape[-1])
            shapes[name] = FeatureLayer(name, output.shape[1], stride, bool(output.min() >= 0))

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: record(name, output))
        for name, module in backbone.named_modules()
    ]
    training = [module for module in backbone.modules() if module.training]
    parameter = next(backbone.parameters())
    noise = torch.randn(1, 3, input_size, input_size, generator=torch.Generator().manual_seed(0))
    try:
        backbone.eval()
        with torch.no_grad():
            backbone(noise.to(parameter.device, parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True
    return shapes


def _trunk(backbone: nn.Module, stem_name: str) -> Iterator[str]:
    """Yield the names of the stem's later siblings, and of their children where they are containers."""
    parent_name, _, own_name = stem_name.rpartition(".")
    parent = backbone.get_submodule(parent_name)
    if hasattr(backbone, "trunk_output"):  # torchvision's RegNet: its stages have a container of their own
        parent_name, parent, own_name = "trunk_output", backbone.get_submodule("trunk_output"), ""
    elif isinstance(backbone, EfficientNetLite):
        parent_name, parent, own_name = "blocks", backbone.blocks, ""
    siblings = [name for name, _ in parent.named_children()]
    for name in siblings[siblings.index(own_name) + 1 if own_name else 0 :]:
        child = parent.get_submodule(name)
        path = f"{parent_name}.{name}".lstrip(".")
        if isinstance(child, _POOLING):
            continue
        if isinstance(child, nn.Sequential):
            yield from (f"{path}.{inner}" for inner, _ in child.named_children())
        yield path


def _last_at_each_resolution(layers: list[FeatureLayer], stem_stride: int) -> list[FeatureLayer]:
    """Keep the last layer of each stride above the stem's."""
    last: dict[int, FeatureLayer] = {}
    for layer in layers:
        if layer.stride > stem_stride:
            last[layer.stride] = layer
    return [last[stride] for stride in sorted(last)]
