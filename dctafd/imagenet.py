"""The names of ImageNet-1k's classes, which several rooms want; reading them imports nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "inputs" / "imagenet_names.txt"


@cache
def imagenet_names() -> tuple[str, ...]:
    """Return torchvision's names of the 1,000 classes by index.

    They come from a file of our own: torchvision, imported for nothing else, takes a third of the time to a
    first answer.
    """
    lines = _FILE.read_text("utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))
