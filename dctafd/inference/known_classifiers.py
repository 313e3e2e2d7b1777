"""What a request for a classifier led to the last time, so that it can be answered without PyTorch.

A record names the files that decided (weights, the module, the package's own networks and modules) with their
sizes and times of change. While none of them changes, the same request gives the same graph.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dctafd
from dctafd.config import Preprocessing
from dctafd.files import atomic_output
from dctafd.inference.assembly import ModelFacts
from dctafd.inference.graph_cache import DirectoryCache
from dctafd.inference.graph_networks import Graph

_NETS = Path(dctafd.__file__).parent / "nets"


@dataclass(frozen=True, slots=True)
class KnownClassifier:
    """A classifier whose graph is in the cache.

    Attributes:
        facts, preprocessing: of the classifier.
        graph: what its network runs.
        warnings: what was said when it was loaded, and is said again.
    """

    facts: ModelFacts
    preprocessing: Preprocessing
    graph: Graph
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A classifier that cannot be exported, so that nobody has to try again.

    Attributes:
        reason: why not.
    """

    reason: str


class ClassifierIndex:
    """Records beside a cache of graphs.

    Args:
        root: the cache's directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "classifiers"
        self.graphs = DirectoryCache(root / "graphs")

    def find(self, request: Mapping[str, Any]) -> KnownClassifier | KnownFailure | None:
        """Return what a request led to, None where that is not known or may have changed."""
        try:
            record = json.loads(self._path(request).read_text("utf-8"))
            if record["files"] != _states(path for path, *_ in record["files"]):
                return None
            if "failure" in record:
                return KnownFailure(record["failure"])
            entry = self.graphs.get(record["key"])
            return None if entry is None else _classifier_of(record, entry)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(
        self, request: Mapping[str, Any], key: str, known: KnownClassifier, files: Iterable[Path]
    ) -> None:
        """Note what a request led to.

        Args:
            request: all arguments that decide; JSON values.
            key: of the graph in the cache.
            known: the classifier.
            files: weights that decided, besides the package's own.

        Raises:
            OSError: the cache cannot be written.
        """
        self._write(
            request,
            files,
            {
                "key": key,
                "facts": asdict(known.facts),
                "preprocessing": asdict(known.preprocessing),
                "graph": {
                    "suffix": known.graph.suffix,
                    "weights_digest": known.graph.weights_digest,
                    "quiet_drift": known.graph.quiet_drift,
                    "reads_surviving": known.graph.reads_surviving,
                },
                "warnings": known.warnings,
            },
        )

    def remember_failure(
        self, request: Mapping[str, Any], failure: KnownFailure, files: Iterable[Path]
    ) -> None:
        """Note that what a request leads to cannot be exported; arguments as for `remember`."""
        self._write(request, files, {"failure": failure.reason})

    def _write(self, request: Mapping[str, Any], files: Iterable[Path], record: dict[str, Any]) -> None:
        record["files"] = _states([*map(str, files), *_package_files()])
        self._root.mkdir(parents=True, exist_ok=True)
        with atomic_output(self._path(request)) as file:
            json.dump(record, file)

    def _path(self, request: Mapping[str, Any]) -> Path:
        text = json.dumps([dctafd.__version__, request], sort_keys=True)
        return self._root / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def package_digest() -> str:
    """Return a SHA-256 over the source of networks and graphs, which no version number tells apart."""
    digest = hashlib.sha256(dctafd.__version__.encode())
    for path in _sources():
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources() -> list[Path]:
    """Return the source that decides what a graph is and reads."""
    graphs = Path(__file__).parent
    return [*sorted(_NETS.glob("*.py")), graphs / "block_sums.py", *sorted(graphs.glob("graph_*.py"))]


def _package_files() -> list[str]:
    """Return that source, the modules that ship, and their directory, which tells of new ones."""
    weights = _NETS / "weights"
    return [str(path) for path in (*_sources(), weights, *sorted(weights.glob("*")))]


def _states(paths: Iterable[str]) -> list[list[Any]]:
    states = []
    for path in paths:
        status = os.stat(path)
        states.append([path, status.st_size, status.st_mtime_ns])
    return states


def _classifier_of(record: Mapping[str, Any], entry: Path) -> KnownClassifier:
    facts = record["facts"]
    graph = Graph(entry, **record["graph"])
    return KnownClassifier(
        ModelFacts(**{**facts, "labels": tuple(facts["labels"])}),
        Preprocessing.from_dict(record["preprocessing"]),
        graph,
        tuple(record["warnings"]),
    )
