"""Draw what of a quantisation step survives a resize, by frequency: docs/pictures/surviving-step.svg.

python tools/make_survival_figure.py     # the shares are those that `dctafd.prepare` gives
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

import dctafd
from dctafd.analysis.plots import COLORS, MARKERS, figure_svg, new_figure

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "surviving-step.svg"
SCALES = (1, 1.5, 2, 4, 8)
RESIZE = 256


def main() -> None:
    """Write the figure."""
    with new_figure(7.2, 3.6) as (figure, axes):
        for number, scale in enumerate(SCALES):
            side = round(RESIZE * scale)
            share = dctafd.prepare(_gray(side), RESIZE, 224).survival[:64].reshape(8, 8)[0]
            style = {"color": COLORS[number], "marker": MARKERS[number], "label": f"{side} pixels, {scale:g}"}
            axes[0, 0].plot(np.arange(8), share, **style)
        axes[0, 0].set(xlabel="horizontal frequency u", ylabel="surviving share of the step", ylim=(0, 1.05))
        legend = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5), "frameon": False}
        axes[0, 0].legend(title=f"shorter side,\nscale to {RESIZE}", **legend)
        text = "Share of a step that survives the resize, by horizontal frequency, at five scales."
        FIGURE.parent.mkdir(exist_ok=True)
        FIGURE.write_text(figure_svg(figure, text).replace("<svg ", '<svg style="background:#fff" ', 1))


def _gray(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "JPEG", quality=50)
    return file.getvalue()


if __name__ == "__main__":
    main()
