"""The run manifest beside an output: what the run is, how far it has come, what it adds up to.

``OUT.run.json`` proves that an interrupted run and the one that continues it have the same inputs, model and
options. It is replaced as a whole at each checkpoint, after the results up to there have reached the disk. Of
a finished run it is kept, hidden, as ``.OUT.run.json``: --resume then knows that nothing is left to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dctafd
from dctafd.errors import ResumeError
from dctafd.files import atomic_output
from dctafd.inference.stream import Position
from dctafd.inputs.source_items import Bookmark, Skipped


@dataclass(frozen=True, slots=True)
class Identity:
    """What has to be the same for two runs to give the same results.

    Attributes:
        inputs: `Plan.fingerprint`.
        model: the model's name.
        model_digest: `Classifier.digest`.
        options: what else decides about the results: format, top_k, batch_size, device ...
        version: dctafd's.
    """

    inputs: str
    model: str
    model_digest: str
    options: Mapping[str, str | int]
    version: str = dctafd.__version__


@dataclass(frozen=True, slots=True)
class Manifest:
    """One checkpoint of a run.

    Attributes:
        identity: what the run is.
        position: the next input to be done.
        written: what `PartialOutput.checkpoint` returned.
        summary: `Summary.to_json()`.
        complete: whether the output is in its place.
    """

    identity: Identity
    position: Position
    written: Mapping[str, int]
    summary: Mapping[str, Any]
    complete: bool = False

    def save(self, output: Path) -> None:
        """Replace the manifest beside `output`."""
        with atomic_output(manifest_path(output)) as file:
            json.dump(asdict(self), file, indent=2)
            file.write("\n")


def manifest_path(output: Path) -> Path:
    """Return where the manifest of `output` is while it is written."""
    return output.with_name(output.name + ".run.json")


def finished_path(output: Path) -> Path:
    """Return where the manifest of a finished `output` is: out of the way, yet there for another --resume."""
    return output.with_name(f".{output.name}.run.json")


def keep_finished(output: Path) -> None:
    """Put the manifest of an output that is in its place out of the way."""
    if manifest_path(output).exists():
        os.replace(manifest_path(output), finished_path(output))


def forget(output: Path) -> None:
    """Remove what is known of earlier runs."""
    manifest_path(output).unlink(missing_ok=True)
    finished_path(output).unlink(missing_ok=True)


def load_manifest(output: Path, identity: Identity) -> Manifest | None:
    """Read the manifest beside `output`, of a run under way or finished; None if there is none.

    Raises:
        ResumeError: it is of a run with other inputs, another model or other options, or it is damaged.
    """
    path = manifest_path(output)
    if not path.exists():
        path = finished_path(output)
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text("utf-8"))
        manifest = Manifest(
            Identity(**record["identity"]),
            _position(record["position"]),
            {key: int(value) for key, value in record["written"].items()},
            record["summary"],
            bool(record["complete"]),
        )
        differences = list(_differences(manifest.identity, identity))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResumeError(f"{path} is damaged ({error!r}): delete it to start again") from error
    if differences:
        raise ResumeError(
            f"{path} is of a run with {'; '.join(differences)}: choose another -o, or delete it"
        )
    return manifest


def _position(record: Mapping[str, Any]) -> Position:
    bookmark = record["bookmark"]
    if bookmark is not None:
        bookmark = Bookmark(bookmark["offset"], Skipped(**bookmark["skipped"]))
    return Position(record["unit"], record["item"], bookmark)


def _differences(found: Identity, wanted: Identity) -> Iterator[str]:
    """Say what a run has that this one has not."""
    if found.version != wanted.version:
        yield f"dctafd {found.version} (now {wanted.version})"
    if found.inputs != wanted.inputs:
        yield "other inputs, or inputs that have changed since"
    if found.model != wanted.model:
        yield f"another model: {found.model} (now {wanted.model})"
    elif found.model_digest != wanted.model_digest:
        yield "other weights, of the model or of its correction, or another --dtype"
    keys = dict.fromkeys((*wanted.options, *found.options))
    if changed := [key for key in keys if found.options.get(key) != wanted.options.get(key)]:
        options = (
            f"--{key.replace('_', '-')} {found.options.get(key)} (now {wanted.options.get(key)})"
            for key in changed
        )
        yield f"other options: {', '.join(options)}"
