"""A gallery of classified photos: one HTML page that needs no other file and no server.

The page is written as the results come: its head, one line of JSON per photo, and what is known at the end.
Names, labels and messages stand in that JSON alone, in which no "<" is left; the page's script shows them as
text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from dctafd import __version__
from dctafd.analysis.report_template import page_template
from dctafd.batch.writers import input_name
from dctafd.inference.results import Result
from dctafd.plain_text import printable

#: Pixels of the longer side of a thumbnail.
THUMBNAIL = 96
#: Photos that a page holds; with some 3 kB each a browser still opens it in a moment.
MOST_PHOTOS = 20_000

_PLACE = "{gallery data}"
_MARKUP = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


class Gallery:
    """The page as a `TextFormat` of results with thumbnails.

    Args:
        model: what records call the classifier.
        description: one line on its weights and its correction.
        afd: name of the AFD-Module, None without one.
        written: results that an earlier process of the same run wrote.
        most: photos that the page holds; of more, the first ones.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """

    def __init__(
        self, model: str, description: str, afd: str | None, written: int = 0, most: int = MOST_PHOTOS
    ) -> None:
        template = page_template("gallery.html")
        script = page_template("gallery.js").render()
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        page = template.render(script=_OwnMarkup(script), script_digest=digest, place=_OwnMarkup(_PLACE))
        self._head, _, self._tail = page.partition(_PLACE)
        self._facts = {"model": model, "description": description, "afd": afd, "version": __version__}
        self._written = written
        self._most = most

    def begin(self) -> str:
        """Return what comes before the first photo."""
        return f"{self._head}[\n"

    def batch(self, results: Sequence[Result]) -> str:
        """Return one line per photo, until the page is full."""
        room = max(self._most - self._written, 0)
        self._written += len(results)
        return "".join(f"{_safe_json(_row(result))},\n" for result in results[:room])

    def end(self) -> str:
        """Return what comes after the last photo."""
        facts = {name: printable(value) if value else value for name, value in self._facts.items()}
        return f"{_safe_json({**facts, 'photos': self._written, 'most': self._most})}]{self._tail}"


class _OwnMarkup(str):
    """Markup of our own, which Jinja leaves as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def _safe_json(value: Any) -> str:
    """Return JSON that can stand in a <script>: no "</script>" and no "<!--" can come of it."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).translate(_MARKUP)


def _row(result: Result) -> list[Any]:
    """Return what the page's script reads of a photo, in the order in which it takes it apart."""
    best = [[printable(one.label), round(one.score, 4)] for one in result.predictions]
    error = None if result.error is None else printable(f"{result.error.type}: {result.error.message}")
    thumbnail = "" if result.thumbnail is None else base64.b64encode(result.thumbnail).decode()
    return [
        printable(input_name(result)),
        best,
        error,
        result.drift if result.drift is None else round(result.drift, 4),
        result.quality,
        result.quality_exact,
        result.primary_quality,
        result.width,
        result.height,
        result.process,
        result.subsampling,
        [printable(warning) for warning in result.warnings],
        thumbnail,
    ]
