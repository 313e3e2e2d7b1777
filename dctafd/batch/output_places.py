"""Where a run's output lies with what is known of the run: on the disk, or behind a URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from dctafd.batch.formats import TextFormat
from dctafd.batch.output_folders import (
    LocalFolder,
    StoreFolder,
    partial_path,
    partial_url,
    publish,
    sealed_path,
)
from dctafd.batch.output_lock import only_writer
from dctafd.batch.partial_output import Encoding, PartialOutput, PartialParts, PartialText, TextParts
from dctafd.batch.remote_files import read_whole
from dctafd.batch.shown_urls import shown
from dctafd.batch.store_writing import OutputUrl, copy, put_bytes, remove
from dctafd.batch.stores import describe, find
from dctafd.errors import ResumeError
from dctafd.files import atomic_output
from dctafd.inference.results import Result

_MAX_MANIFEST_BYTES = 2**30
_SLOWER = 10.0


def manifest_path(output: Path) -> Path:
    """Return where the manifest of `output` is while it is written."""
    return output.with_name(output.name + ".run.json")


def finished_path(output: Path) -> Path:
    """Return where the manifest of a finished `output` is: out of the way, yet there for another --resume."""
    return output.with_name(f".{output.name}.run.json")


class OutputPlace(Protocol):
    """An output's place. As text, it is a name for messages."""

    @property
    def manifest(self) -> str:
        """Name of the running manifest, for messages."""

    @property
    def partial(self) -> str:
        """Name of the unfinished results, for messages."""

    def only_writer(self) -> AbstractContextManager[None]:
        """Hold the output while this process writes it.

        Raises:
            ResumeError: another process does.
        """

    def size(self) -> int | None:
        """Return the size of the output that is in its place, None where there is none."""

    def sealed_size(self) -> int:
        """Return the size of the output that is sealed, whether it is in its place or about to be."""

    def pause(self, usual: float) -> float:
        """Return the seconds between checkpoints, where a file on the disk takes `usual`."""

    def has_partial(self) -> bool:
        """Return whether there are unfinished results."""

    def running(self) -> str | None:
        """Return the manifest of a run under way, or of one whose output has just been put in its place."""

    def finished(self) -> str | None:
        """Return the manifest of a finished run."""

    def save(self, manifest: str) -> None:
        """Replace the running manifest."""

    def keep_finished(self) -> None:
        """Put the manifest of an output that is in its place out of the way."""

    def forget(self, finished: bool = True) -> None:
        """Remove what is known of a run under way, and with `finished` of earlier ones."""

    def open_text(
        self, layout: TextFormat[Result], suffix: str, written: Mapping[str, int], extends: bool
    ) -> PartialOutput:
        """Open unfinished results that are text."""

    def open_parts(self, encoding: Encoding, written: Mapping[str, int], extends: bool) -> PartialOutput:
        """Open unfinished results that are parts."""

    def publish(self) -> None:
        """Put sealed results in their place; does what is left to do where an earlier call was cut off."""


class LocalPlace:
    """An output on the disk.

    Args:
        output: the file.
    """

    def __init__(self, output: Path) -> None:
        self._output = output

    def __str__(self) -> str:
        return str(self._output)

    @property
    def manifest(self) -> str:
        """Name of the running manifest."""
        return str(manifest_path(self._output))

    @property
    def partial(self) -> str:
        """Name of the unfinished results."""
        return str(partial_path(self._output))

    def only_writer(self) -> AbstractContextManager[None]:
        """Hold ``OUT.lock``."""
        return only_writer(self._output)

    def size(self) -> int | None:
        """Return the output's size."""
        return self._output.stat().st_size if self._output.exists() else None

    def sealed_size(self) -> int:
        """Return the size of what `publish` is going to put in its place."""
        return sealed_path(self._output).stat().st_size

    def pause(self, usual: float) -> float:
        """Return `usual`."""
        return usual

    def has_partial(self) -> bool:
        """Return whether ``OUT.partial`` is there."""
        return partial_path(self._output).exists()

    def running(self) -> str | None:
        """Return what ``OUT.run.json`` holds."""
        return _text(manifest_path(self._output))

    def finished(self) -> str | None:
        """Return what ``.OUT.run.json`` holds."""
        return _text(finished_path(self._output))

    def save(self, manifest: str) -> None:
        """Replace ``OUT.run.json``."""
        with atomic_output(manifest_path(self._output)) as file:
            file.write(manifest)

    def keep_finished(self) -> None:
        """Rename ``OUT.run.json`` to ``.OUT.run.json``."""
        if manifest_path(self._output).exists():
            os.replace(manifest_path(self._output), finished_path(self._output))

    def forget(self, finished: bool = True) -> None:
        """Remove the manifests."""
        manifest_path(self._output).unlink(missing_ok=True)
        if finished:
            finished_path(self._output).unlink(missing_ok=True)

    def open_text(
        self, layout: TextFormat[Result], suffix: str, written: Mapping[str, int], extends: bool
    ) -> PartialOutput:
        """Open the growing file."""
        return PartialText(self._output, layout, written, extends)

    def open_parts(self, encoding: Encoding, written: Mapping[str, int], extends: bool) -> PartialOutput:
        """Open the folder of parts."""
        return PartialParts(LocalFolder(self._output), encoding, written, extends)

    def publish(self) -> None:
        """Rename the finished file."""
        publish(self._output)


