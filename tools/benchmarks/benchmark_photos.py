"""Photos for benchmark.py: synthetic ones made on the fly, or given ones brought to the sizes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ASPECT = 4 / 3
EDGES = 60


@dataclass(frozen=True)
class Photo:
    """One compressed photo: its bytes, and the same in a file for those who read paths only."""

    megapixels: float
    quality: int
    data: bytes
    path: str


def photo_size(megapixels: float) -> tuple[int, int]:
    """Return (width, height), 4:3."""
    height = round((megapixels * 1e6 / ASPECT) ** 0.5)
    return round(height * ASPECT), height


def synthetic_photo(megapixels: float) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8: 1/f noise as photos have it, flat shapes with edges, sensor noise."""
    width, height = photo_size(megapixels)
    rng = np.random.default_rng(0)
    luma = 60 * _pink_noise(height, width, rng)
    chroma = [18 * _pink_noise(height, width, rng) for _ in range(2)]
    y, x = np.ogrid[0:height, 0:width]
    for _ in range(EDGES):
        normal, radius = rng.uniform(-1, 1, 2), rng.uniform(0.02, 0.2) * width
        center = rng.uniform(0, 1, 2) * (height, width)
        near = (np.abs(y - center[0]) < radius) & (np.abs(x - center[1]) < radius)
        shape = near & (normal[0] * (y - center[0]) + normal[1] * (x - center[1]) > 0)
        luma += shape * rng.normal(0, 30)
        chroma[int(rng.integers(2))] += shape * rng.normal(0, 10)
    planes = [luma + 1.4 * chroma[1], luma - 0.34 * chroma[0] - 0.71 * chroma[1], luma + 1.77 * chroma[0]]
    noise = rng.normal(0, 2, (height, width, 1)).astype(np.float32)
    return np.clip(np.stack(planes, axis=-1) + 120 + noise, 0, 255).astype(np.uint8)


def _pink_noise(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise whose amplitude falls with the frequency, of deviation 1."""
    spectrum = np.fft.rfft2(rng.normal(size=(height, width)).astype(np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    plane = np.fft.irfft2(spectrum / frequency, (height, width))
    return (plane / plane.std()).astype(np.float32)


def enlarged_photo(directory: Path, megapixels: float) -> NDArray[np.uint8]:
    """Return photos of a directory, tiled to the size at their own resolution."""
    width, height = photo_size(megapixels)
    canvas = Image.new("RGB", (width, height))
    paths = sorted(path for path in directory.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"no .jpg files in {directory}")
    top = index = 0
    while top < height:
        left, row = 0, 1
        while left < width:
            with Image.open(paths[index % len(paths)]) as tile:
                canvas.paste(tile.convert("RGB"), (left, top))
                left, row = left + tile.width, max(row, min(tile.height, 256))
            index += 1
        top += row
    return np.asarray(canvas)


def compressed(
    pixels: NDArray[np.uint8], megapixels: float, quality: int, directory: Path, **options: int
) -> Photo:
    """Compress pixels as Pillow does by default (4:2:0), or so, and keep the file in `directory`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, **options)
    path = directory / f"{megapixels}_{quality}.jpg"
    path.write_bytes(buffer.getvalue())
    return Photo(megapixels, quality, buffer.getvalue(), str(path))
