"""Fingerprints of layers and their distances."""

import math

import pytest
import torch

from dctafd.errors import WeightsError
from dctafd.nets.fit import distances, fingerprints
from dctafd.nets.fold import fold_batch_norms
from tests.support.small_nets import small_resnet

LAYERS = ("relu", "layer1", "layer2.0.bn2", "layer3")


def test_how_batch_norms_are_stored_makes_no_difference() -> None:
    net = small_resnet()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert norm.running_var is not None
            torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
    found = distances(fingerprints(net, LAYERS), fingerprints(fold_batch_norms(net), LAYERS))
    assert max(found.values()) < 1e-3
    assert not any(module._forward_hooks for module in net.modules())


def test_distances_grow_with_the_change_of_the_weights() -> None:
    net, own = small_resnet(), fingerprints(small_resnet(), LAYERS)
    before = dict.fromkeys(LAYERS, 0.0)
    for amount in (0.01, 0.1):
        with torch.no_grad():
            net.conv1.weight += amount * net.conv1.weight.std() * torch.randn(net.conv1.weight.shape)  # type: ignore[operator, arg-type]
        found = distances(own, fingerprints(net, LAYERS))
        assert all(found[name] > before[name] for name in LAYERS)
        before = found


def test_distance_is_relative_and_infinite_for_other_widths() -> None:
    found = distances({"a": (3.0, 4.0), "b": (1.0,)}, {"a": (0.0, 0.0), "b": (1.0, 2.0), "c": (1.0,)})
    assert found == {"a": 1.0, "b": math.inf}


def test_unknown_layers_are_named() -> None:
    with pytest.raises(WeightsError, match="no layer 'layer9'"):
        fingerprints(small_resnet(), ("relu", "layer9"))
