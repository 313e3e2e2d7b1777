"""The house style of every figure: colour-blind safe colours, named axes and units, SVG for pages, PNG
for files.

Needs matplotlib (the extra `plot`). Figures are made without pyplot, so no window system and no global state.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dctafd.extras import require_extra
from dctafd.plain_text import cut_middle, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours without yellow, in the order in which lines and bars take them.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
#: Line markers, so that no line is told by its colour alone.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: A sequential colour map whose lightness rises evenly.
SEQUENTIAL = "cividis"

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "dctafd",
    "text.parse_math": False,  # file names and labels hold dollar signs
}
#: Suffixes of the files that figures are written to.
FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


@contextmanager
def new_figure(
    width: float = 6.0, height: float = 3.2, rows: int = 1, columns: int = 1
) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """Yield a figure in the house style and its (rows, columns) array of axes; draw within the block.

    Args:
        width, height: inches.
        rows, columns: axes in the figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_extra("plot")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(rows, columns, squeeze=False)
        yield figure, axes


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure to a file; the suffix says whether PNG (also without one), SVG or PDF.

    Raises:
        ValueError: another suffix.
        OSError: the file cannot be written.
    """
    from dctafd.files import atomic_output

    suffix = figure_suffix(path)
    with warnings.catch_warnings(), atomic_output(path, binary=True) as file:
        # A name in a script that matplotlib's font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(file, format=suffix.removeprefix("."), metadata=_no_date(suffix))


def figure_suffix(path: Path | str) -> str:
    """Return the suffix that says in which format a figure is written to `path`, ".png" where it has none.

    Raises:
        ValueError: it is none of `FIGURE_SUFFIXES`.
    """
    suffix = Path(path).suffix.lower() or ".png"
    if suffix not in FIGURE_SUFFIXES:
        raise ValueError(f"{Path(path).name}: figures are written as {', '.join(FIGURE_SUFFIXES)}")
    return suffix


def figure_text(text: str, width: int = 100) -> str:
    """Return a name or a label as a figure shows it: one printable line, its middle cut where it is long."""
    return cut_middle(one_line(text), width)


def figure_svg(figure: Figure, alternative_text: str) -> str:
    """Return a figure as an <svg> element that scales with the page and says what it shows."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_no_date(".svg"))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    title = alternative_text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    head = f'<svg role="img" aria-label="{title}" class="figure"'
    return re.sub(r'^<svg(?: width="[^"]*"| height="[^"]*")*', head, _without_sizes(svg), count=1)


def heat_map(axes: Axes, values: NDArray[np.floating], title: str, *, logarithmic: bool = False) -> None:
    """Draw (8, 8) values of the frequencies, each with its number; rows are vertical frequencies."""
    from matplotlib.colors import LogNorm

    positive = values[np.isfinite(values) & (values > 0)]
    logarithmic = logarithmic and positive.size > 0
    shown = np.where(values > 0, values, positive.min()) if logarithmic else values
    image = axes.imshow(shown, cmap=SEQUENTIAL, norm=LogNorm() if logarithmic else None)
    shades = np.ma.getdata(image.norm(shown))
    for (row, column), value in np.ndenumerate(values):
        color = "white" if shades[row, column] < 0.5 else "black"
        axes.text(column, row, short_number(value), ha="center", va="center", fontsize=7, color=color)
    axes.set(title=title, xlabel="horizontal frequency", ylabel="vertical frequency")
    axes.set_xticks(range(8))
    axes.set_yticks(range(8))
    axes.grid(False)
    axes.spines[:].set_visible(False)


def short_number(value: float) -> str:
    """Return a number in at most four characters or so: two digits, three where it is 100 or more."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else ""
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.2g}"


def quality_bars(axes: Axes, series: Sequence[tuple[str, NDArray[np.integer]]], xlabel: str) -> None:
    """Draw stacked bars of files over qualities 1..100; each series is (101,), index 0 is left out."""
    bottom = np.zeros(100)
    for color, hatch, (label, counts) in zip(COLORS, ("", "////", "...."), series, strict=False):
        axes.bar(
            np.arange(1, 101), counts[1:], 1.0, bottom, color=color, label=label, hatch=hatch,
            edgecolor="white", linewidth=0.2,
        )  # fmt: skip
        bottom += counts[1:]
    axes.set(xlabel=xlabel, ylabel="files", xlim=(0, 101))
    if len(series) > 1:
        axes.legend()


def _no_date(suffix: str) -> dict[str, None] | None:
    """Leave the date out, so that the same data gives the same file."""
    return {"Date": None} if suffix == ".svg" else None


def _without_sizes(svg: str) -> str:
    """Drop the fixed width and height of the root element; its viewBox stays."""
    end = svg.index(">")
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", svg[:end])
    return head + svg[end:]
