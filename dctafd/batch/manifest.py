"""The run manifest beside an output: what the run is, how far it has come, what it adds up to.

``OUT.run.json`` proves that an interrupted run and the one that continues it have the same inputs, model and
options. It is replaced as a whole at each checkpoint, after the results up to there have reached their place.
Of a finished run it is kept, hidden, as ``.OUT.run.json``, with a list of its units: --resume then knows that
nothing is left to do, and --extend what there is to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import dctafd
from dctafd.errors import ResumeError
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
        written: what `PartialOutput.checkpoint` returned; of a complete run, the output's size.
        summary: `Summary.to_json()`.
        complete: whether the results are sealed: in their place, or about to be put there.
        units: of a complete run, name and digest of each.
    """

    identity: Identity
    position: Position
    written: Mapping[str, int]
    summary: Mapping[str, Any]
    complete: bool = False
    units: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Return the text of the manifest."""
        return json.dumps(asdict(self), indent=2) + "\n"


def parse_manifest(text: str, name: str) -> Manifest:
    """Read a manifest.

    Args:
        text: what `Manifest.to_json` returned.
        name: where it comes from, for messages.

    Raises:
        ResumeError: it is damaged.
    """
    try:
        record = json.loads(text)
        return Manifest(
            Identity(**record["identity"]),
            _position(record["position"]),
            {key: int(value) for key, value in record["written"].items()},
            record["summary"],
            bool(record["complete"]),
            tuple((str(unit), str(digest)) for unit, digest in record.get("units", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ResumeError(f"{name} is damaged ({error!r}): delete it to start again") from error


def check_identity(found: Identity, wanted: Identity, name: str, *, inputs: bool = True) -> None:
    """See that two runs are the same.

    Args:
        found: the manifest's.
        wanted: this run's.
        name: where the manifest is, for messages.
        inputs: whether they have to be the same, too.

    Raises:
        ResumeError: they are not; it says in what.
    """
    try:
        differences = list(_differences(found if inputs else replace(found, inputs=wanted.inputs), wanted))
    except (TypeError, AttributeError) as error:
        raise ResumeError(f"{name} is damaged ({error!r}): delete it to start again") from error
    if differences:
        raise ResumeError(
            f"{name} is of a run with {'; '.join(differences)}: choose another -o, or delete it"
        )


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
