"""From what people call a class (its name, WordNet id or number) to the index that a classifier gives it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from dctafd.imagenet import imagenet_names

_WNIDS_FILE = Path(__file__).with_name("imagenet_wnids.txt")
_WNID = re.compile(r"n\d{8}")
_WNID_IN_NAME = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
_SEPARATORS = re.compile(r"[\s_\-]+")
_KNOWN_NAMES = 0.9  # share of ImageNet's category names by which 1,000 labels are known to be ImageNet's


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet-1k's classes by index."""
    lines = _WNIDS_FILE.read_text("ascii").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def wnid_in_name(name: str) -> str | None:
    """Return the WordNet id in a file's name, as ImageNet's have it ("n01440764_10026.JPEG"), or None."""
    found = _WNID_IN_NAME.findall(name)
    return found[0] if len(set(found)) == 1 else None


class ClassNames:
    """What a classifier's classes are called.

    A class is found by its name (as the labels spell it; else case, "_" and "-" do not matter; else the part
    before the first comma, "tench, Tinca tinca"), by its WordNet id where the classes are ImageNet's or the
    labels are such ids, and by its 0-based index where `numbers` says so. Two of ImageNet's names, "crane"
    and "maillot", stand for two classes each in many lists: such a name finds none.

    Args:
        labels: class names by index.

    Example:
        >>> names = ClassNames(("great white shark", "tiger_cat"))
        >>> names.index_of("Tiger cat"), names.index_of("1", numbers=True), names.index_of("lynx")
        (1, 1, None)
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._exact = _indices(self.labels)
        self._folded = _indices([_fold(label) for label in self.labels])
        self._wnids = _wnid_indices(self.labels, self._exact)

    def __len__(self) -> int:
        return len(self.labels)

    def index_of(self, text: str, numbers: bool = False) -> int | None:
        """Return the index of the class that `text` means, None where it means none or two.

        Args:
            text: a name, a WordNet id (anything may follow it after a space or "_"), or a number.
            numbers: whether a whole number is an index; else it is a name like any other.
        """
        text = text.strip()
        if numbers and text.removeprefix("-").isdecimal() and text.isascii():
            return int(text) if int(text) < len(self.labels) else None
        if _WNID.match(text) and (index := self._wnids.get(text[:9])) is not None:
            return index if len(text) == 9 or text[9] in " _-" else None
        first = text.partition(",")[0]
        for key, table in ((text, self._exact), (_fold(text), self._folded), (_fold(first), self._folded)):
            if found := table.get(key):
                return found[0] if len(found) == 1 else None
        return None

    def why_unknown(self, text: str, numbers: bool = False) -> str:
        """Return why `index_of` finds no class for `text`, in a few words."""
        text = text.strip()
        if not text:
            return "there is no label"
        if numbers and text.removeprefix("-").isdecimal() and text.isascii():
            return f"the model has {len(self.labels)} classes, 0 to {len(self.labels) - 1}"
        if len(found := self._folded.get(_fold(text), ())) > 1:
            return f"classes {' and '.join(map(str, found))} are both called so"
        if _WNID.fullmatch(text):
            return (
                "the model has no class of this WordNet id" if self._wnids else "the model has no WordNet ids"
            )
        return "the model has no class of this name"


def _fold(name: str) -> str:
    return _SEPARATORS.sub(" ", name.strip().casefold())


def _indices(names: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        found[name].append(index)
    return dict(found)


def _wnid_indices(labels: Sequence[str], exact: dict[str, list[int]]) -> dict[str, int]:
    """Return the indices of the WordNet ids among the labels, or of ImageNet's where these are its classes.

    A network for some of ImageNet's classes is known by their names, each of which must be there once.
    """
    own = {label: found[0] for label, found in exact.items() if _WNID.fullmatch(label) and len(found) == 1}
    if own:
        return own
    categories = imagenet_names()
    if len(labels) == len(categories):
        known = {_fold(name) for name in categories}
        same = sum(_fold(label.partition(",")[0]) in known for label in labels)
        if same >= _KNOWN_NAMES * len(labels):
            return {wnid: index for index, wnid in enumerate(imagenet_wnids())}
        return {}
    if len(labels) > len(categories):
        return {}
    unique = {
        name for name, found in _indices([_fold(name) for name in categories]).items() if len(found) == 1
    }
    folded = _indices([_fold(label.partition(",")[0]) for label in labels])
    return {
        wnid: folded[key][0]
        for wnid, name in zip(imagenet_wnids(), categories, strict=True)
        if (key := _fold(name)) in unique and len(folded.get(key, ())) == 1
    }
