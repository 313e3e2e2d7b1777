"""Folders for the parts of results that are not complete: on the disk, or behind a URL."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, cast

from dctafd.batch.remote_files import RemoteFile
from dctafd.batch.shown_urls import shown
from dctafd.batch.store_writing import copy, put_bytes, remove, uploaded
from dctafd.batch.stores import find
from dctafd.files import sync

_JOINED = "joined"


def partial_path(output: Path) -> Path:
    """Return where the unfinished results of `output` are."""
    return output.with_name(output.name + ".partial")


def partial_url(output: str) -> str:
    """Return the folder of the unfinished results of an output behind a URL."""
    return f"{output}.partial"


class PartsFolder(Protocol):
    """Where parts are kept until they are joined. As text, it is a name for messages."""

    def names(self) -> set[str]:
        """Return the names of the parts."""

    def write(self, name: str, data: bytes) -> None:
        """Write a part, whole or not at all, so that it survives what comes."""

    def open(self, name: str) -> IO[bytes]:
        """Open a part for reading."""

    def remove(self, name: str) -> None:
        """Remove a part."""

    def adopt_output(self, name: str) -> None:
        """Make the output that is in its place a part."""

    def deliver(self, write: Callable[[IO[bytes]], None]) -> None:
        """Write the joined file, to be put in its place."""


class LocalFolder:
    """``OUT.partial`` beside an output on the disk.

    Args:
        output: the file's final place.
    """

    def __init__(self, output: Path) -> None:
        self._output, self._path = output, partial_path(output)
        self._path.mkdir(exist_ok=True)

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> set[str]:
        """Return the names of the parts."""
        return {path.name for path in self._path.iterdir()}

    def write(self, name: str, data: bytes) -> None:
        """Write a part; what a kill leaves of one is not in the manifest, and is removed."""
        with (self._path / name).open("wb") as file:
            file.write(data)
            sync(file)

    def open(self, name: str) -> IO[bytes]:
        """Open a part for reading."""
        return (self._path / name).open("rb")

    def remove(self, name: str) -> None:
        """Remove a part."""
        (self._path / name).unlink()

    def adopt_output(self, name: str) -> None:
        """Make the output that is in its place a part; it is replaced later, never written to."""
        target = self._path / name
        target.unlink(missing_ok=True)
        try:
            os.link(self._output, target)
        except OSError:
            shutil.copyfile(self._output, target)

    def deliver(self, write: Callable[[IO[bytes]], None]) -> None:
        """Write the joined file; `publish` puts it in its place."""
        with (self._path / _JOINED).open("wb") as file:
            write(file)
            sync(file)


class StoreFolder:
    """``OUT.partial/`` beside an output behind a URL.

    Args:
        output: the file's final place.
    """

    def __init__(self, output: str) -> None:
        self._output, self._url = output, partial_url(output)

    def __str__(self) -> str:
        return shown(self._url)

    def names(self) -> set[str]:
        """Return the names of the parts."""
        try:
            return {name.rpartition("/")[2] for name, _ in find(self._url)}
        except FileNotFoundError:
            return set()

    def write(self, name: str, data: bytes) -> None:
        """Write a part."""
        put_bytes(f"{self._url}/{name}", data)

    def open(self, name: str) -> IO[bytes]:
        """Open a part for reading."""
        return cast(IO[bytes], io.BufferedReader(_Raw(RemoteFile(f"{self._url}/{name}")), 2**20))

    def remove(self, name: str) -> None:
        """Remove a part."""
        remove(f"{self._url}/{name}")

    def adopt_output(self, name: str) -> None:
        """Copy the output that is in its place; the store does it by itself where it can."""
        copy(self._output, f"{self._url}/{name}")

    def deliver(self, write: Callable[[IO[bytes]], None]) -> None:
        """Join the parts in a temporary file on this machine, and put that in its place at once."""
        with uploaded(self._output, binary=True) as file:
            write(file)


class _Raw(io.RawIOBase):
    """A remote file as Python's own classes want it."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)


def sealed_path(output: Path) -> Path:
    """Return the file that `publish` is going to put in its place."""
    partial = partial_path(output)
    return partial / _JOINED if partial.is_dir() else partial


def publish(output: Path) -> None:
    """Put sealed results in their final place; does what is left to do where an earlier call was cut off."""
    partial = partial_path(output)
    if partial.is_dir():
        if (joined := partial / _JOINED).exists():
            os.replace(joined, output)
        shutil.rmtree(partial)
    elif partial.exists():
        os.replace(partial, output)
