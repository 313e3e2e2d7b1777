"""Text from outside (file names, labels, messages) as plain text: nothing in it drives a terminal.

Who draws or prints such text also keeps it from being read as markup: `rich.text.Text`, Jinja's autoescape,
`text.parse_math` of matplotlib.
"""

from __future__ import annotations

_ELLIPSIS = "…"


def printable(text: str) -> str:
    """Return `text` with what is not printable (control characters, changes of direction) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Return `text` as one printable line: line breaks become spaces."""
    return printable(" ".join(text.split()))


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