def _text(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


class StorePlace:
    """An output behind a URL, with its manifest and its parts beside it.

    A store has no locks: a second run that writes the same output is noticed at the next checkpoint, by the
    manifest that is not the one that was written last.

    Args:
        output: the URL.
    """

    def __init__(self, output: OutputUrl) -> None:
        self._url, self._text = output.url, str(output)
        folder, slash, name = output.url.rpartition("/")
        self._manifest, self._finished = f"{output.url}.run.json", f"{folder}{slash}.{name}.run.json"
        self._last: str | None = None

    def __str__(self) -> str:
        return self._text

    @property
    def manifest(self) -> str:
        """Name of the running manifest."""
        return shown(self._manifest)

    @property
    def partial(self) -> str:
        """Name of the unfinished results."""
        return shown(partial_url(self._url))

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Do nothing: see above."""
        yield

    def size(self) -> int | None:
        """Return the output's size."""
        try:
            return describe(self._url).size
        except FileNotFoundError:
            return None

    def sealed_size(self) -> int:
        """Return the output's size: sealed, it is in its place."""
        return self.size() or 0

    def pause(self, usual: float) -> float:
        """Return more than `usual`: each checkpoint is a part and a manifest that are sent."""
        return usual * _SLOWER

    def has_partial(self) -> bool:
        """Return whether there are parts."""
        try:
            return next(find(partial_url(self._url)), None) is not None
        except FileNotFoundError:
            return False

    def running(self) -> str | None:
        """Return what ``OUT.run.json`` holds."""
        return _remote_text(self._manifest)

    def finished(self) -> str | None:
        """Return what ``.OUT.run.json`` holds."""
        return _remote_text(self._finished)

    def save(self, manifest: str) -> None:
        """Replace ``OUT.run.json``.

        Raises:
            ResumeError: it is not what was written last.
        """
        if self._last is not None and self.running() != self._last:
            raise ResumeError(f"another run is writing {self}: choose another -o")
        put_bytes(self._manifest, manifest.encode())
        self._last = manifest

    def keep_finished(self) -> None:
        """Move ``OUT.run.json`` to ``.OUT.run.json``."""
        if self.running() is not None:
            copy(self._manifest, self._finished)
            remove(self._manifest)

    def forget(self, finished: bool = True) -> None:
        """Remove the manifests."""
        remove(self._manifest)
        if finished:
            remove(self._finished)

    def open_text(
        self, layout: TextFormat[Result], suffix: str, written: Mapping[str, int], extends: bool
    ) -> PartialOutput:
        """Open the folder of parts."""
        return self.open_parts(TextParts(layout, suffix), written, extends)

    def open_parts(self, encoding: Encoding, written: Mapping[str, int], extends: bool) -> PartialOutput:
        """Open the folder of parts."""
        return PartialParts(StoreFolder(self._url), encoding, written, extends)

    def publish(self) -> None:
        """Remove the parts: the joined file was put in its place when it was sealed."""
        remove(partial_url(self._url), folder=True)


def _remote_text(url: str) -> str | None:
    try:
        return read_whole(url, _MAX_MANIFEST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
