"""Results that grow beside their final place, survive a kill, and can be cut back to a checkpoint.

On the disk, text grows in one file, ``OUT.partial``. Parquet (a file without its footer could not be read),
and everything behind a URL (an object cannot grow), is a folder of that name with small parts, which are
joined at the end. An output that is extended begins with what it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from dctafd.batch.formats import TextFormat
from dctafd.batch.kept import Kinds
from dctafd.batch.output_folders import PartsFolder, partial_path
from dctafd.batch.parquet import ROW_GROUP, join_parquet, parquet_bytes, parquet_schema
from dctafd.errors import ResumeError
from dctafd.files import sync
from dctafd.inference.results import Result

Opener = Callable[[], IO[bytes]]


class PartialOutput(Protocol):
    """What a run writes to."""

    def write(self, results: Sequence[Result]) -> None:
        """Add results."""

    def checkpoint(self) -> dict[str, int]:
        """Bring everything to where it survives; return what it takes to go on from here."""

    def seal(self) -> None:
        """Complete the results, for their final place."""

    def close(self) -> None:
        """Leave the partial results as they are."""


class PartialText:
    """A text file on the disk that grows.

    Args:
        output: the file's final place.
        text_format: how results are written.
        checkpoint: what `checkpoint` returned in an earlier process, empty to start afresh.
        extends: whether it begins with the output that is in its place.
    """

    def __init__(
        self,
        output: Path,
        text_format: TextFormat[Result],
        checkpoint: Mapping[str, int],
        extends: bool = False,
    ) -> None:
        self._format = text_format
        path = partial_path(output)
        if not checkpoint:
            if extends:
                shutil.copyfile(output, path)
            self._file: IO[bytes] = path.open("ab" if extends else "wb")
            if not extends:
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


class Encoding(Protocol):
    """How parts are made of results, and a file of parts."""

    suffix: str

    def part(self, results: Sequence[Result]) -> bytes:
        """Return some results as a part."""

    def join(self, parts: Iterable[Opener], extends: bool, file: IO[bytes]) -> None:
        """Write the whole of the parts; with `extends`, the first of them is a whole file already."""


class TextParts:
    """Parts of text.

    Args:
        text_format: how results are written.
        suffix: of the parts' names.
    """

    def __init__(self, text_format: TextFormat[Result], suffix: str) -> None:
        self._format, self.suffix = text_format, suffix

    def part(self, results: Sequence[Result]) -> bytes:
        """Return some results as text."""
        return self._format.batch(results).encode("utf-8", "backslashreplace")

    def join(self, parts: Iterable[Opener], extends: bool, file: IO[bytes]) -> None:
        """Write one text after the other."""
        if not extends:
            file.write(self._format.begin().encode())
        for opener in parts:
            with opener() as part:
                shutil.copyfileobj(part, file, 2**20)
        file.write(self._format.end().encode())


class ParquetParts:
    """Small Parquet files.

    Args:
        kinds: name and kind of what is carried over.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    suffix = "parquet"

    def __init__(self, kinds: Kinds = ()) -> None:
        self.kinds = kinds
        parquet_schema(kinds)  # without pyarrow it fails here, not after an hour

    def part(self, results: Sequence[Result]) -> bytes:
        """Return some results as a Parquet file with one row group."""
        return parquet_bytes([result.to_record() for result in results], self.kinds)

    def join(self, parts: Iterable[Opener], extends: bool, file: IO[bytes]) -> None:
        """Join the row groups, each of `ROW_GROUP` rows whatever the checkpoints were."""
        join_parquet(parts, file, self.kinds)


class PartialParts:
    """A folder of parts, joined at the end.

    Args:
        folder: where they are.
        encoding: how they are made.
        checkpoint: what `checkpoint` returned in an earlier process, empty to start afresh.
        extends: whether it begins with the output that is in its place.
    """

    def __init__(
        self, folder: PartsFolder, encoding: Encoding, checkpoint: Mapping[str, int], extends: bool = False
    ) -> None:
        self._folder, self._encoding, self._extends = folder, encoding, extends
        self._results: list[Result] = []
        self._parts = checkpoint.get("parts", 0)
        there = folder.names()
        kept = {self._name(number) for number in range(self._parts)}
        if missing := sorted(kept - there):
            raise ResumeError(f"{folder}/{missing[0]} is missing: delete {folder} to start again")
        for name in there - kept:
            folder.remove(name)
        if extends and not self._parts:
            folder.adopt_output(self._name(0))
            self._parts = 1

    def _name(self, number: int) -> str:
        return f"{number:06d}.{self._encoding.suffix}"

    def write(self, results: Sequence[Result]) -> None:
        """Add results; a full row group goes to its place."""
        self._results.extend(results)
        if len(self._results) >= ROW_GROUP:
            self._write_part()

    def _write_part(self) -> None:
        if self._results:
            self._folder.write(self._name(self._parts), self._encoding.part(self._results))
            self._parts += 1
            self._results.clear()

    def checkpoint(self) -> dict[str, int]:
        """Write what there is and return how many parts there are."""
        self._write_part()
        return {"parts": self._parts}

    def seal(self) -> None:
        """Join the parts."""
        self._write_part()
        names = [self._name(number) for number in range(self._parts)]
        openers = [lambda name=name: self._folder.open(name) for name in names]
        self._folder.deliver(lambda file: self._encoding.join(openers, self._extends, file))

    def close(self) -> None:
        """Leave the parts as they are; results since the last checkpoint are done again."""
