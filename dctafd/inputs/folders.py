"""The one way to look for photos in a folder, for every command: in a fixed order, and nothing ends it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dctafd.inputs.file_names import is_jpeg_name, natural_key
from dctafd.inputs.source_items import Skipped


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is named like a photo, or what is wrong with one, or with a folder.

    Attributes:
        path: the file's or the folder's, or a URL.
        error: why it cannot be read, as far as that is known without opening it.
        size: bytes, where that is known already.
        version: of a URL, what tells this content from another (an ETag), "" where nothing does.
    """

    path: str
    error: Exception | None = None
    size: int | None = None
    version: str = ""


def walk_photos(
    directory: str | os.PathLike[str],
    skipped: Skipped | None = None,
    wanted: Callable[[str], bool] = is_jpeg_name,
) -> Iterator[Found]:
    """Yield the files below a directory that are named like a photo, in natural order.

    One listing of a directory is held at a time and level. Links to files are followed; links to directories
    (which could lead in circles), pipes and devices are not. A folder that cannot be listed and a link that
    leads nowhere or in a circle are yielded with the error.

    Args:
        directory: where to begin; a link to a directory is followed here.
        skipped: counts what is passed over.
        wanted: which names are those of photos.
    """
    skipped = Skipped() if skipped is None else skipped
    stack: list[Iterator[os.DirEntry[str] | str]] = [iter([os.fspath(directory)])]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif isinstance(entry, str):
            try:
                with os.scandir(entry) as entries:  # closed at once: deep trees need no open files
                    ordered: list[os.DirEntry[str]] = sorted(entries, key=_name_key)
                stack.append(iter(ordered))
            except OSError as error:
                yield Found(entry, error)
        else:
            found = _look_at(entry, skipped, wanted)
            if isinstance(found, Found):
                yield found
            elif found is not None:
                stack.append(iter([found]))


def kind_of(path: str) -> int | OSError:
    """Return the type bits (`stat.S_IFMT`) of what is at `path`, links followed, or why there is nothing."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except OSError as error:
        return error
    except ValueError as error:  # a NUL, or half a surrogate pair, in the name
        return OSError(str(error))


def _look_at(entry: os.DirEntry[str], skipped: Skipped, wanted: Callable[[str], bool]) -> Found | str | None:
    """Return a photo, the path of a directory to go into, or None for what was counted in `skipped`."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return entry.path
        regular = entry.is_file(follow_symlinks=False)
    except OSError as refused:  # the folder may be listed, and what is in it not looked at
        return Found(entry.path, refused)
    kind = stat.S_IFREG if regular else kind_of(entry.path)
    error = kind if isinstance(kind, OSError) else None
    if error is None and kind != stat.S_IFREG:
        skipped.not_files += 1
    elif wanted(entry.name):
        return Found(entry.path, error)
    else:
        skipped.count(entry.path)
    return None


def _name_key(entry: os.DirEntry[str]) -> list[tuple[int, int, str]]:
    return natural_key(entry.name)
