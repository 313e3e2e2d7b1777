"""Output files that grow beside their final place, survive a kill, and can be cut back to a checkpoint.

``OUT.partial`` holds what is done so far: the file itself for text, a directory of small Parquet files for
Parquet (a Parquet file without its footer could not be read). `publish` puts ``OUT`` in its place at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from dctafd.batch.formats import TextFormat
from dctafd.batch.parquet import ROW_GROUP, join_parquet, parquet_schema, write_parquet
from dctafd.errors import ResumeError
from dctafd.files import sync
from dctafd.inference.results import Result

_JOINED = "joined"


def partial_path(output: Path) -> Path:
    """Return where the unfinished results of `output` are."""
    return output.with_name(output.name + ".partial")


class PartialOutput(Protocol):
    """What a run writes to."""

    def write(self, results: Sequence[Result]) -> None:
        """Add results."""

    def checkpoint(self) -> dict[str, int]:
        """Bring everything to the disk; return what `open_partial` needs to go on from here."""

    def seal(self) -> None:
        """Complete what is on the disk, for `publish`."""

    def close(self) -> None:
        """Leave the partial results as they are."""


def publish(output: Path) -> None:
    """Put sealed results in their final place; does what is left to do where an earlier call was cut off."""
    partial = partial_path(output)
    if partial.is_dir():
        if (joined := partial / _JOINED).exists():
            os.replace(joined, output)
        shutil.rmtree(partial)
    elif partial.exists():
        os.replace(partial, output)


class PartialText:
    """A text file that grows.

    Args:
        output: the file's final place.
        text_format: how results are written.
        checkpoint: what `checkpoint` returned in an earlier process, empty to start afresh.
    """

    def __init__(self, output: Path, text_format: TextFormat[Result], checkpoint: Mapping[str, int]) -> None:
        self._format = text_format
        path = partial_path(output)
        if not checkpoint:
            self._file: IO[bytes] = path.open("wb")
            self._put(text_format.begin())
            return
        if not path.is_file() or path.stat().st_size < checkpoint["bytes"]:
            raise ResumeError(f"{path} is shorter than its manifest says: delete both to start again")
        self._file = path.open("r+b")
        self._file.truncate(checkpoint["bytes"])
        self._file.seek(0, os.SEEK_END)

    def _put(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "backslashreplace"))

    def write(self, results: Sequence[Result]) -> None:
        """Add results."""
        self._put(self._format.batch(results))

    def checkpoint(self) -> dict[str, int]:
        """Bring everything to the disk and return how many bytes there are."""
        sync(self._file)
        return {"bytes": self._file.tell()}

    def seal(self) -> None:
        """Complete the file."""
        self._put(self._format.end())
        sync(self._file)

    def close(self) -> None:
        """Leave the partial results as they are."""
        self._file.close()


class PartialPair:
    """Results and a second file that grows with them.

    Args:
        results: the first.
        companion: the second; its checkpoints are kept apart by their names.
    """

    _MARK = "companion_"

    def __init__(self, results: PartialOutput, companion: PartialOutput) -> None:
        self._results, self._companion = results, companion

    @classmethod
    def checkpoints(cls, written: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Take apart what `checkpoint` returned: that of the results, and that of the companion."""
        results = {key: value for key, value in written.items() if not key.startswith(cls._MARK)}
        companion = {key.removeprefix(cls._MARK): written[key] for key in written if key not in results}
        return results, companion

    def write(self, results: Sequence[Result]) -> None:
        """Add results to both."""
        self._results.write(results)
        self._companion.write(results)

    def checkpoint(self) -> dict[str, int]:
        """Bring both to the disk."""
        companion = {f"{self._MARK}{key}": value for key, value in self._companion.checkpoint().items()}
        return self._results.checkpoint() | companion

    def seal(self) -> None:
        """Complete both."""
        self._results.seal()
        self._companion.seal()

    def close(self) -> None:
        """Leave both as they are."""
        self._results.close()
        self._companion.close()


class PartialParquet:
    """Row groups in files of their own, joined at the end.

    Args:
        output: the file's final place.
        checkpoint: what `checkpoint` returned in an earlier process, empty to start afresh.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, output: Path, checkpoint: Mapping[str, int]) -> None:
        parquet_schema()  # without pyarrow it fails here, not after an hour
        self._directory = partial_path(output)
        self._rows: list[dict[str, Any]] = []
        self._parts = checkpoint.get("parts", 0)
        self._directory.mkdir(exist_ok=True)
        kept = {self._part(number) for number in range(self._parts)}
        if missing := [path for path in kept if not path.is_file()]:
            raise ResumeError(f"{missing[0]} is missing: delete {self._directory} to start again")
        for path in set(self._directory.iterdir()) - kept:
            path.unlink()

    def _part(self, number: int) -> Path:
        return self._directory / f"{number:06d}.parquet"

    def write(self, results: Sequence[Result]) -> None:
        """Add results; a full row group goes to the disk."""
        self._rows.extend(result.to_record() for result in results)
        if len(self._rows) >= ROW_GROUP:
            self._write_part()

    def _write_part(self) -> None:
        if not self._rows:
            return
        with self._part(self._parts).open("wb") as file:
            write_parquet(self._rows, file)
            sync(file)
        self._parts += 1
        self._rows.clear()

    def checkpoint(self) -> dict[str, int]:
        """Bring everything to the disk and return how many files there are."""
        self._write_part()
        return {"parts": self._parts}

    def seal(self) -> None:
        """Join the row groups, each of `ROW_GROUP` rows whatever the checkpoints were."""
        self._write_part()
        with (self._directory / _JOINED).open("wb") as file:
            join_parquet((self._part(number) for number in range(self._parts)), file)
            sync(file)

    def close(self) -> None:
        """Leave the row groups as they are; rows since the last checkpoint are done again."""
