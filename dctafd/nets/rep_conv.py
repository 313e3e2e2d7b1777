"""RepConv: several linear branches while training, one 3x3 convolution when deployed.

The branches follow the released code of the AFD-Module paper (1x1 -> 3x3, 3x3 -> 1x1, 1x1; RepVGG, Ding et
al. 2021, has the idea) and add the plain 3x3. No branch has a bias or an activation inside: the only bias
is added at the end, so that a zero-padded 3x3 after a 1x1 equals the folded 3x3 at the borders too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BRANCHES = ("conv3", "conv1", "expand1", "expand1_conv3", "expand3", "expand3_conv1", "bias")


class RepConv(nn.Module):
    """A 3x3 convolution (stride 1, zero padding 1) that is the sum of four linear branches.

    The sum is itself one 3x3 kernel, and that is what `forward` convolves with, so that training costs
    little more than the deployed form. `reparameterize` stores the kernel and drops the branches.

    Args:
        in_channels, out_channels: channels before and after.
        expansion: channels between the two convolutions of a branch, as a multiple of `out_channels`.
        zero: start with zero weights, so that the layer's output is 0 until it is trained.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int = 2, zero: bool = False) -> None:
        super().__init__()
        middle = expansion * out_channels
        self.in_channels, self.out_channels = in_channels, out_channels
        self.conv3 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.expand1 = nn.Conv2d(in_channels, middle, 1, bias=False)
        self.expand1_conv3 = nn.Conv2d(middle, out_channels, 3, padding=1, bias=False)
        self.expand3 = nn.Conv2d(in_channels, middle, 3, padding=1, bias=False)
        self.expand3_conv1 = nn.Conv2d(middle, out_channels, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.deployed: nn.Conv2d | None = None
        self._initialize(zero)

    def _initialize(self, zero: bool) -> None:
        """Give the four branches together the variance of one He-initialised 3x3 convolution."""
        nn.init.kaiming_normal_(self.expand1.weight, nonlinearity="linear")
        nn.init.kaiming_normal_(self.expand3.weight, nonlinearity="linear")
        for last in (self.conv3, self.conv1, self.expand1_conv3, self.expand3_conv1):
            nn.init.kaiming_normal_(last.weight, nonlinearity="relu")
            last.weight.data.mul_(0.0 if zero else 0.5)

    def folded_kernel(self) -> Tensor:
        """Return the branches' sum as one kernel, (out_channels, in_channels, 3, 3)."""
        kernel = self.conv3.weight + functional.pad(self.conv1.weight, (1, 1, 1, 1))
        kernel = kernel + torch.einsum(
            "omyx,mi->oiyx", self.expand1_conv3.weight, self.expand1.weight[:, :, 0, 0]
        )
        return kernel + torch.einsum(
            "om,miyx->oiyx", self.expand3_conv1.weight[:, :, 0, 0], self.expand3.weight
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in_channels, H, W) to (B, out_channels, H, W)."""
        if self.deployed is not None:
            return self.deployed(x)
        return functional.conv2d(x, self.folded_kernel(), self.bias, padding=1)

    def reparameterize(self) -> None:
        """Keep one 3x3 convolution in place of the branches; a second call changes nothing.

        Raises:
            RuntimeError: the module is in training mode.
        """
        if self.training:
            raise RuntimeError("RepConv.reparameterize() needs eval mode: call .eval() first")
        if self.deployed is not None:
            return
        conv = nn.Conv2d(self.in_channels, self.out_channels, 3, padding=1)
        conv.to(self.bias.device, self.bias.dtype)
        with torch.no_grad():
            conv.weight.copy_(self.folded_kernel())
            conv.bias.copy_(self.bias)  # type: ignore[union-attr]
        for name in _BRANCHES:
            delattr(self, name)
        self.deployed = conv.eval()


def reparameterize(module: nn.Module) -> nn.Module:
    """Fold every RepConv inside `module`, in place, and return it.

    Raises:
        RuntimeError: the module is in training mode.
    """
    if module.training:
        raise RuntimeError("reparameterize() needs eval mode: call .eval() first")
    for child in list(module.modules()):
        if isinstance(child, RepConv):
            child.reparameterize()
    return module
