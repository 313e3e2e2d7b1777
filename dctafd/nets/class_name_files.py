"""Class names in files of people's own: one name per line, or JSON."""

from __future__ import annotations

import json
from pathlib import Path

from dctafd.errors import WeightsError

_MAX_BYTES = 16 * 2**20


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return class names by index.

    Args:
        path: a text file with one name per line; or JSON: a list of names, or an object from index to name,
            to [id, name] (as Keras has ImageNet's), or from name to index.

    Raises:
        WeightsError: the file cannot be read, or its indices have gaps.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"{path} is too large for a file of class names")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is no readable file of class names: {error}") from error
    if path.suffix.lower() == ".json":
        names = _from_json(text, path)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise WeightsError(f"{path} holds no class names")
    return tuple(names)


def _from_json(text: str, path: Path) -> list[str]:
    try:
        stored = json.loads(text)
        if isinstance(stored, list):
            return [str(name) for name in stored]
        if all(isinstance(value, int) for value in stored.values()):
            stored = {index: name for name, index in stored.items()}
        by_index = {int(index): name for index, name in stored.items()}
        if sorted(by_index) != list(range(len(by_index))):
            raise ValueError("its indices are not 0, 1, 2 and so on")
        ordered = [by_index[index] for index in range(len(by_index))]
        return [str(name[-1] if isinstance(name, list) else name) for name in ordered]
    except (AttributeError, IndexError, RecursionError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} holds no class names: {error}") from error
