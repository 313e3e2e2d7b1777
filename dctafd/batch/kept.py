"""What `--keep` carries over to the records: values of sidecars in shards, or of a table's other columns.

In a WebDataset shard, members that share a key (the name up to the first dot of its base) are one sample:
"07/a.jpg", "07/a.cls", "07/a.json". A name such as "cls" stands for the text of the sidecar "a.cls",
"json.url" for the value `url` in "a.json", "key" for the key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from dctafd.batch.formats import json_text
from dctafd.inputs.file_names import sample_extension, sample_key
from dctafd.inputs.source_items import readable

KEY = "key"
MAX_SIDECAR_BYTES = 2**20
_DEEPEST = 20

#: Kinds of columns in Parquet: "int", "float", "bool" and "text".
Kinds = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """The names that `--keep` was given.

    Attributes:
        names: in the order of the output.
    """

    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything is kept."""
        return bool(self.names)

    @property
    def needs_sidecars(self) -> bool:
        """Whether other members than the photos have to be read."""
        return any(name != KEY for name in self.names)

    def wants(self, member: str) -> bool:
        """Return whether a member may be a sidecar that is carried over."""
        extension = sample_extension(member)
        return bool(extension) and any(extension in _extensions(name) for name in self.names)

    def extensions(self) -> Iterator[str]:
        """Yield the extensions that sidecars may have, each once."""
        yield from dict.fromkeys(extension for name in self.names for extension in _extensions(name))

    def of_sample(self, photo: str, sidecars: Mapping[str, bytes]) -> dict[str, Any]:
        """Return the values of a photo in a sample.

        Args:
            photo: the photo's name.
            sidecars: the other members' contents by extension. What is not there, or is no JSON where it
                should be, is None.
        """
        return {name: _of_sample(name, readable(sample_key(photo)), sidecars) for name in self.names}

    def nothing(self) -> dict[str, Any]:
        """Return the values of what is no photo."""
        return dict.fromkeys(self.names)


NOTHING = Keep()


def parse_keep(text: str) -> Keep:
    """Return what `--keep id,label` asks for.

    Raises:
        ValueError: an empty name, or one twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"{text!r} is no list of different names")
    return Keep(names)


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value of a table or of JSON as what every format can hold."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {readable(str(key)): plain(inner, depth + 1) for key, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    return readable(str(value))


def as_kind(value: Any, kind: str) -> Any:
    """Return a plain value as a column of a kind holds it: in one of text, what is no text is JSON."""
    return value if value is None or kind != "text" or isinstance(value, str) else json_text(value)


def descend(value: Any, path: str) -> Any:
    """Return what lies at a dotted path in dicts, None where nothing does; keys may have dots themselves."""
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return value[path]
    first, dot, rest = path.partition(".")
    return descend(value.get(first), rest) if dot else None


def _extensions(name: str) -> list[str]:
    """Return the extensions that a name may begin with: "json.url" may mean a.json, or a file a.json.url."""
    if name == KEY:
        return []
    parts = name.split(".")
    whole = [".".join(parts[: count + 1]) for count, part in enumerate(parts[:-1]) if part.lower() == "json"]
    return [extension.lower() for extension in (*whole, name)]


def _of_sample(name: str, key: str, sidecars: Mapping[str, bytes]) -> Any:
    if name == KEY:
        return key
    for extension in _extensions(name):
        if extension in sidecars:
            text = sidecars[extension].decode("utf-8", "replace").removeprefix("\ufeff").strip()
            if not extension.endswith("json"):
                return readable(text)
            value = _parsed(text)
            return plain(value if len(extension) == len(name) else descend(value, name[len(extension) + 1 :]))
    return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
