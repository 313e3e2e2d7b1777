"""Draw the README's picture: a photo at quality 10, its drift map, the answers without and with the module.

python tools/make_picture.py             # writes docs/pictures/stop-sign-q10.png from examples/
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import dctafd
from tools.places import ROOT

PHOTO = ROOT / "examples" / "stop-sign-q10.jpg"
PICTURE = ROOT / "docs" / "pictures" / "stop-sign-q10.png"
SIDE, GAP, TOP = 256, 16, 34
INK, SOFT, BAR, PAPER = (26, 26, 26), (89, 89, 89), (0, 114, 178), (255, 255, 255)
#: From no drift to the most that this photo shows: dark blue, teal, yellow (viridis, three of its colours).
SCALE = np.array([(68, 1, 84), (33, 145, 140), (253, 231, 37)], np.float64)


def main() -> None:
    """Write the picture."""
    plain = dctafd.load_classifier(afd="off", runtime="torch")
    corrected = dctafd.load_classifier(runtime="torch")
    seen = dctafd.prepare(PHOTO, corrected.preprocessing.resize, corrected.preprocessing.crop, thumbnail=224)
    assert seen.thumbnail is not None
    drift = corrected.drift_map(PHOTO)
    canvas = Image.new("RGB", (4 * GAP + 2 * SIDE + 260, TOP + SIDE + GAP), PAPER)
    pen = ImageDraw.Draw(canvas)
    panels = [("what the classifier sees", Image.fromarray(seen.thumbnail)), ("drift map", _coloured(drift))]
    for number, (title, panel) in enumerate(panels):
        left = GAP + number * (SIDE + GAP)
        pen.text((left, 10), title, SOFT, ImageFont.load_default(15))
        canvas.paste(panel.resize((SIDE, SIDE), Image.Resampling.NEAREST if number else 1), (left, TOP))
    left = 3 * GAP + 2 * SIDE
    _answers(pen, left, 10, "without the correction", plain.classify(PHOTO, 3)[0])
    _answers(pen, left, 10 + TOP + SIDE // 2, "with it", corrected.classify(PHOTO, 3)[0])
    PICTURE.parent.mkdir(exist_ok=True)
    canvas.quantize(192).save(PICTURE, optimize=True)
    print(f"drift {drift.min():.3f} to {drift.max():.3f}")


def _coloured(drift: NDArray[np.float32]) -> Image.Image:
    share = (drift - drift.min()) / (drift.max() - drift.min())
    places = np.linspace(0, 1, len(SCALE))
    channels = [np.interp(share, places, SCALE[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))


def _answers(pen: ImageDraw.ImageDraw, left: int, top: int, title: str, result: dctafd.Result) -> None:
    pen.text((left, top), title, SOFT, ImageFont.load_default(15))
    for number, best in enumerate(result.predictions):
        line = top + 26 + 34 * number
        pen.text((left, line), best.label, INK, ImageFont.load_default(16 if number else 18))
        pen.text((left + 250, line), f"{best.score:.0%}", INK, ImageFont.load_default(16), "ra")
        pen.rectangle([left, line + 25, left + max(round(250 * best.score), 1), line + 28], fill=BAR)


if __name__ == "__main__":
    main()
