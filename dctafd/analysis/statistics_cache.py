"""A file that keeps what was measured of each JPEG file, so that a second run reads only what changed."""

from __future__ import annotations

import json
import sqlite3
import zlib
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np

from dctafd.analysis.file_statistics import FileFacts
from dctafd.analysis.frequency_sums import FrequencySums
from dctafd.errors import DctafdError

VERSION = 1
"""Goes up when what is measured changes; a cache of another version starts anew."""
_COMMIT_EVERY = 1000
_CREATE = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, facts TEXT, sums BLOB
) WITHOUT ROWID
"""


class StatisticsCache:
    """An SQLite file with the facts and sums of each file, by path, size and time of modification.

    Args:
        path: the cache, made if missing.

    Raises:
        DctafdError: the file is no cache of ours, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._writes = 0
        try:
            self._connection = sqlite3.connect(path)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                self._connection.execute("DROP TABLE IF EXISTS files")
            self._connection.execute(_CREATE)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            raise DctafdError(f"cannot use {path} as a cache: {error}") from error

    def __enter__(self) -> StatisticsCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.commit()
        self._connection.close()

    def get(self, path: Path) -> tuple[FileFacts, FrequencySums] | None:
        """Return what was measured of a file, or None if it is not known or has changed since."""
        row = self._connection.execute(
            "SELECT size, modified, facts, sums FROM files WHERE path = ?", (_key(path),)
        ).fetchone()
        if row is None or (row[0], row[1]) != _state(path):
            return None
        facts = json.loads(row[2])
        facts["tables"] = tuple(facts["tables"])
        return FileFacts(**facts), _unpack(row[3])

    def put(self, path: Path, facts: FileFacts, sums: FrequencySums) -> None:
        """Keep what was measured of a file."""
        size, modified = _state(path)
        self._connection.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
            (_key(path), size, modified, json.dumps(asdict(facts)), _pack(sums)),
        )
        self._writes += 1
        if self._writes % _COMMIT_EVERY == 0:
            self._connection.commit()


def _key(path: Path) -> str:
    return str(path.resolve()).encode("utf-8", "surrogateescape").decode("latin-1")


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _pack(sums: FrequencySums) -> bytes:
    return zlib.compress(b"".join(array.tobytes() for array in sums.arrays()), level=1)


def _unpack(data: bytes) -> FrequencySums:
    content = zlib.decompress(data)
    arrays = []
    offset = 0
    for template in FrequencySums.empty().arrays():
        part = np.frombuffer(content, template.dtype, template.size, offset)
        arrays.append(part.reshape(template.shape).copy())
        offset += template.nbytes
    return FrequencySums(*arrays)
