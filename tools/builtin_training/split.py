"""Which photos of the labelled folder train, validate and test: decided by a hash of the file name alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

TEST_PERCENT = 20
VALIDATION_PERCENT = 5

Part = Literal["train", "validation", "test"]


class LabelledPhoto(NamedTuple):
    """A photo and the index of its class."""

    path: Path
    label: int


def part_of(relative_name: str) -> Part:
    """Return the part that a photo belongs to, for ever.

    Args:
        relative_name: `class/file.jpg`, with a forward slash on every system.
    """
    bucket = int.from_bytes(hashlib.sha256(relative_name.encode()).digest()[:4], "big") % 100
    if bucket < TEST_PERCENT:
        return "test"
    return "validation" if bucket < TEST_PERCENT + VALIDATION_PERCENT else "train"


def class_names(root: Path) -> list[str]:
    """Return the classes of a folder that has one sub-folder a class; a class's index is its place here."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir())


def labelled_photos(root: Path, part: Part) -> list[LabelledPhoto]:
    """Return one part's photos with their labels, sorted by name."""
    return [
        LabelledPhoto(path, label)
        for label, name in enumerate(class_names(root))
        for path in sorted((root / name).glob("*.jpg"))
        if part_of(f"{name}/{path.name}") == part
    ]
