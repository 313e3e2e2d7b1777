"""Draw the photo-like pictures in examples/: simple objects of our own making, no one else's photos.

python examples/draw_examples.py          # writes examples/*.jpg, the same bytes every time
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

EXAMPLES = Path(__file__).resolve().parent
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


def wall_clock() -> Image.Image:
    """A round clock on a wall, at ten past ten."""
    picture = _gradient((200, 190, 170), (170, 160, 140))
    pen = ImageDraw.Draw(picture)
    ink = (18, 18, 18)
    _disc(pen, 196, 150, 128, (120, 112, 98))  # its shadow
    _disc(pen, 192, 144, 128, (50, 35, 22))
    _disc(pen, 192, 144, 116, (246, 244, 236))
    font = ImageFont.load_default(_px(26))
    for hour in range(1, 13):
        pen.text(_around(92, hour / 12), str(hour), ink, font, "mm")
    for minute in range(60):
        width = _px(1.5 if minute % 5 else 4)
        pen.line([_around(108, minute / 60), _around(113, minute / 60)], fill=ink, width=width)
    for turn, length, width in ((10.17 / 12, 55, 7), (10 / 60, 85, 4)):
        pen.line([_around(0, 0), _around(length, turn)], fill=ink, width=_px(width))
    _disc(pen, 192, 144, 6, ink)
    return picture


def balloon() -> Image.Image:
    """A hot-air balloon in the sky."""
    picture = _gradient((70, 130, 215), (190, 220, 245))
    pen = ImageDraw.Draw(picture)
    colours = [(215, 40, 40), (245, 190, 40), (40, 90, 190), (240, 240, 235)]
    down = np.linspace(0, 2.45, 30)
    for gore in range(12):
        edges = (100 * math.cos(math.pi * (gore + side) / 12) for side in (0, 1))
        left, right = (
            [(_px(192 - x * math.sin(t)), _px(110 - 92 * math.cos(t))) for t in down] for x in edges
        )
        pen.polygon([*left, *right[::-1]], fill=colours[gore % 4])
    for top, bottom in ((140, 178), (244, 206)):
        pen.line([_px(top), _px(180), _px(bottom), _px(244)], fill=(60, 50, 40), width=_px(1.5))
    pen.rectangle([_px(176), _px(242), _px(208), _px(266)], fill=(120, 80, 40))
    return picture


def daisy() -> Image.Image:
    """A daisy before leaves that are out of focus."""
    picture = _gradient((60, 110, 50), (25, 70, 28)).filter(ImageFilter.GaussianBlur(_px(3)))
    rng = np.random.default_rng(5)
    pen = ImageDraw.Draw(picture)
    for ring, (length, colour) in enumerate(((132, (228, 228, 232)), (120, (248, 248, 250)))):
        for petal in range(20):
            angle = 2 * math.pi * (petal + 0.5 * ring) / 20 + rng.normal(0, 0.04)
            shade = int(rng.integers(-12, 6))
            red, green, blue = (min(level + shade, 255) for level in colour)
            _petal(pen, angle, length, (red, green, blue))
    _disc(pen, 192, 144, 44, (225, 165, 10))
    for floret in range(300):
        radius, angle = 42 * math.sqrt(floret / 300), floret * 2.39996
        shade = int(rng.integers(0, 50))
        x, y = 192 + radius * math.cos(angle), 144 + radius * math.sin(angle)
        _disc(pen, x, y, 1.8, (235, 150 + shade, 20))
    return picture


def _around(radius: float, turn: float) -> tuple[int, int]:
    """Return the point at a share of a turn from twelve o'clock around the picture's centre."""
    angle = 2 * math.pi * turn - math.pi / 2
    return _px(192 + radius * math.cos(angle)), _px(144 + radius * math.sin(angle))


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
    Example("wall-clock.jpg", wall_clock, {"quality": 85}),
    Example("balloon.jpg", balloon, {"quality": 50, "subsampling": "4:2:2"}),
    Example("daisy.jpg", daisy, {"quality": 75, "progressive": True}),
    Example("daisy-q7.jpg", daisy, {"quality": 7}),
)

if __name__ == "__main__":
    main()
