"""TensorFlow's "SAME" padding for strided convolutions, for checkpoints that were trained with it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TFSameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME": where the padding is odd, more below and right."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        top, bottom = _same_padding(input.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = _same_padding(input.shape[-1], self.kernel_size[1], self.stride[1])
        padded = functional.pad(input, (left, right, top, bottom))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def use_tf_same_padding(network: nn.Module) -> nn.Module:
    """Make every strided convolution of `network` with a kernel over 1x1 pad as TensorFlow's, in place."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.stride != (1, 1) and module.kernel_size != (1, 1):
            module.__class__ = TFSameConv2d
    return network


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
