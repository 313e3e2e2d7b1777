"""Stem and stages are found in every supported family, by name in any other."""

import pytest
import torch
from torch import nn
from torchvision import models

from dctafd.jpeg.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import attach
from dctafd.nets.layers import find_layers

from .small_nets import random_inputs, trained_afd

FAMILIES = {
    "resnet18": ("relu", ["layer1", "layer2", "layer3", "layer4"]),
    "regnet_y_400mf": ("stem", [f"trunk_output.block{index}" for index in range(1, 5)]),
    "mobilenet_v2": ("features.0", ["features.3", "features.6", "features.13", "features.18"]),
    "mobilenet_v3_small": ("features.0", ["features.1", "features.3", "features.8", "features.12"]),
    "efficientnet_b0": ("features.0", ["features.2", "features.3", "features.5", "features.8"]),
    "squeezenet1_1": ("features.1", ["features.4", "features.7", "features.12"]),
    "vgg11_bn": ("features.2", ["features.6", "features.13", "features.20", "features.27"]),
    "densenet121": (
        "features.relu0",
        [*(f"features.transition{index}.conv" for index in range(1, 4)), "features.norm5"],
    ),
    "convnext_tiny": ("features.0", ["features.4.0", "features.6.0", "features.7"]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    torch.manual_seed(0)
    with torch.device("cpu"):
        net = models.get_model(name, weights=None, **({"dropout": 0.0} if name == "vgg11_bn" else {}))
    net.eval()
    if name == "vgg11_bn":
        net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(512 * 49, 4))  # spares 120 M random weights
    layers = find_layers(net, input_size=64)
    stem, stages = FAMILIES[name]
    assert layers.stem.name == stem
    assert [stage.name for stage in layers.stages] == stages
    assert layers.stem.non_negative == (name not in ("mobilenet_v3_small", "efficientnet_b0", "convnext_tiny"))
    inputs = random_inputs(batch=1, crop=64)
    new = attach(net, AFDModule.for_backbone(net, "deep", input_size=64)).eval()
    with torch.no_grad():
        expected = net(inputs[0])
        torch.testing.assert_close(new(*inputs), expected)
        corrected = attach(net, trained_afd(net, "deep", crop=64))(*inputs)
    assert not torch.allclose(corrected, expected, atol=1e-4)


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
    assert [(stage.name, stage.stride, stage.non_negative) for stage in layers.stages] == [("second", 4, False)]
    classifier = attach(net, trained_afd(net, "deep", layer="act"))
    inputs = random_inputs()
    assert not torch.allclose(classifier(*inputs), net(inputs[0]), atol=1e-4)


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
