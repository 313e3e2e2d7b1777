"""What file names say: JPEG or archive, their order, as text, and the patterns that stand for several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dctafd.errors import LimitExceededError

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".zip")
TABLE_SUFFIXES = (".parquet",)
SIDECAR_SUFFIXES = (".json", ".cls", ".txt")
MAX_BRACE_NAMES = 1_000_000
_MAX_BRACES = 100

_BRACES = re.compile(r"\{(?:(\d{1,9})\.\.(\d{1,9})|([^{},]*(?:,[^{},]*)+))\}")


def is_jpeg_name(name: str) -> bool:
    """Return whether a file is named like a JPEG."""
    return name.lower().endswith(JPEG_SUFFIXES)


def is_archive(name: str) -> bool:
    """Return whether a file is named like an archive that can be read."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def is_table(name: str) -> bool:
    """Return whether a file is named like a table that can be read."""
    return name.lower().endswith(TABLE_SUFFIXES)


def is_sidecar(name: str) -> bool:
    """Return whether a member is named like what WebDataset shards have beside a photo."""
    return name.lower().endswith(SIDECAR_SUFFIXES)


def sample_key(name: str) -> str:
    """Return what the members of a WebDataset sample share: the name up to the first dot after its folder."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def sample_extension(name: str) -> str:
    """Return what tells the members of a WebDataset sample apart: what follows that dot, in lower case."""
    return name.rpartition("/")[2].partition(".")[2].lower()


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key by which "photo2" comes before "photo10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if i % 2 else (1, 0, part) for i, part in enumerate(parts)]


def has_braces(pattern: str) -> bool:
    """Return whether there is anything in `pattern` that `expand_braces` would replace."""
    return _BRACES.search(pattern) is not None


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names of a WebDataset brace pattern: "a{08..10}{x,y}" gives a08x, a08y, a09x ...

    Raises:
        LimitExceededError: more than `MAX_BRACE_NAMES` names, or a pattern out of all proportion.
    """
    if pattern.count("{") > _MAX_BRACES:
        raise LimitExceededError(f"more than {_MAX_BRACES} braces in one pattern")
    count = 1
    for first, last, alternatives in _BRACES.findall(pattern):
        count *= alternatives.count(",") + 1 if alternatives else max(int(last) - int(first) + 1, 0)
    if count > MAX_BRACE_NAMES:
        raise LimitExceededError(f"{pattern!r} stands for {count} names, more than {MAX_BRACE_NAMES}")
    yield from _brace_names(pattern)


def _brace_names(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    first, last, alternatives = match.groups()
    if alternatives is None:
        middle: Iterable[str] = (f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1))
    else:
        middle = alternatives.split(",")
    for text in middle:
        for rest in _brace_names(pattern[match.end() :]):
            yield pattern[: match.start()] + text + rest
