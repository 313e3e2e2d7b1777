"""How an evaluation compresses photos: the orders of resizing, cropping and compressing that papers use."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from dctafd.inputs.model_input import ModelInput
from dctafd.inputs.prepare import prepare
from dctafd.nets.registry import ModelSpec
from dctafd.training.degrade import IMAGENET_C_QUALITY, decode_jpeg, encode_jpeg

Protocol = Literal["single", "imagenet-c", "native", "repeated", "stored"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
PAPER_QUALITIES = (7, 10, 15, 18, 25)


@dataclass(frozen=True, slots=True)
class Condition:
    """One way of compressing a photo.

    Attributes:
        quality: of the compression; None leaves the photo as it is stored, unless `times` is set.
        full_size: compress the whole photo, then resize and crop; else resize and crop first.
        again: quality of a second compression on the same grid, None for none.
        times: compress so many times, at qualities drawn from `drawn_from`.
        drawn_from: qualities.
    """

    quality: int | None
    full_size: bool = False
    again: int | None = None
    times: int | None = None
    drawn_from: tuple[int, ...] = ()


def protocol_conditions(
    protocol: Protocol, qualities: Sequence[int] = PAPER_QUALITIES, times: Sequence[int] = (1, 2, 3, 4, 5)
) -> tuple[Condition, ...]:
    """Return the conditions of a protocol, one for each row of an evaluation.

    Args:
        protocol: "single": resize, crop, compress (the paper's order, and ImageNet-C's); "imagenet-c": the
            same, then compressed again at quality 85, as ImageNet-C's files are; "native": compress at full
            size, then resize and crop; "repeated": as "single", several times at drawn qualities; "stored":
            the files as they are.
        qualities: of the compressions.
        times: numbers of compressions, for "repeated".
    """
    if protocol == "stored":
        return (Condition(None),)
    if protocol == "repeated":
        return tuple(Condition(None, times=count, drawn_from=tuple(qualities)) for count in times)
    again = IMAGENET_C_QUALITY if protocol == "imagenet-c" else None
    return tuple(Condition(quality, protocol == "native", again) for quality in qualities)


def compressed_input(
    stored: bytes, condition: Condition, spec: ModelSpec, rng: np.random.Generator
) -> ModelInput:
    """Compress a photo and prepare it for a classifier.

    Args:
        stored: a JPEG file.
        condition: how it is compressed.
        spec: the classifier's preprocessing.
        rng: draws the qualities of `Condition.times`.

    Raises:
        DctafdError, OSError: the file cannot be read.
    """
    data, cropped = _compress(stored, condition, spec, rng)
    resize = None if cropped else spec.resize
    return prepare(data, resize, spec.crop, mean=spec.mean, std=spec.std)


def _compress(
    stored: bytes, condition: Condition, spec: ModelSpec, rng: np.random.Generator
) -> tuple[bytes, bool]:
    """Return the JPEG file that the classifier gets, and whether it is cropped already."""
    if condition.times is not None:
        pixels = _resized_crop(stored, spec)
        for quality in rng.choice(condition.drawn_from, condition.times):
            data = encode_jpeg(pixels, int(quality))
            pixels = decode_jpeg(data)
        return data, True
    if condition.quality is None:
        return stored, False
    pixels = decode_jpeg(stored) if condition.full_size else _resized_crop(stored, spec)
    data = encode_jpeg(pixels, condition.quality)
    if condition.again is not None:
        data = encode_jpeg(decode_jpeg(data), condition.again)
    return data, not condition.full_size


def _resized_crop(stored: bytes, spec: ModelSpec) -> np.ndarray:
    """Resize and crop as torchvision's Resize and CenterCrop, (crop, crop, 3) uint8."""
    from torchvision.transforms import functional

    with Image.open(io.BytesIO(stored)) as image:
        rgb = image.convert("RGB")
    return np.asarray(functional.center_crop(functional.resize(rgb, [spec.resize]), [spec.crop]))
