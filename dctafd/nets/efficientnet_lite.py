"""EfficientNet-Lite 0 to 4: EfficientNet without squeeze-and-excitation, with ReLU6 and TensorFlow's padding.

Tan and Le, "EfficientNet" (ICML 2019); Liu, "Higher accuracy on vision models with EfficientNet-Lite"
(2020). Layers have timm's names, so that state dicts of its ``tf_efficientnet_lite*`` load as they are; the
network is built here and not by timm, whose import takes a second more than torch's and torchvision's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from dctafd.nets.tf_padding import TFSameConv2d

_BN_EPSILON = 1e-3  # TensorFlow's


class _Stage(NamedTuple):
    """Blocks of one resolution and width, of the network with width and depth 1."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
#: Width and depth multipliers by name.
SCALINGS = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite: (B, 3, S, S) normalised pixels -> (B, classes) logits.

    Args:
        width: multiplies the channels of all blocks; stem and head keep theirs.
        depth: multiplies the number of blocks of all stages but the first and the last.
        classes: of the last layer.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        self.conv_stem = _conv(3, 32, 3, stride=2)
        self.bn1 = _batch_norm(32)
        self.act1 = nn.ReLU6(inplace=True)
        channels, stages = 32, []
        for index, stage in enumerate(_STAGES):
            outer = index in (0, len(_STAGES) - 1)
            repeats = stage.repeats if outer else math.ceil(depth * stage.repeats)
            blocks: list[nn.Module] = []
            for number in range(repeats):
                stride, wide = (stage.stride if number == 0 else 1), _scaled(stage.channels, width)
                if stage.expansion == 1:
                    blocks.append(_SeparableConvolution(channels, wide, stage.kernel, stride))
                else:
                    blocks.append(_InvertedResidual(channels, wide, stage.kernel, stride, stage.expansion))
                channels = wide
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _conv(channels, 1280, 1)
        self.bn2 = _batch_norm(1280)
        self.act2 = nn.ReLU6(inplace=True)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, classes) for pixels (B, 3, S, S)."""
        x = self.act1(self.bn1(self.conv_stem(pixels)))  # (B, 32, S/2, S/2)
        x = self.blocks(x)  # (B, 320 width, S/32, S/32)
        x = self.act2(self.bn2(self.conv_head(x)))  # (B, 1280, S/32, S/32)
        return self.classifier(self.global_pool(x).flatten(1))


class _SeparableConvolution(nn.Module):
    """Depthwise 3x3, then 1x1 without activation; adds its input where the shapes agree."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and channels == out_channels
        self.conv_dw = _conv(channels, channels, kernel, stride, groups=channels)
        self.bn1 = _batch_norm(channels)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_pw = _conv(channels, out_channels, 1)
        self.bn2 = _batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv_dw(x)))  # (B, channels, H/stride, W/stride)
        y = self.bn2(self.conv_pw(y))  # (B, out_channels, H/stride, W/stride)
        return y + x if self.residual else y


class _InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, 1x1 back without activation; adds its input where shapes agree."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.residual = stride == 1 and channels == out_channels
        middle = channels * expansion
        self.conv_pw = _conv(channels, middle, 1)
        self.bn1 = _batch_norm(middle)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_dw = _conv(middle, middle, kernel, stride, groups=middle)
        self.bn2 = _batch_norm(middle)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv_pwl = _conv(middle, out_channels, 1)
        self.bn3 = _batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv_pw(x)))  # (B, middle, H, W)
        y = self.act2(self.bn2(self.conv_dw(y)))  # (B, middle, H/stride, W/stride)
        y = self.bn3(self.conv_pwl(y))  # (B, out_channels, H/stride, W/stride)
        return y + x if self.residual else y


def _conv(channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded as TensorFlow's "SAME"."""
    if stride > 1:
        return TFSameConv2d(channels, out_channels, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPSILON, momentum=0.01)


def _scaled(channels: int, width: float) -> int:
    """Multiply channels and round to a multiple of 8, by no more than 10 % down."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
