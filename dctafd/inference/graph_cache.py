"""Exported graphs on the disk: found by what they were made of, whole or not there, checked before use."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

KEPT_ENTRIES = 32
_SUMS = "sha256.json"


def cache_directory() -> Path:
    """Return where graphs are kept: $DCTAFD_CACHE, else the user's cache directory."""
    chosen = os.environ.get("DCTAFD_CACHE")
    return Path(chosen) if chosen else user_cache_path("dctafd")


class DirectoryCache:
    """Directories of files, each under the SHA-256 of what it was made of.

    Args:
        root: where they are; made if missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> Path | None:
        """Return the directory of `key`, None where there is none; a damaged one is removed."""
        entry = self.root / key
        if not entry.is_dir():
            return None
        if _is_whole(entry):
            with suppress(OSError):
                os.utime(entry)  # for `_forget_oldest`
            return entry
        shutil.rmtree(entry, ignore_errors=True)
        return None

    def get_or_make(self, key: str, make: Callable[[Path], None]) -> Path:
        """Return the directory of `key`, which `make` fills where there is none yet.

        Processes that want the same entry at the same time wait for the first one. What `make` raises is
        passed on, and leaves nothing behind.

        Raises:
            OSError: the directory cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f".{key}.lock"):
            if (entry := self.get(key)) is not None:
                return entry
            partial = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.root))
            try:
                make(partial)
                (partial / _SUMS).write_text(json.dumps(_sums(partial)))
                os.replace(partial, self.root / key)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        self._forget_oldest()
        return self.root / key

    def _forget_oldest(self) -> None:
        """Keep the `KEPT_ENTRIES` entries that were used last."""
        with suppress(OSError):
            entries = [path for path in self.root.iterdir() if path.is_dir() and path.name[0] != "."]
            entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            for path in entries[KEPT_ENTRIES:]:
                shutil.rmtree(path, ignore_errors=True)


def _is_whole(entry: Path) -> bool:
    try:
        expected = json.loads((entry / _SUMS).read_text())
        return bool(expected) and expected == _sums(entry)
    except (OSError, ValueError):
        return False


def _sums(directory: Path) -> dict[str, str]:
    sums = {}
    for path in sorted(directory.iterdir()):
        if path.name != _SUMS:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums
