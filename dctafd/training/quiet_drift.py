"""Choose the drift up to which a module leaves photos exactly as they are: `choose_quiet_drift`.

A photo that is stored larger than the classifier sees it, at quality 90 or more, needs no correction. How
much drift a module sees in such photos says where the drift that counts begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from PIL import Image

from dctafd.inputs.model_input import collate
from dctafd.inputs.pictures import encode_jpeg
from dctafd.inputs.prepare import prepare
from dctafd.nets.afd import AFDModule
from dctafd.nets.model_specs import ModelSpec
from dctafd.training.degrade import with_noise
from dctafd.training.views import Photo

SCALES = (1.5, 2.0, 4.0)
"""Stored sizes, in times of what the classifier resizes to; with a sensor's noise."""
QUALITIES = (90, 95)
_SHARE = 90  # per cent of these photos that are left alone; their drift scatters by what they show
_MOST_PHOTOS = 24
_NOISE = 4.0  # levels, about a phone's at ISO 400


def choose_quiet_drift(afd: AFDModule, photos: Iterable[Photo], spec: ModelSpec) -> float:
    """Return `AFDConfig.quiet_drift` for a trained module, two significant digits.

    Args:
        afd: the module, in eval mode.
        photos: clean photos that were not trained on, at their own size; 24 are used at most.
        spec: the classifier's preprocessing.

    Returns:
        The drift below which 90 % of photos are that need no correction; 0.0 where there are no photos.
    """
    drifts: list[float] = []
    for seed, photo in enumerate(islice(photos, _MOST_PHOTOS)):
        for scale in SCALES:
            stored = _enlarged(photo, round(spec.resize * scale), seed)
            drifts += _drifts(afd, [encode_jpeg(stored, quality) for quality in QUALITIES], spec)
    return float(f"{np.percentile(drifts, _SHARE):.2g}") if drifts else 0.0


@torch.inference_mode()
def _drifts(afd: AFDModule, files: Sequence[bytes], spec: ModelSpec) -> list[float]:
    """Return the mean drift that a module sees in each file."""
    inputs = collate([prepare(file, spec.resize, spec.crop) for file in files])
    fdm = afd.guide(*inputs.to(afd.stem_rms.device).tensors()[1:]).fdm  # (B, F, G, G)
    drifts: list[float] = fdm[:, 0].mean((1, 2)).tolist()
    return drifts


def _enlarged(photo: Photo, shorter_side: int, seed: int) -> Photo:
    factor = shorter_side / min(photo.shape[:2])
    size = round(photo.shape[1] * factor), round(photo.shape[0] * factor)
    enlarged = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
    return with_noise(enlarged, _NOISE, seed)
