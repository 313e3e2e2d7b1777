"""Text from outside (file names, labels, messages) as plain text: nothing in it drives a terminal.

Who draws or prints such text also keeps it from being read as markup: `rich.text.Text`, Jinja's autoescape,
`text.parse_math` of matplotlib.
"""

from __future__ import annotations

import math
import os
from dataclasses import fields
from typing import Any

_ELLIPSIS = "…"
_LONGEST_VALUE = 80
_UNITS = ("kB", "MB", "GB", "TB")


def printable(text: str) -> str:
    """Return `text` with what is not printable (control characters, changes of direction) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Return `text` as one printable line: line breaks become spaces."""
    return printable(" ".join(text.split()))


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number and what it counts: "1 file", "2 files"; `many` where that is not `one` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def reason(error: BaseException, *, named: bool = False) -> str:
    """Return what an error says, without the number that the system gives it.

    Args:
        error: what was raised.
        named: whether the reader knows which file it is about; else that comes first.
    """
    if isinstance(error, OSError) and error.strerror:
        known = named or error.filename is None
        return error.strerror if known else f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def size_text(size: float) -> str:
    """Return a number of bytes with two or three digits and a unit: "480 bytes", "9.1 kB", "12 MB"."""
    if size < 999.5:
        return f"{size:.0f} bytes"
    power = min(int(math.log(size / 0.9995, 1000)), len(_UNITS))
    value = size / 1000**power
    return f"{value:.0f} {_UNITS[power - 1]}" if value >= 9.95 else f"{value:.1f} {_UNITS[power - 1]}"


def rate_text(rate: float) -> str:
    """Return a rate with two or three digits, however small it is."""
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.2g}"


def cut_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` columns of a terminal, its middle left out where it is longer.

    The end gets two thirds of the room: names of one folder begin alike and end differently.
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width <= 1:
        return _ELLIPSIS[:width]
    end_width = (2 * (width - 1) + 2) // 3
    end = ""
    for character in reversed(text):
        if cell_len(character + end) > end_width:
            break
        end = character + end
    start = set_cell_size(text, width - 1 - cell_len(end)).rstrip(" ")
    return f"{start}{_ELLIPSIS}{end}"


def summary(value: Any) -> str:
    """Return a dataclass on one line, for `__repr__`: arrays, tensors and networks by kind and shape."""
    shown = (f"{item.name}={_brief(getattr(value, item.name))}" for item in fields(value) if item.repr)
    return f"{type(value).__name__}({', '.join(shown)})"


def _brief(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, str | int | float | os.PathLike | None):
        text = one_line(repr(value))
        return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}{_ELLIPSIS}"
    if isinstance(value, list | tuple | set | dict):
        return f"{type(value).__name__} of {len(value)}"
    return f"<{type(value).__name__}>"
