"""tools/compare_builtin.py: what modules are chosen by, on labelled photos."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dctafd.nets.attach import attach
from dctafd.training.degrade import encode_jpeg
from tests.support.small_nets import small_backbone, trained_afd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from compare_builtin import answers, compare, difference

LABELS = torch.tensor([0, 1, 1, 0])


def logits_of(right: float) -> torch.Tensor:
    """Give the label of each of four photos a probability, and the other class the rest."""
    wrong = math.log(1 - right)
    rows = torch.full((4, 2), wrong)
    rows[torch.arange(4), LABELS] = math.log(right)
    return rows


def test_answers_are_the_uncorrected_and_each_corrected_networks():
    rng = np.random.default_rng(0)
    files = [encode_jpeg(rng.integers(0, 256, (70, 80, 3), np.uint8), 20) for _ in range(3)]
    backbone = small_backbone()
    modules = [trained_afd(backbone.module, "deep") for _ in range(2)]
    with torch.no_grad():
        modules[1].fe.decode.weight.mul_(2)
    classifiers = [attach(backbone.module, afd).eval() for afd in modules]
    direct, *corrected = answers(classifiers, files, backbone.spec)
    assert direct.shape == (3, corrected[0].shape[1])
    assert not torch.equal(direct, corrected[0])
    assert not torch.equal(corrected[0], corrected[1])
    alone = answers(classifiers[1:], files, backbone.spec)
    assert torch.equal(alone[0], direct)
    assert torch.equal(alone[1], corrected[1])


def test_a_module_is_judged_by_its_answers_on_compressed_views_at_its_best_temperature():
    clean, saved = logits_of(0.9), logits_of(0.9)
    saved[0] = saved[0].flip(0)  # JPEG takes one of four
    found = compare({None: clean, 10: saved}, clean, LABELS)
    assert found.top1 == {None: 100.0, 10: 75.0}
    assert found.divergence[None] == pytest.approx(0, abs=1e-6)
    assert found.divergence[10] == pytest.approx(0.8 * math.log(9) / 4, rel=1e-4)
    # Three of four are right, so the best temperature makes it 3:1, but for the grid of temperatures.
    assert 9 ** (1 / found.temperature) == pytest.approx(3, rel=0.05)
    assert float(found.cross_entropy.mean()) == pytest.approx(0.5623, abs=1e-3)


def test_overconfidence_alone_is_no_difference():
    good, bad = logits_of(0.9), logits_of(0.9)
    good[0], bad[:2] = good[0].flip(0), bad[:2].flip(1)
    sharper = 20 ** (10 / 120) * good  # by ten of the steps in which the temperature is sought
    first, overconfident, other = (
        compare({None: rows, 10: rows}, logits_of(0.9), LABELS) for rows in (good, sharper, bad)
    )
    assert overconfident.temperature > first.temperature
    above, error = difference(overconfident, first, views=2)
    assert above == pytest.approx(0, abs=1e-5)
    assert error == pytest.approx(0, abs=1e-5)
    assert difference(other, first, views=2)[0] > 0.1
