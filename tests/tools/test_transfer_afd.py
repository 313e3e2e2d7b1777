"""tools/transfer_afd.py: a module carried over to a network with permuted channels corrects as before."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dctafd.nets.attach import attach
from tests.support.small_nets import random_inputs, small_resnet, trained_afd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from transfer_afd import match_channels, transfer

ORDER = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
FACTOR = 2.0


def permuted_resnet() -> nn.Module:
    """`small_resnet()` with the channels of stem and first stage in another order and twice as large."""
    network = small_resnet()
    writes = (network.conv1, network.bn1, network.layer1[0].conv2, network.layer1[0].bn2)
    reads = (network.layer1[0].conv1, network.layer2[0].conv1, network.layer2[0].downsample[0])
    with torch.no_grad():
        for layer in writes:
            layer.weight.copy_(layer.weight[ORDER])
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.mul_(FACTOR)
                layer.bias.copy_(FACTOR * layer.bias[ORDER])
        for layer in reads:
            layer.weight.copy_(layer.weight[:, ORDER] / FACTOR)
    return network


def rows(layer: torch.Tensor) -> torch.Tensor:
    return layer.permute(0, 2, 3, 1).flatten(0, 2).double()


@pytest.mark.parametrize("shape", ["stem", "deep"])
def test_the_carried_over_module_gives_the_same_logits(shape: str) -> None:
    first, second = small_resnet(), permuted_resnet()
    afd = trained_afd(first, shape)  # type: ignore[arg-type]
    inputs = random_inputs()
    known, wanted = (attach(network, afd).direct_features(inputs[0]).layers for network in (first, second))
    pairs = [match_channels(rows(b), rows(a)) for a, b in zip(known, wanted, strict=True)]
    for pair in pairs[:2]:
        assert torch.equal(pair[0], ORDER)
        torch.testing.assert_close(pair[1], torch.full((8,), FACTOR))
    carried = trained_afd(second, shape)  # type: ignore[arg-type]
    carried.load_state_dict(transfer(afd.state_dict(), pairs))
    with torch.no_grad():
        expected, got = attach(first, afd)(*inputs), attach(second, carried)(*inputs)
        before = attach(first, afd).direct(inputs[0])
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-4)
    assert not torch.allclose(expected, before, rtol=0, atol=2e-3)  # it corrects something
