"""The run manifest beside an output: what the run is, how far it has come, what it adds up to.

``OUT.run.json`` proves that an interrupted run and the one that continues it have the same inputs, model and
options. It is replaced as a whole at each checkpoint, after the results up to there have reached the disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dctafd
from dctafd.errors import ResumeError
from dctafd.files import atomic_output
from dctafd.inference.stream import Position

_EXPLANATION = {
    "version": "another version of dctafd",
    "inputs": "other inputs, or inputs that have changed since",
    "model": "another model",
    "model_digest": "other weights",
    "options": "other options",
}


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
    """Return where the manifest of `output` is."""
    return output.with_name(output.name + ".run.json")


def load_manifest(output: Path, identity: Identity) -> Manifest | None:
    """Read the manifest beside `output`, None if there is none.

    Raises:
        ResumeError: it is of a run with other inputs, another model or other options, or it is damaged.
    """
    path = manifest_path(output)
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text("utf-8"))
        manifest = Manifest(
            Identity(**record["identity"]),
            Position(**record["position"]),
            {key: int(value) for key, value in record["written"].items()},
            record["summary"],
            bool(record["complete"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResumeError(f"{path} is damaged ({error!r}): delete it to start again") from error
    found, wanted = asdict(manifest.identity), asdict(identity)
    differences = [text for key, text in _EXPLANATION.items() if found[key] != wanted[key]]
    if differences:
        raise ResumeError(
            f"{path} is of a run with {', '.join(differences)}: choose another -o, or delete it"
        )
    return manifest
