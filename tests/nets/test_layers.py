"""Stem and stages are found in every supported family, by name in any other."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.vgg import make_layers

from dctafd.errors import WeightsError
from dctafd.nets.attach import attach
from dctafd.nets.layers import find_layers
from tests.support.small_nets import random_inputs, small_resnet, trained_afd

CLASSES = 5


def small_regnet() -> nn.Module:
    params = BlockParams.from_init_params(depth=4, w_0=8, w_a=8, w_m=2.0, group_width=8)
    return models.RegNet(params, CLASSES, stem_width=8)


def small_mobilenet_v3() -> nn.Module:
    def block(stride: int) -> InvertedResidualConfig:
        return InvertedResidualConfig(8, 3, 8, 8, True, "HS", stride, 1, 1.0)

    return models.MobileNetV3([block(stride) for stride in (1, 2, 2, 2)], 16, CLASSES)


def small_efficientnet() -> nn.Module:
    settings = [MBConvConfig(1, 3, stride, 8, 8, 1) for stride in (1, 2, 2, 2, 2)]
    return models.EfficientNet(settings, dropout=0.0, num_classes=CLASSES, last_channel=16)


def small_convnext() -> nn.Module:
    settings = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 16, 1), CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(settings, num_classes=CLASSES)


def small_vgg() -> nn.Module:
    net = models.VGG(make_layers([8, "M", 8, "M", 8, "M"]), num_classes=1, init_weights=False)
    net.classifier = nn.Linear(8 * 49, CLASSES)  # in place of 120 million weights
    return net


def small_densenet() -> nn.Module:
    return models.DenseNet(4, (1, 1, 1, 1), num_init_features=8, num_classes=CLASSES)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], bool, str, list[str]]] = {
    "resnet": (small_resnet, True, "relu", ["layer1", "layer2", "layer3", "layer4"]),
    "regnet": (small_regnet, True, "stem", [f"trunk_output.block{index}" for index in (1, 2, 3)]),
    "mobilenet_v2": (
        lambda: models.MobileNetV2(CLASSES, width_mult=0.1),
        True,
        "features.0",
        ["features.3", "features.6", "features.13", "features.18"],
    ),
    "mobilenet_v3": (small_mobilenet_v3, False, "features.0", ["features.2", "features.3", "features.5"]),
    "efficientnet": (
        small_efficientnet,
        False,
        "features.0",
        ["features.2", "features.3", "features.4", "features.6"],
    ),
    "squeezenet": (
        lambda: models.squeezenet1_1(num_classes=CLASSES),
        True,
        "features.1",
        ["features.4", "features.7", "features.12"],
    ),
    "vgg": (small_vgg, True, "features.1", ["features.4", "features.7"]),
    "densenet": (
        small_densenet,
        True,
        "features.relu0",
        [*(f"features.transition{index}.conv" for index in range(1, 4)), "features.norm5"],
    ),
    "convnext": (small_convnext, False, "features.0", ["features.4.0", "features.5"]),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str) -> None:
    build, stem_ends_in_relu, stem, stages = FAMILIES[family]
    torch.manual_seed(0)
    net = build().eval()
    layers = find_layers(net, input_size=64)
    assert layers.stem.name == stem
    assert layers.stem.non_negative == stem_ends_in_relu
    assert [stage.name for stage in layers.stages] == stages
    inputs = random_inputs(batch=1, crop=64)
    classifier = attach(net, trained_afd(net, "deep", crop=64))
    corrected, without = classifier(*inputs, record=True), classifier(inputs[0], record=True)
    assert corrected.features is not None
    assert without.features is not None
    assert len(without.features.layers) == 1 + len(stages)
    for own, other in zip(corrected.features.layers, without.features.layers, strict=True):
        assert not torch.allclose(own, other)
    assert torch.equal(without.logits, net(inputs[0]))


class Unknown(nn.Module):
    """A network of no known family."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 1)
        self.act = nn.ReLU()
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.Tanh())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.second(self.act(self.first(x)))).flatten(1))


def test_any_module_by_naming_its_stem() -> None:
    net = Unknown().eval()
    layers = find_layers(net, "act", input_size=32)
    assert layers.stem.stride == 2
    assert layers.stem.non_negative
    assert [(stage.name, stage.stride, stage.non_negative) for stage in layers.stages] == [
        ("second", 4, False)
    ]
    classifier = attach(net, trained_afd(net, "deep", layer="act"))
    inputs = random_inputs()
    assert not torch.allclose(classifier(*inputs).logits, net(inputs[0]), atol=1e-4)


def test_unknown_stems_are_named_errors() -> None:
    with pytest.raises(WeightsError, match="name its layer"):
        find_layers(Unknown(), input_size=32)
    with pytest.raises(WeightsError, match="no layer 'nothing'"):
        find_layers(Unknown(), "nothing", input_size=32)


def test_probing_leaves_modes_and_hooks_alone() -> None:
    net = Unknown()
    net.second.eval()
    find_layers(net, "act", input_size=32)
    assert net.training
    assert not net.second.training
    assert not any(module._forward_hooks for module in net.modules())
