"""Where a correction helps, as a picture: photo, drift map, answers without and with the module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.drift_map import DriftMap
from dctafd.analysis.plots import COLORS, figure_text

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes

    from dctafd.inference.results import Prediction

_WIDEST_LABEL = 28
_MARK = "\N{HEAVY CHECK MARK}"


def draw_answers(
    axes: NDArray[Any], found: DriftMap, title: str = "what the classifier sees", right: str | None = None
) -> None:
    """Draw one photo in a row of three axes.

    Args:
        axes: (3,), for the photo, the drift map and the answers.
        found: what the classifier makes of it.
        title: of the photo.
        right: name of the class that is wanted, whose bars are marked; None where that is not known.
    """
    photo, heat, answers = axes
    for ax in (photo, heat):
        ax.set_axis_off()
    photo.imshow(found.pixels)
    photo.set(title=title)
    if found.drift is None:
        heat.set(title="no AFD-Module")
    else:
        side = found.pixels.shape[0]
        heat.imshow(found.pixels.mean(axis=2), cmap="gray")
        image = heat.imshow(found.drift, cmap="inferno", alpha=0.6, extent=(0, side, side, 0), vmin=0)
        heat.figure.colorbar(image, ax=heat, label="predicted drift of the stem's features", shrink=0.85)
        heat.set(title=f"Feature Drifting Map,\nmean {found.drift.mean():.2f}")
    _draw_bars(answers, found, right)


def _draw_bars(axes: Axes, found: DriftMap, right: str | None) -> None:
    """Draw the best classes of both answers as bars, those without the module above."""
    groups = [("without the module", found.uncorrected, COLORS[1])]
    if found.corrected:
        groups.append(("with it", found.corrected, COLORS[0]))
    position, ticks, names = 0.0, [], []
    for label, best, color in groups:
        places = position + np.arange(len(best))
        bars = axes.barh(places, [entry.score for entry in best], 0.8, color=color, label=label)
        for bar, entry in zip(bars, best, strict=True):
            axes.annotate(
                f"{entry.score:.1%}", (entry.score, bar.get_y() + bar.get_height() / 2), (3, 0),
                textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
        ticks += places.tolist()
        names += [_name(entry, right) for entry in best]
        position += len(best) + 0.6
    axes.set_yticks(ticks, names, fontsize=8)
    wanted = "" if right is None else f"\n{_MARK} the class that is wanted"
    axes.set(xlim=(0, 1.2), xlabel=f"probability by {figure_text(found.model, 30)}{wanted}")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.spines["bottom"].set_bounds(0, 1)  # what is beyond is room for numbers
    axes.invert_yaxis()
    axes.grid(False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.3,
        ncols=2, fontsize=8, columnspacing=1.2, handlelength=1.2,
    )  # fmt: skip


def _name(entry: Prediction, right: str | None) -> str:
    mark = f"{_MARK} " if right is not None and entry.label == right else ""
    return mark + figure_text(entry.label, _WIDEST_LABEL)
