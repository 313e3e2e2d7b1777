"""Networks that run an exported graph on a CPU, without PyTorch."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dctafd.inference.block_sums import FirstLayer
from dctafd.inference.network import Answer, Network, parallel_batches

_FIRST_LAYER = "first_layer.npy"
#: Photos that go through a graph together. What the layers of more of them make falls out of the caches.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Graph:
    """A network that was exported for one runtime.

    Attributes:
        path: of the file, "graph.xml" (OpenVINO, with "graph.bin" beside it) or "graph.onnx".
        weights_digest: SHA-256 over the weights that were exported.
        corrects: whether there is an AFD-Module in it; FDE-Net's first layer is then in a file beside it.
        reads_surviving: of the module.
    """

    path: Path
    weights_digest: str
    corrects: bool
    reads_surviving: bool = True

    @property
    def first_layer(self) -> Path:
        """The file of FDE-Net's first layer."""
        return self.path.with_name(_FIRST_LAYER)

    def inputs(self, arrays: Sequence[NDArray[Any]], first_layer: FirstLayer | None) -> list[NDArray[Any]]:
        """Return what the graph reads of the arrays of `stack_inputs`, its first layer's sums among it."""
        if first_layer is None:
            return [arrays[0]]
        pixels, coefficients, steps, survival, *rest = arrays
        return [pixels, *first_layer.sums(coefficients, steps, survival), steps, survival, *rest]

    def load_first_layer(self) -> FirstLayer | None:
        """Read FDE-Net's first layer; None without an AFD-Module."""
        return FirstLayer.load(self.first_layer, self.reads_surviving) if self.corrects else None


def open_graph(graph: Graph, runtime: str, dtype: str) -> Network:
    """Load a graph into its runtime.

    Raises:
        ImportError: the runtime is not (rightly) installed.
        RuntimeError: it cannot read the graph.
    """
    if runtime == "openvino":
        return OpenVINONetwork(graph, dtype)
    return ONNXRuntimeNetwork(graph)


class _GraphNetwork:
    """What networks of both runtimes have in common."""

    device = "cpu"

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.dtype = dtype
        self._graph = graph
        self._first_layer = graph.load_first_layer()
        self._cores = _usable_cpus()
        self._compiled_for: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def use_cores(self, cores: int) -> None:
        """Share so many cores among the batches that run side by side."""
        self._cores = cores

    def side_by_side(self, jobs: int) -> int:
        """Compile for `jobs` threads that prepare photos; return how many batches to run at a time."""
        parallel = min(parallel_batches(jobs), self._cores)
        with self._lock:
            if self._compiled_for != (self._cores, parallel):
                self._compile(self._cores, parallel)
                self._compiled_for = self._cores, parallel
        return parallel

    def _compile(self, cores: int, parallel: int) -> None:
        raise NotImplementedError

    def run(self, inputs: Sequence[NDArray[Any]]) -> Answer:
        """Answer for one batch, the arrays of `stack_inputs`; thread-safe."""
        if self._compiled_for is None:
            self.side_by_side(1)
        parts = []
        for start in range(0, len(inputs[0]), _AT_ONCE):
            some = [array[start : start + _AT_ONCE] for array in inputs]
            parts.append(self._run(self._graph.inputs(some, self._first_layer)))
        logits, *drift = map(np.concatenate, zip(*parts, strict=True))
        return Answer(logits, drift[0] if drift else None)

    def _run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def digest(self) -> str:
        """Return a SHA-256 over the weights."""
        return self._graph.weights_digest


class OpenVINONetwork(_GraphNetwork):
    """A graph in OpenVINO: a stream for each batch that runs beside others.

    Args:
        graph: exported for OpenVINO.
        dtype: "float32" or "bfloat16".
    """

    runtime = "openvino"

    def __init__(self, graph: Graph, dtype: str = "float32") -> None:
        import openvino

        super().__init__(graph, dtype)
        self._core = openvino.Core()
        self._model = self._core.read_model(graph.path)
        self._local = threading.local()
        self._compiled: Any = None

    def _compile(self, cores: int, parallel: int) -> None:
        options = {
            # Left to itself OpenVINO takes bfloat16 where the CPU has it.
            "INFERENCE_PRECISION_HINT": "bf16" if self.dtype == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": parallel,
            "ENABLE_CPU_PINNING": False,  # the threads that prepare photos want the cores, too
        }
        self._compiled = self._core.compile_model(self._model, "CPU", options)
        self._local = threading.local()

    def _run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        answers = request.infer(list(inputs), share_inputs=True)
        return [np.array(answers[index]) for index in range(len(answers))]


class ONNXRuntimeNetwork(_GraphNetwork):
    """A graph in ONNX Runtime; batches side by side share its threads.

    Args:
        graph: exported as ONNX.
    """

    runtime = "onnxruntime"

    def __init__(self, graph: Graph) -> None:
        import onnxruntime

        super().__init__(graph, "float32")
        self._library = onnxruntime
        self._session: Any = None

    def _compile(self, cores: int, parallel: int) -> None:
        options = self._library.SessionOptions()
        options.intra_op_num_threads = max(1, cores // parallel)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = self._library.InferenceSession(
            str(self._graph.path), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        names = [entry.name for entry in self._session.get_inputs()]
        return list(self._session.run(None, dict(zip(names, inputs, strict=True))))


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
