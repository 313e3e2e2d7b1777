"""The architecture of the classifier that ships with dctafd: torchvision's ResNet with slim stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class SlimResNet(ResNet):
    """A ResNet of basic blocks whose stages have any width.

    It has torchvision's layer names, so whatever finds the stem of a ResNet finds this one's.

    Args:
        widths: channels of the four stages; the stem has as many as the first.
        blocks: basic blocks in each stage.
        num_classes: length of the logits.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], num_classes: int) -> None:
        nn.Module.__init__(self)  # not ResNet's own constructor, which would build the full-width stages
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = widths[0], 1, 1, 64
        self.conv1 = nn.Conv2d(3, widths[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(BasicBlock, widths[0], blocks[0])
        self.layer2 = self._make_layer(BasicBlock, widths[1], blocks[1], stride=2)
        self.layer3 = self._make_layer(BasicBlock, widths[2], blocks[2], stride=2)
        self.layer4 = self._make_layer(BasicBlock, widths[3], blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[3], num_classes)


def build_builtin(config: Mapping[str, Any]) -> SlimResNet:
    """Return the built-in classifier's network with random weights.

    Args:
        config: `{"name": "slim_resnet", "widths": [...], "blocks": [...], "num_classes": N}`, as the
            metadata of the shipped weights file holds it.

    Returns:
        A module that takes normalised RGB (B, 3, S, S) and returns logits (B, num_classes).

    Raises:
        ValueError: the name is not that of a known architecture.
    """
    if config["name"] != "slim_resnet":
        raise ValueError(f"unknown built-in architecture {config['name']!r}")
    return SlimResNet(config["widths"], config["blocks"], config["num_classes"])
