"""The architecture of the classifier that ships with dctafd: torchvision's ResNet with slim stages.

It is written out here because importing torchvision takes as long as importing torch, and the first command
should not wait for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016), with torchvision's layer names.

    Args:
        channels_in, channels_out: of the feature maps.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, H / stride, W / stride) for (B, channels_in, H, W)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)) + shortcut)


class SlimResNet(nn.Module):
    """A ResNet of basic blocks whose stages have any width, with torchvision's layer names.

    Args:
        widths: channels of the four stages; the stem has as many as the first.
        blocks: basic blocks in each stage.
        num_classes: length of the logits.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(widths[0], widths[0], blocks[0], stride=1)
        self.layer2 = _stage(widths[0], widths[1], blocks[1], stride=2)
        self.layer3 = _stage(widths[1], widths[2], blocks[2], stride=2)
        self.layer4 = _stage(widths[2], widths[3], blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[3], num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, num_classes) for pixels (B, 3, S, S)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.fc(self.avgpool(features).flatten(1))


def _stage(channels_in: int, channels_out: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (BasicBlock(channels_out, channels_out) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(channels_in, channels_out, stride), *rest)


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
