"""tools/revive_afd.py: dead channels begin anew, and the module does what it did."""

import copy
import sys
from pathlib import Path

import torch
from torch import nn

from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fe_net import FENet, StageCorrection
from tests.support.small_nets import random_inputs, small_resnet, trained_afd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from revive_afd import revive


def half_dead_classifier() -> CorrectedClassifier:
    """Plain ReLUs; dead are FE-Net's last layer and a channel of each layer of the first correction."""
    net = small_resnet()
    afd = trained_afd(net, "deep")
    for part in (afd.fe, *afd.stages):
        assert isinstance(part, FENet | StageCorrection)
        nn.init.zeros_(part.activate.weight)
    with torch.no_grad():
        afd.fe.merge.bias.fill_(-1e4)
        afd.stages[0].reduce.bias.copy_(torch.tensor([30.0, -1e4, 30.0, 30.0]))  # type: ignore[union-attr]
        afd.stages[0].conv.bias.copy_(torch.tensor([1e3, 1e3, -1e4, 1e3]))  # type: ignore[union-attr]
    return attach(net, afd)


def test_the_answers_stay_and_dead_channels_learn_again() -> None:
    classifier = half_dead_classifier()
    inputs = random_inputs()
    with torch.no_grad():
        expected = classifier(*inputs)
    old = copy.deepcopy(classifier.afd)
    lines = revive(classifier, AFDModule(old.config), [inputs])
    assert lines[0] == "FE-Net changed the stem by 0: begun anew"
    assert lines[1] == "stage 0: revived 1 of 4, 1 of 4 channels"
    with torch.no_grad():
        torch.testing.assert_close(classifier(*inputs), expected, rtol=1e-4, atol=1e-4)
    classifier(*inputs).sum().backward()
    first = classifier.afd.stages[0]
    assert isinstance(first, StageCorrection)
    assert first.reduce.weight[1].ne(old.stages[0].reduce.weight[1]).all()  # type: ignore[union-attr, index]
    assert first.expand.weight.grad[:, 2].any()  # type: ignore[index]
    assert first.conv.conv3.weight.grad[:, 1].any()  # type: ignore[index]
    assert classifier.afd.fe.decode.weight.grad.any()  # type: ignore[union-attr]


def test_what_lives_is_left_alone() -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep"))
    with torch.no_grad():
        for stage in classifier.afd.stages:
            stage.reduce.bias.fill_(30.0)  # type: ignore[union-attr]
            stage.conv.bias.fill_(1e3)  # type: ignore[union-attr]
            stage.expand.weight.mul_(1e-3)  # type: ignore[union-attr]
    before = copy.deepcopy(classifier.afd.state_dict())
    revive(classifier, AFDModule(classifier.afd.config), [random_inputs()])
    assert all(torch.equal(value, before[key]) for key, value in classifier.afd.state_dict().items())
