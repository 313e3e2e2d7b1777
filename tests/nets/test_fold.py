"""Folding batch norms: the same function, the same names, the given network untouched."""

import pytest
import torch
import torchvision
from torch import nn

from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import attach
from dctafd.nets.fold import fold_batch_norms
from tests.support.small_nets import small_resnet


def with_statistics(network: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights other than 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            assert module.running_mean is not None
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1, generator=generator)
    return network.eval()


def batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "left"), [("resnet18", 0), ("mobilenet_v2", 0), ("squeezenet1_1", 0), ("densenet121", 62)]
)
def test_logits_stay_the_same(name: str, left: int) -> None:
    torch.manual_seed(0)
    network = with_statistics(getattr(torchvision.models, name)(weights=None))
    norms = batch_norms(network)
    folded = fold_batch_norms(network)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, got = network(pixels), folded(pixels)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert batch_norms(folded) == left  # DenseNet normalises before most of its convolutions
    assert batch_norms(network) == norms


def test_a_module_attaches_to_a_folded_network_as_to_the_network() -> None:
    network = with_statistics(small_resnet())
    afd = AFDModule.for_backbone(network, "deep", input_size=32)
    plain, folded = (
        attach(net, afd)(torch.ones(1, 3, 32, 32), record=True).features
        for net in (
            network,
            fold_batch_norms(network),
        )
    )
    assert plain is not None
    assert folded is not None
    for expected, got in zip(plain.layers, folded.layers, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


class Shared(nn.Module):
    """A batch norm called twice, a convolution whose output is used twice, and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norm, self.other, self.last = (nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.second(self.norm(self.first(x))))
        y = self.second(x)
        x = self.other(y) + y
        return self.last(self.third(self.third(x)))


class DataDependent(nn.Module):
    """Cannot be traced: its branch depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("network", [Shared(), DataDependent()])
def test_what_cannot_be_folded_is_left_alone(network: nn.Module) -> None:
    with_statistics(network)
    folded = fold_batch_norms(network)
    assert batch_norms(folded) == batch_norms(network)
    pixels = torch.ones(1, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(folded(pixels), network(pixels))
