"""Draw the photo-like pictures in examples/: simple objects of our own making, no one else's photos.

python tools/make_examples.py            # writes examples/*.jpg, the same bytes every time
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WIDTH, HEIGHT = 384, 288
SUPERSAMPLING = 4
Colour = tuple[int, int, int]


class Example(NamedTuple):
    """One file: its name, what draws it, and how it is saved."""

    file: str
    draw: Callable[[], Image.Image]
    options: dict[str, Any]


def main() -> None:
    """Write every example."""
    EXAMPLES.mkdir(exist_ok=True)
    for example in EXAMPLE_FILES:
        picture = _like_a_photo(example.draw())
        picture.save(EXAMPLES / example.file, "JPEG", **example.options)


def stop_sign() -> Image.Image:
    """A stop sign on a post, in front of sky and meadow."""
    picture = _gradient((120, 170, 225), (225, 235, 245))
    meadow = _gradient((110, 150, 70), (60, 95, 40))
    picture.paste(meadow.crop((0, 0, picture.width, _px(80))), (0, _px(208)))
    pen = ImageDraw.Draw(picture)
    pen.rectangle([_px(186), _px(140), _px(198), _px(288)], fill=(140, 142, 145))
    for radius, colour in ((112, (235, 235, 232)), (105, (190, 22, 32))):
        pen.polygon(_regular_polygon(192, 124, radius, corners=8), fill=colour)
    font = ImageFont.load_default(_px(66))
    pen.text(
        (_px(192), _px(124)), "STOP", (240, 240, 238), font, "mm", stroke_width=_px(2), stroke_fill=(240,) * 3
    )
    return picture


def yin_yang() -> Image.Image:
    """A yin and yang sign on a plain wall."""
    picture = _gradient((236, 232, 224), (214, 208, 196))
    pen = ImageDraw.Draw(picture)
    black, white = (18, 18, 20), (248, 248, 246)
    _disc(pen, 192, 144, 122, black)
    _disc(pen, 192, 144, 118, white)
    box = [_px(192 - 118), _px(144 - 118), _px(192 + 118), _px(144 + 118)]
    pen.pieslice(box, 90, 270, fill=black)
    _disc(pen, 192, 144 - 59, 59, white)
    _disc(pen, 192, 144 + 59, 59, black)
    _disc(pen, 192, 144 - 59, 17, black)
    _disc(pen, 192, 144 + 59, 17, white)
    return picture


def sunflower() -> Image.Image:
    """A sunflower before leaves that are out of focus."""
    picture = _gradient((70, 120, 60), (30, 70, 30)).filter(ImageFilter.GaussianBlur(_px(3)))
    rng = np.random.default_rng(5)
    pen = ImageDraw.Draw(picture)
    for ring, (length, colour) in enumerate(((126, (226, 160, 16)), (118, (246, 190, 24)))):
        for petal in range(22):
            angle = 2 * math.pi * (petal + 0.5 * ring) / 22 + rng.normal(0, 0.03)
            shade = int(rng.integers(-18, 10))
            _petal(pen, angle, length, (colour[0], colour[1] + shade, colour[2]))
    _disc(pen, 192, 144, 56, (70, 42, 18))
    for seed in range(420):
        radius, angle = 54 * math.sqrt(seed / 420), seed * 2.39996
        shade = int(rng.integers(0, 45))
        x, y = 192 + radius * math.cos(angle), 144 + radius * math.sin(angle)
        _disc(pen, x, y, 1.8, (75 + shade, 45 + shade // 2, 18))
    return picture


def _petal(pen: ImageDraw.ImageDraw, angle: float, length: float, colour: Colour) -> None:
    outline = []
    for t in np.linspace(0, 2 * math.pi, 40):
        along = 40 + (length - 40) * (0.5 - 0.5 * math.cos(t))
        across = 15 * math.sin(t)
        x = 192 + along * math.cos(angle) - across * math.sin(angle)
        y = 144 + along * math.sin(angle) + across * math.cos(angle)
        outline.append((_px(x), _px(y)))
    pen.polygon(outline, fill=colour)


def _px(length: float) -> int:
    """Return a length of the finished picture in pixels of the supersampled drawing."""
    return round(length * SUPERSAMPLING)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour) -> None:
    pen.ellipse([_px(x - radius), _px(y - radius), _px(x + radius), _px(y + radius)], fill=colour)


def _regular_polygon(x: float, y: float, radius: float, corners: int) -> list[tuple[int, int]]:
    angles = [2 * math.pi * (corner + 0.5) / corners for corner in range(corners)]
    return [(_px(x + radius * math.cos(a)), _px(y + radius * math.sin(a))) for a in angles]


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, _px(HEIGHT))[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(np.broadcast_to(rows, (_px(HEIGHT), _px(WIDTH), 3)).astype(np.uint8))


def _like_a_photo(drawing: Image.Image) -> Image.Image:
    """Return the drawing at its final size, lit from one side, slightly blurred, with a sensor's noise."""
    picture = drawing.resize((WIDTH, HEIGHT), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.6))
    pixels = np.asarray(picture, dtype=np.float32)
    light = np.linspace(1.06, 0.86, WIDTH, dtype=np.float32)[None, :, None]
    noise = np.random.default_rng(1).normal(0, 2.5, pixels.shape)
    return Image.fromarray((pixels * light + noise).round().clip(0, 255).astype(np.uint8))


EXAMPLE_FILES = (
    Example("stop-sign.jpg", stop_sign, {"quality": 90, "subsampling": "4:4:4"}),
    Example("stop-sign-q10.jpg", stop_sign, {"quality": 10}),
    Example("yin-yang.jpg", yin_yang, {"quality": 85}),
    Example("sunflower.jpg", sunflower, {"quality": 75, "progressive": True}),
)

if __name__ == "__main__":
    main()
