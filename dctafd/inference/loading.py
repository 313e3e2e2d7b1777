"""Load a classifier by name into a runtime: `load_classifier`."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctafd.config import DEFAULT_MODEL, UNCHANGED, Preprocessing, PreprocessingChanges, Runtime
from dctafd.inference.assembly import ModelFacts
from dctafd.inference.classifier import Classifier
from dctafd.inference.graph_cache import cache_directory
from dctafd.inference.graph_networks import open_graph
from dctafd.inference.known_classifiers import ClassifierIndex, KnownClassifier, KnownFailure, package_digest
from dctafd.inference.runtimes import GRAPH_RUNTIMES, choose_runtime
from dctafd.nets.afd_files import module_beside

if TYPE_CHECKING:
    from dctafd.nets.attach import FrozenClassifier


class RuntimeFallbackWarning(UserWarning):
    """PyTorch runs a network because the runtime that was chosen cannot, or a graph could not be kept."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What a caller asks for."""

    model: str
    weights: str | Path | None
    afd: str | Path
    labels: str | Path | Sequence[str] | None
    changes: PreprocessingChanges

    def load(self) -> _Loaded:
        """Load it into PyTorch, on the CPU; batch norms are folded and the module is re-parameterised."""
        from dctafd.nets.afd_weights import afd_path, select_afd
        from dctafd.nets.attach import attach
        from dctafd.nets.fold import fold_batch_norms
        from dctafd.nets.registry import load_backbone

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            backbone = load_backbone(self.model, self.weights, self.labels, self.changes)
            selected = select_afd(self.afd, backbone)
        folded = fold_batch_norms(backbone.module)
        spec = backbone.spec
        afd = None if selected is None else selected.name
        correction = "uncorrected" if afd is None else f"AFD-Module {afd}"
        description = f"{backbone.weights.name}, {correction}"
        files = [backbone.weights] + ([] if self.afd in ("auto", "off") else [afd_path(self.afd)])
        if isinstance(self.labels, str | Path):
            files.append(Path(self.labels))
        return _Loaded(
            attach(folded, None if selected is None else selected.module.reparameterize()),
            ModelFacts(self.model, backbone.labels, spec.temperature, description, afd),
            spec.preprocessing,
            [path.resolve() for path in files],
            tuple(dict.fromkeys((str(warning.message), warning.category) for warning in caught)),
        )

    def record(self, runtime: str) -> dict[str, Any]:
        """Return what decides, as JSON values."""
        weights = None if self.weights is None else os.path.abspath(self.weights)
        afd = os.path.abspath(self.afd) if Path(self.afd).is_file() else str(self.afd)
        labels = os.path.abspath(self.labels) if isinstance(self.labels, str | Path) else self.labels
        beside = None if weights is None else _state(module_beside(Path(weights)))
        return {
            "model": self.model,
            "weights": weights,
            "afd": afd,
            "beside": beside,  # it may appear, and its name is not among the files that are watched
            "labels": labels if labels is None or isinstance(labels, str) else list(labels),
            "changes": self.changes.to_dict(),
            "runtime": _versioned(runtime),
        }


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A classifier in PyTorch, the files that it came from, and what was said meanwhile."""

    module: FrozenClassifier
    facts: ModelFacts
    preprocessing: Preprocessing
    files: list[Path]
    warnings: tuple[tuple[str, type[Warning]], ...]


def load_classifier(
    model: str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    afd: str | Path = "auto",
    device: str = "auto",
    runtime: str = "auto",
    labels: str | Path | Sequence[str] | None = None,
    *,
    dtype: str = "float32",
    changes: PreprocessingChanges = UNCHANGED,
    min_score: float | None = None,
) -> Classifier:
    """Load a classifier by name, with the AFD-Module that corrects it.

    The first time a runtime other than PyTorch is used, the network is exported for it, which takes some
    seconds; the graph is kept (in $DCTAFD_CACHE or the user's cache directory) and loads without PyTorch
    from then on.

    Args:
        model: a name of `dctafd models`, or any classifier of torchvision.
        weights: a state dict (.safetensors or .pth); None takes the model's own.
        afd: "auto" for the module that was trained for these weights or ones near them, none where there is
            none; "off"; the name of a shipped module, or a weights file.
        device: "auto" (CUDA where there is a device), "cpu", "cuda", "cuda:1" ...
        runtime: "torch", "openvino", "onnxruntime", or "auto": on a CPU the fastest that is installed and
            computes in `dtype`, else PyTorch.
        labels: class names by index, or a file of them; None for those of the weights.
        dtype: "float32", "bfloat16" or "float16".
        changes: what the classifier expects of its pixels where it is not what the model usually expects.
        min_score: results whose best score is below it are `unsure`; None says that of none.

    Warns (`RuntimeFallbackWarning`) where a network cannot be exported and PyTorch runs it.

    Raises:
        WeightsError: weights are missing, damaged, or made for another network.
        MissingExtraError: the runtime is not installed.
        ValueError: an unknown runtime or dtype, or one that the other does not know; `min_score` is no
            probability.

    Example:
        >>> classifier = dctafd.load_classifier("efficientnet_lite0")
        >>> result = classifier.classify("photo.jpg", top_k=3)[0]
        >>> result.quality, len(result.predictions), result.error
        (75, 3, None)
    """
    if min_score is not None and not 0 <= min_score <= 1:
        raise ValueError(f"the least score has to be 0 to 1, not {min_score}")
    chosen = choose_runtime(Runtime(runtime, device, dtype))
    request = _Request(model, weights, afd, labels, changes)
    if chosen.name in GRAPH_RUNTIMES:
        classifier = _load_graph(request, chosen)
    else:
        classifier = _in_torch(_warned(request.load()), chosen)
    classifier.facts = replace(classifier.facts, min_score=min_score)
    return classifier


def _in_torch(loaded: _Loaded, chosen: Runtime) -> Classifier:
    from dctafd.inference.torch_network import TorchNetwork

    network = TorchNetwork(loaded.module, chosen.device, chosen.dtype)
    return Classifier(network, loaded.facts, loaded.preprocessing)


def _load_graph(request: _Request, chosen: Runtime) -> Classifier:
    """Open the graph that is known for a request, or make it; PyTorch takes the place of what fails."""
    index = ClassifierIndex(cache_directory())
    record = request.record(chosen.name)
    known = index.find(record)
    loaded = None
    if known is None:
        loaded = _warned(request.load())
        known = _export(index, record, loaded, chosen)
    elif isinstance(known, KnownClassifier):
        for message in known.warnings:
            warnings.warn(message, UserWarning, stacklevel=3)
    if isinstance(known, KnownClassifier):
        try:
            network = open_graph(known.graph, chosen.name, chosen.dtype)
            return Classifier(network, known.facts, known.preprocessing)
        except (ImportError, RuntimeError) as error:
            known = KnownFailure(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    loaded = loaded or _warned(request.load())
    message = f"{chosen.name} cannot run {request.model}, PyTorch does: {known.reason}"
    warnings.warn(message, RuntimeFallbackWarning, stacklevel=3)
    return _in_torch(loaded, chosen)


def _export(
    index: ClassifierIndex, record: dict[str, Any], loaded: _Loaded, chosen: Runtime
) -> KnownClassifier | KnownFailure:
    """Export a network into the cache, or into a temporary directory where the cache cannot be written."""
    from dctafd.inference.graph_export import ExportError, export_graph, graph_of
    from dctafd.inference.torch_network import weights_digest

    digest = weights_digest(loaded.module)
    decisive = [
        package_digest(),
        record["runtime"],
        digest,
        repr(loaded.module),
        asdict(loaded.preprocessing),
    ]
    key = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    def make(directory: Path) -> None:
        export_graph(loaded.module, loaded.preprocessing, chosen.name, directory, digest)

    def known_in(directory: Path) -> KnownClassifier:
        graph = graph_of(loaded.module, directory, chosen.name, digest)
        said = tuple(message for message, _ in loaded.warnings)
        return KnownClassifier(loaded.facts, loaded.preprocessing, graph, said)

    try:
        known = known_in(index.graphs.get_or_make(key, make))
        if all(path.is_file() for path in loaded.files):  # timm's own weights are none of ours to watch
            index.remember(record, key, known, loaded.files)
        return known
    except ExportError as error:
        failure = KnownFailure(str(error))
        with suppress(OSError):  # it is tried again the next time
            index.remember_failure(record, failure, loaded.files)
        return failure
    except OSError as error:
        message = f"the exported network is not kept: {error} ($DCTAFD_CACHE names another directory)"
        warnings.warn(message, RuntimeFallbackWarning, stacklevel=4)
    directory = Path(tempfile.mkdtemp(prefix="dctafd-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    try:
        make(directory)
    except ExportError as error:
        return KnownFailure(str(error))
    return known_in(directory)


def _warned(loaded: _Loaded) -> _Loaded:
    """Say now what was said while a classifier was loaded."""
    for message, category in loaded.warnings:
        warnings.warn(message, category, stacklevel=4)
    return loaded


def _state(path: Path) -> list[int] | None:
    """Return a file's size and time of change; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _versioned(runtime: str) -> str:
    return f"{runtime} {version(runtime)}"
