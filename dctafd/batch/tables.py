"""Tables for people: columns that fit the terminal, names cut in the middle, no markup and no wrapping."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal

from dctafd.plain_text import cut_middle, printable

_GAP = "  "
_LEAST_WIDTH = 8  # of a column that is cut, before another is left out


@dataclass(frozen=True, slots=True)
class Page:
    """What a table is laid out for.

    Attributes:
        width: columns of the terminal; None for lines as long as they are.
        color: whether escape sequences may be written.
    """

    width: int | None = None
    color: bool = False

    @classmethod
    def of(cls, stream: IO[str]) -> Page:
        """Return the page that a stream is: a terminal, or a file or pipe (COLUMNS wide, if set).

        NO_COLOR and dumb terminals are respected.
        """
        if stream.isatty():
            color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            return cls(shutil.get_terminal_size().columns, color)
        columns = os.environ.get("COLUMNS", "")
        return cls(int(columns) if columns.isdecimal() and int(columns) else None)


PLAIN = Page()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        numeric: whether it stands to the right.
        cut: how cells are shortened that do not fit: "middle" for names, "end" for text, None for what is of
            no use unless whole.
        rank: columns of the highest rank are left out first where not all fit; 0 always stays.
    """

    title: str
    numeric: bool = False
    cut: Literal["middle", "end"] | None = None
    rank: int = 0


def table_text(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    page: Page = PLAIN,
    *,
    heading: bool = True,
    bold: Sequence[int] = (),
) -> str:
    """Return a table as text, a line per row.

    Args:
        columns: from left to right; of equal rank, the rightmost is left out first.
        rows: a cell per column; outside text is escaped here.
        page: what it has to fit.
        heading: whether the first line holds the titles.
        bold: numbers of rows that stand out.
    """
    from rich.cells import cell_len

    cells = [[printable(cell) for cell in row] for row in rows]
    natural = [
        max([cell_len(column.title) if heading else 0, *(cell_len(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    ]
    widths = _fit(columns, natural, page.width)
    lines = []
    if heading:
        lines.append(_line(columns, [column.title for column in columns], widths, page.color))
    for number, row in enumerate(cells):
        lines.append(_line(columns, row, widths, page.color and number in bold))
    return "".join(line + "\n" for line in lines)


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> dict[int, int]:
    """Return the width of each column that is shown, by its number."""
    shown = list(range(len(columns)))
    if width is None:
        return {index: natural[index] for index in shown}

    def least(index: int) -> int:
        return min(natural[index], _LEAST_WIDTH) if columns[index].cut else natural[index]

    while sum(map(least, shown)) + len(_GAP) * (len(shown) - 1) > width:
        droppable = [index for index in shown if columns[index].rank]
        if not droppable:
            break
        shown.remove(max(droppable, key=lambda index: (columns[index].rank, index)))
    room = width - len(_GAP) * (len(shown) - 1) - sum(natural[i] for i in shown if not columns[i].cut)
    widths = {index: natural[index] for index in shown}
    elastic = sorted((index for index in shown if columns[index].cut), key=lambda index: natural[index])
    while elastic:  # the shorter ones first: what they leave goes to the longer ones
        share = max(room // len(elastic), 1)
        index = elastic.pop(0)
        widths[index] = min(natural[index], share)
        room -= widths[index]
    return widths


def _line(columns: Sequence[Column], row: Sequence[str], widths: dict[int, int], bold: bool) -> str:
    from rich.cells import cell_len

    cells = []
    for index, width in widths.items():
        text = _cut(row[index], width, columns[index].cut)
        padding = " " * (width - cell_len(text))
        cells.append(padding + text if columns[index].numeric else text + padding)
    line = _GAP.join(cells).rstrip()
    return f"\x1b[1m{line}\x1b[0m" if bold else line


def _cut(text: str, width: int, cut: str | None) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if cut == "middle":
        return cut_middle(text, width)
    return set_cell_size(text, width - 1).rstrip() + "…"
