"""tools/compare_afd.py: divergences of several modules from one teacher."""

import numpy as np
import pytest
import torch
from compare_afd import make_batches, measure

from dctafd.nets.attach import attach
from dctafd.training.teacher import Teacher
from tests.support.small_nets import small_backbone, trained_afd

QUALITIES = (10, 50)


def test_each_module_is_measured_on_the_same_views() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (60, 70, 3), np.uint8) for _ in range(3)]
    backbone = small_backbone()
    afd = trained_afd(backbone.module, "deep")
    classifiers = [attach(backbone.module, afd).eval() for _ in range(2)]
    teacher = Teacher(classifiers[0])
    divergences = measure(classifiers, teacher, photos, backbone, QUALITIES, boxes=2)
    assert divergences.shape == (2, 2, 3)
    np.testing.assert_array_equal(divergences[0], divergences[1])
    assert (divergences > 0).all()

    batch = make_batches(photos, backbone, 50, boxes=2)[1]
    with torch.inference_mode():
        target = classifiers[0].direct(batch.clean).softmax(1)
        answer = classifiers[0](*batch.compressed.tensors()).softmax(1)
    expected = float((target * (target / answer).log()).sum(1).mean())
    assert divergences[0, 1, 1] == pytest.approx(expected, rel=1e-4)


def test_views_differ_and_are_the_same_at_each_quality() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (60, 70, 3), np.uint8)]
    backbone = small_backbone()
    (low,), (high,) = (make_batches(photos, backbone, quality, boxes=2) for quality in QUALITIES)
    assert torch.equal(low.clean, high.clean)
    assert not torch.equal(low.clean[0], low.clean[1])
    assert not torch.equal(low.compressed.pixels, high.compressed.pixels)
