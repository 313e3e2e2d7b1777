from typing import Any

import torch
from torch import Tensor

from dctafd.inputs.model_input import collate
from dctafd.inputs.pictures import encode_jpeg
from dctafd.inputs.prepare import prepare
from dctafd.nets.afd import Guidance
from dctafd.nets.model_specs import ModelSpec
from dctafd.training.quiet_drift import choose_quiet_drift
from tests.support.jpeg_files import photo_like

SPEC = ModelSpec("small", "resnet18", resize=40, crop=32)


class SurvivingSteps:
    """A module whose drift is the mean step that survives the resize."""

    stem_rms = torch.ones(())

    def guide(self, coefficients: Tensor, steps: Tensor, survival: Tensor, *_: Tensor) -> Guidance:
        drift = (steps * survival).mean(1)[:, None, None, None].expand(-1, 1, 4, 4)
        return Guidance(drift, drift, [])


def test_photos_that_need_nothing_are_quiet_and_strongly_compressed_ones_are_not() -> None:
    afd: Any = SurvivingSteps()
    photos = [photo_like(60, 50, seed=seed) for seed in range(4)]
    quiet = choose_quiet_drift(afd, photos, SPEC)

    def drift(quality: int, resize: int) -> float:
        files = [encode_jpeg(photo, quality) for photo in photos]
        inputs = collate([prepare(file, resize, 32) for file in files]).tensors()
        return float(afd.guide(*inputs[1:]).fdm.mean())

    assert drift(95, 32) < quiet < drift(25, 50) < drift(5, 50)
    assert choose_quiet_drift(afd, photos, SPEC) == quiet


def test_without_photos_nothing_is_quiet() -> None:
    afd: Any = SurvivingSteps()
    assert choose_quiet_drift(afd, [], SPEC) == 0.0
