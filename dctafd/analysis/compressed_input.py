"""Compress an original by a protocol and prepare it for a classifier: `compressed_inputs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.protocols import Condition
from dctafd.config import Limits
from dctafd.inputs.model_input import ModelInput
from dctafd.inputs.pictures import centre_crop, decode_jpeg, decode_picture, encode_jpeg, is_jpeg
from dctafd.inputs.prepare import prepare

if TYPE_CHECKING:
    from dctafd.nets.model_specs import ModelSpec

_LOSSLESS_QUALITY = 100


def compressed_inputs(
    original: bytes,
    conditions: Sequence[Condition],
    spec: ModelSpec,
    seed: Sequence[int] = (0,),
    limits: Limits = Limits(),
) -> list[ModelInput]:
    """Compress a photo in several ways and prepare each for a classifier.

    A JPEG file that is not compressed again is read as it is. Another picture has no coefficients then:
    FDE-Net gets to read those that it has at quality 100, 4:4:4, at its own size.

    Args:
        original: a picture in one of Pillow's formats, as a viewer shows it (`decode_picture`).
        conditions: the ways.
        spec: the classifier's preprocessing.
        seed: of the qualities that `Condition.times` draws, for each condition anew.
        limits: what the original may cost.

    Raises:
        DctafdError, OSError: the file cannot be read.
    """
    picture = _Original(original, spec, limits)
    inputs = []
    for condition in conditions:
        file, cropped = picture.compressed(condition, np.random.default_rng(seed))
        # A crop may be larger than the photo that it was made of.
        inputs.append(_prepared(file, cropped, spec, limits if file is original else Limits()))
    return inputs


def compressed_file(
    original: bytes, condition: Condition, spec: ModelSpec, seed: Sequence[int] = (0,)
) -> bytes:
    """Return the JPEG file that the classifier gets to see of an original; see `compressed_inputs`."""
    return _Original(original, spec).compressed(condition, np.random.default_rng(seed))[0]


def _prepared(file: bytes, cropped: bool, spec: ModelSpec, limits: Limits) -> ModelInput:
    return prepare(
        file,
        None if cropped else spec.resize,
        spec.crop,
        mean=spec.mean,
        std=spec.std,
        max_pixels=limits.max_pixels,
        max_scans=limits.max_scans,
        strict=limits.strict,
    )


class _Original:
    """One original; its pixels are decoded and cropped once, where a condition asks for them."""

    def __init__(self, data: bytes, spec: ModelSpec, limits: Limits = Limits()) -> None:
        self._data, self._spec, self._limits = data, spec, limits
        self._pixels: NDArray[np.uint8] | None = None
        self._crop: NDArray[np.uint8] | None = None

    def pixels(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = decode_picture(self._data, self._limits.max_pixels)
        return self._pixels

    def crop(self) -> NDArray[np.uint8]:
        if self._crop is None:
            self._crop = centre_crop(self.pixels(), self._spec.resize, self._spec.crop)
        return self._crop

    def compressed(self, condition: Condition, rng: np.random.Generator) -> tuple[bytes, bool]:
        """Return the JPEG file that the classifier gets, and whether it is cropped already."""
        if condition.times is not None:
            pixels = self.crop()
            for quality in rng.choice(condition.drawn_from, condition.times):
                file = encode_jpeg(pixels, int(quality))
                pixels = decode_jpeg(file)
            return file, True
        if condition.quality is None:
            if is_jpeg(self._data):
                return self._data, False
            return encode_jpeg(self.pixels(), _LOSSLESS_QUALITY, "4:4:4"), False
        file = encode_jpeg(self.pixels() if condition.full_size else self.crop(), condition.quality)
        if condition.again is not None:
            file = encode_jpeg(decode_jpeg(file), condition.again)
        return file, not condition.full_size
