"""What an evaluation has measured so far, on the disk: a killed one goes on where it stopped.

``FILE.partial`` lies beside the file that is to be written: a line of JSON that says which evaluation it is,
then a line per photo. It is removed when the file is complete.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from dctafd.analysis.photo_scores import MeasuredPhoto
from dctafd.errors import ResumeError

_SECONDS_BETWEEN_SYNCS = 2.0


class Journal:
    """The photos that were measured, in order.

    Args:
        output: the file that the evaluation will write; the journal lies beside it.
        identity: what decides about the result, by the words in which a difference is told.
        resume: go on with what is there.

    Attributes:
        photos: what was measured, now or earlier.

    Raises:
        ResumeError: there is a journal and `resume` was not asked for, or it is another's or damaged.
        OSError: the journal cannot be written.
    """

    def __init__(self, output: Path, identity: Mapping[str, str], resume: bool) -> None:
        self.path = journal_path(output)
        self.photos: list[MeasuredPhoto] = []
        self._identity = dict(identity)
        self._synced = time.monotonic()
        if self.path.exists():
            if not resume:
                raise ResumeError(
                    f"{self.path} is left of an interrupted evaluation: add --resume, or delete it"
                )
            self._file = self._continued()
        else:
            self._file = self.path.open("w+b")
            self._put([self._identity])

    def _continued(self) -> IO[bytes]:
        """Read the whole lines that are there, and cut off what is not one."""
        file = self.path.open("r+b")
        try:
            header, *lines = file.read().split(b"\n")[:-1] or [b""]
            found = json.loads(header or b"null")
            if not isinstance(found, dict):
                raise ValueError("no header")
            if found != self._identity:
                names = [name for name in self._identity if found.get(name) != self._identity[name]]
                raise ResumeError(
                    f"{self.path} is of an evaluation with another {', another '.join(names)}: "
                    "choose another file, or delete it"
                )
            self.photos = [MeasuredPhoto.from_list(json.loads(line)) for line in lines]
            file.truncate(sum(len(line) + 1 for line in (header, *lines)))
            file.seek(0, os.SEEK_END)
        except ResumeError:
            file.close()
            raise
        except (ValueError, TypeError) as error:
            file.close()
            raise ResumeError(f"{self.path} is damaged ({error}): delete it to start again") from error
        return file

    def keep_first(self, count: int) -> None:
        """Forget all photos but the first `count`."""
        if count >= len(self.photos):
            return
        self._file.seek(0)
        for _ in range(count + 1):
            self._file.readline()
        self._file.truncate(self._file.tell())
        del self.photos[count:]

    def add(self, photos: Iterable[MeasuredPhoto]) -> None:
        """Add photos; at the latest after some seconds they have reached the disk."""
        new = list(photos)
        self._put(photo.to_list() for photo in new)
        self.photos += new
        self._file.flush()
        if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _put(self, records: Iterable[object]) -> None:
        for record in records:
            self._file.write(json.dumps(record).encode() + b"\n")

    def close(self) -> None:
        """Leave the journal as it is."""
        self._file.close()

    def remove(self) -> None:
        """Remove it: the file that it was for is complete."""
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


def journal_path(output: Path) -> Path:
    """Return where the journal beside an output is."""
    return output.with_name(output.name + ".partial")
