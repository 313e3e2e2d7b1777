"""Augmented views with the teacher's features, computed once and cached on disk for many epochs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from builtin_training.teacher import DEEP_CHANNELS, MIDDLE_CHANNELS, POOLED_CHANNELS, Teacher

STUDENT_SIZE = 160  # of the stored views; a recipe's sizes are at most this
TEACHER_SIZE = 192
UNLABELLED = -1
MIXED_SHARE = 0.3  # of the batches: mixed before the teacher sees them, so that its answer stays true
_GRAY = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


class Photo(NamedTuple):
    """A photo in memory; label is `UNLABELLED` where it has none."""

    image: Image.Image
    label: int
    smallest_crop: float


class ViewCache:
    """Views and the teacher's features in memory-mapped arrays, filled round by round.

    One process appends whole rounds while another reads those that are complete.

    Args:
        folder: where the arrays lie.
        capacity: most views it can hold, for good; None opens an existing cache for reading.

    Attributes:
        pixels: (capacity, 160, 160, 3) uint8.
        middle: (capacity, 96, 12, 12) float16.
        deep: (capacity, 320, 6, 6) float16.
        pooled: (capacity, 1280) float16.
        labels: (capacity,) int16, `UNLABELLED` for unlabelled and for mixed views.
    """

    def __init__(self, folder: Path, capacity: int | None = None) -> None:
        self.folder = folder
        mode: Literal["r", "r+", "w+"] = "r" if capacity is None else "r+"
        if capacity is not None and not self._count_file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.set_count(0, rounds=0)
            mode = "w+"
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "pixels": ((STUDENT_SIZE, STUDENT_SIZE, 3), "uint8"),
            "middle": ((MIDDLE_CHANNELS, TEACHER_SIZE // 16, TEACHER_SIZE // 16), "float16"),
            "deep": ((DEEP_CHANNELS, TEACHER_SIZE // 32, TEACHER_SIZE // 32), "float16"),
            "pooled": ((POOLED_CHANNELS,), "float16"),
            "labels": ((), "int16"),
        }
        for name, (shape, dtype) in shapes.items():
            path = folder / f"{name}.npy"
            array = np.lib.format.open_memmap(
                path, mode, dtype, shape=(capacity, *shape) if capacity and mode == "w+" else None
            )
            setattr(self, name, array)

    pixels: NDArray[np.uint8]
    middle: NDArray[np.float16]
    deep: NDArray[np.float16]
    pooled: NDArray[np.float16]
    labels: NDArray[np.int16]

    def labelled_features(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pooled features (N, 1280) float32 and labels (N,) of the views that have a label."""
        labels = torch.from_numpy(self.labels[: self.count].astype(np.int64))
        labelled = labels != UNLABELLED
        return torch.from_numpy(self.pooled[: self.count][labelled.numpy()]).float(), labels[labelled]

    @property
    def _count_file(self) -> Path:
        return self.folder / "count.json"

    @property
    def count(self) -> int:
        """Views in complete rounds."""
        return int(json.loads(self._count_file.read_text())["views"])

    @property
    def rounds(self) -> int:
        """Complete rounds."""
        return int(json.loads(self._count_file.read_text())["rounds"])

    def set_count(self, views: int, rounds: int) -> None:
        """Publish that `views` views in `rounds` rounds are complete."""
        temporary = self._count_file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"views": views, "rounds": rounds}))
        temporary.replace(self._count_file)


def load_photo(path: Path, label: int, smallest_crop: float) -> Photo:
    """Read a photo as RGB."""
    with Image.open(path) as image:
        return Photo(image.convert("RGB"), label, smallest_crop)


