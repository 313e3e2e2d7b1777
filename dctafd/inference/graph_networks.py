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

from dctafd.inference.network import Answer, Network, parallel_batches
from dctafd_native.magnitudes import LEAST_SURVIVAL, MAGNITUDE_UNIT, log_magnitudes


@dataclass(frozen=True, slots=True)
class Graph:
    """A network that was exported for one runtime.

    Attributes:
        path: of the file, "graph.xml" (OpenVINO, with "graph.bin" beside it) or "graph.onnx".
        inputs: how many of the arrays of `stack_inputs` it takes: 1 without an AFD-Module, else all.
        weights_digest: SHA-256 over the weights that were exported.
        reads_surviving: whether FDE-Net reads magnitudes as they survive the resize, or those of the file.
    """

    path: Path
    inputs: int
    weights_digest: str
    reads_surviving: bool = True


def open_graph(graph: Graph, runtime: str, dtype: str) -> Network:
    """Load a graph into its runtime.

    Raises:
        ImportError: the runtime is not (rightly) installed.
        RuntimeError: it cannot read the graph.
    """
    if runtime == "openvino":
        return OpenVINONetwork(graph, dtype)
    return ONNXRuntimeNetwork(graph)


def graph_inputs(inputs: Sequence[NDArray[np.float32]], reads_surviving: bool) -> list[NDArray[np.float32]]:
    """Return what a graph reads: magnitudes, as `FDENet.forward` makes them first of all, for coefficients.

    OpenVINO's logarithm and what is around it take ten times as long as the kernel.

    Args:
        inputs: the arrays of `stack_inputs`, or the pixels alone.
        reads_surviving: of the module.
    """
    if len(inputs) == 1:
        return list(inputs)
    pixels, coefficients, steps, survival, *rest = inputs
    factors = np.maximum(survival, LEAST_SURVIVAL) if reads_surviving else np.ones_like(survival)
    flat = np.ascontiguousarray(coefficients).reshape(*coefficients.shape[:2], -1)
    magnitudes = np.empty_like(flat)
    log_magnitudes(flat, factors * np.float32(MAGNITUDE_UNIT), np.empty(flat.shape[2], np.int32), magnitudes)
    return [pixels, magnitudes.reshape(coefficients.shape), steps, survival, *rest]


class _GraphNetwork:
    """What networks of both runtimes have in common."""

    device = "cpu"

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.dtype = dtype
        self._graph = graph
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

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> Answer:
        """Answer for one batch, the arrays of `stack_inputs`; thread-safe."""
        if self._compiled_for is None:
            self.side_by_side(1)
        logits, *drift = self._run(graph_inputs(inputs[: self._graph.inputs], self._graph.reads_surviving))
        return Answer(logits, drift[0] if drift else None)

    def _run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
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

    def _run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
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

    def _run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        names = [entry.name for entry in self._session.get_inputs()]
        return list(self._session.run(None, dict(zip(names, inputs, strict=True))))


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
