"""Photos to check modules with: originals whose names tell their class, stored at any size."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from dctafd.inputs.class_names import wnid_in_name

Item = TypeVar("Item")
Labelled = tuple[Path, int]
_NOISE = 4.0  # standard deviation in levels, about a phone's at ISO 400


def originals(folder: Path, limit: int | None) -> list[Path]:
    """Return a folder's photos whose names begin with a WordNet id, at most `limit`, evenly spread."""
    return spread(sorted(path for path in folder.iterdir() if wnid_in_name(path.name)), limit)


def listed_photos(folder: Path) -> list[Labelled]:
    """Return the photos of a folder's labels.csv."""
    with (folder / "labels.csv").open() as file:
        return [(folder / row["file"], int(row["label"])) for row in csv.DictReader(file)]


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return at most so many items, evenly spread."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[number * len(items) // count] for number in range(count)]


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