def add_round(
    cache: ViewCache, photos: Sequence[Photo], teacher: Teacher, seed: int = 0, batch: int = 48
) -> None:
    """Append one view of every photo, in an order and with augmentations drawn from seed + its number."""
    round_number, position = cache.rounds, cache.count
    if position + len(photos) > len(cache.labels):
        raise ValueError(
            f"the cache was made for {len(cache.labels)} views, {position} are there: begin another"
        )
    random.seed(seed + round_number)
    torch.manual_seed(seed + round_number)
    order = random.sample(range(len(photos)), len(photos))
    for start in range(0, len(order), batch):
        chosen = [photos[index] for index in order[start : start + batch]]
        large, small, labels = _augmented(chosen)
        with torch.inference_mode():
            features = teacher(large)
        end = position + len(chosen)
        cache.pixels[position:end] = (small * 255).round().byte().permute(0, 2, 3, 1).numpy()
        cache.middle[position:end] = features.middle.half().numpy()
        cache.deep[position:end] = features.deep.half().numpy()
        cache.pooled[position:end] = features.pooled.half().numpy()
        cache.labels[position:end] = labels
        position = end
    cache.set_count(position, round_number + 1)


def _augmented(photos: Sequence[Photo]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Return the same augmented crops at the teacher's and the student's size, in [0, 1], and labels."""
    pairs = [_crop_both(photo) for photo in photos]
    large = torch.stack([pair[0] for pair in pairs])
    small = torch.stack([pair[1] for pair in pairs])
    labels = [photo.label for photo in photos]
    shared = list(_colour_parameters(len(photos)))
    large, small = _jitter(large, shared), _jitter(small, shared)
    if random.random() < MIXED_SHARE:
        labels = [UNLABELLED] * len(labels)
        large, small = _mix(large, small)
    return large, small, labels


def _crop_both(photo: Photo) -> tuple[torch.Tensor, torch.Tensor]:
    width, height = photo.image.size
    for _ in range(10):
        area = width * height * random.uniform(photo.smallest_crop, 1.0)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            break
    else:
        w = h = float(min(width, height))
    left, top = random.uniform(0, width - w), random.uniform(0, height - h)
    box = (left, top, left + w, top + h)
    mirrored = random.random() < 0.5

    def crop(size: int) -> torch.Tensor:
        image = photo.image.resize((size, size), Image.Resampling.BILINEAR, box=box)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return pixels.flip(2) if mirrored else pixels

    return crop(TEACHER_SIZE), crop(STUDENT_SIZE)


def _colour_parameters(count: int) -> Iterator[torch.Tensor]:
    """Yield brightness, contrast and saturation factors (count, 1, 1, 1) around 1."""
    for spread in (0.3, 0.3, 0.4):
        yield 1 + spread * (2 * torch.rand(count, 1, 1, 1) - 1)


def _jitter(pixels: torch.Tensor, factors: Sequence[torch.Tensor]) -> torch.Tensor:
    brightness, contrast, saturation = factors
    pixels = pixels * brightness
    pixels = pixels.lerp(pixels.mean((1, 2, 3), keepdim=True), 1 - contrast)
    gray = (pixels * _GRAY).sum(1, keepdim=True)
    return gray.lerp(pixels, saturation).clamp(0, 1)


def _mix(large: torch.Tensor, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each crop mixed with its neighbour in the batch, by mixup or CutMix with equal chance."""
    if random.random() < 0.5:
        share = torch.rand(len(large), 1, 1, 1) * 0.5
        return large.lerp(large.roll(1, 0), share), small.lerp(small.roll(1, 0), share)
    height, width = random.uniform(0.3, 0.8), random.uniform(0.3, 0.8)
    top, left = random.uniform(0, 1 - height), random.uniform(0, 1 - width)
    mixed = []
    for pixels in (large, small):
        size = pixels.shape[-1]
        rows = slice(round(top * size), round((top + height) * size))
        columns = slice(round(left * size), round((left + width) * size))
        pasted = pixels.clone()
        pasted[..., rows, columns] = pixels.roll(1, 0)[..., rows, columns]
        mixed.append(pasted)
    return mixed[0], mixed[1]
