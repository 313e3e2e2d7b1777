"""tools/measure_corrections.py: each correction is off once, and on again afterwards."""

import sys
from pathlib import Path

import torch

from dctafd.nets.attach import attach
from tests.support.small_nets import random_inputs, small_resnet, trained_afd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from measure_corrections import without_one


def test_each_correction_is_off_once() -> None:
    net = small_resnet()
    afd = trained_afd(net, "deep")
    classifier, inputs = attach(net, afd), random_inputs()
    layers = afd.config.layers
    with torch.no_grad():
        uncorrected = classifier.direct_features(inputs[0]).layers
        corrected = classifier.forward_features(*inputs).layers
        for index, name in enumerate(without_one(afd)):
            features = classifier.forward_features(*inputs).layers
            assert name == (layers.stem, *layers.stages)[index].name
            for earlier in range(index):  # those before are on
                assert torch.equal(features[earlier], corrected[earlier])
            if index == 0:
                assert torch.equal(features[0], uncorrected[0])
            assert not torch.equal(features[index], corrected[index])
        assert index == len(layers.stages)
        for again, before in zip(classifier.forward_features(*inputs).layers, corrected, strict=True):
            assert torch.equal(again, before)
