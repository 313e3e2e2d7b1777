"""Photos to check modules with: originals whose names tell their class, stored at any size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dctafd.inputs.class_names import wnid_in_name

_NOISE = 4.0  # standard deviation in levels, about a phone's at ISO 400


def originals(folder: Path, limit: int | None) -> list[Path]:
    """Return a folder's photos whose names begin with a WordNet id, at most `limit`, evenly spread."""
    photos = sorted(path for path in folder.iterdir() if wnid_in_name(path.name))
    count = len(photos) if limit is None else min(limit, len(photos))
    return [photos[number * len(photos) // count] for number in range(count)]


def resized(photo: bytes, shorter_side: int | None, seed: int) -> Image.Image:
    """Return an original at a size, None for its own: with a sensor's noise where it is enlarged."""
    with Image.open(io.BytesIO(photo)) as image:
        rgb = image.convert("RGB")
    if shorter_side is None:
        return rgb
    factor = shorter_side / min(rgb.size)
    picture = rgb.resize((round(rgb.width * factor), round(rgb.height * factor)), Image.Resampling.BICUBIC)
    if factor <= 1:
        return picture
    pixels = np.asarray(picture)
    noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(pixels + _NOISE * noise, 0, 255).astype(np.uint8))
