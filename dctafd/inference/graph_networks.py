"""Networks that run an exported graph on a CPU, without PyTorch."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import DctafdError
from dctafd.inference.block_sums import FirstLayer
from dctafd.inference.network import Answer, Network, parallel_batches
from dctafd.inputs.model_input import Stack, stacked

#: Calls that OpenVINO has at a time from one thread.
_UNDER_WAY = 2

#: Graphs of a corrected classifier; without an AFD-Module there is the first alone.
#: plain: pixels -> logits, uncorrected.
#: fde_net: sums and sizes of `FirstLayer`, steps, survival, scale, primary quality -> FDM, summary.
#: corrected: pixels, FDM, summary -> logits. A module that modulates nothing has no summary.
Part = Literal["plain", "fde_net", "corrected"]


@dataclass(frozen=True, slots=True)
class Graph:
    """A network that was exported for one runtime.

    Attributes:
        directory: of its files, one for each `Part` and one with FDE-Net's first layer.
        suffix: of their names, ".xml" (OpenVINO, with a ".bin" beside each) or ".onnx".
        weights_digest: SHA-256 over the weights that were exported.
        quiet_drift: of the AFD-Module, None without one.
        reads_surviving: of the AFD-Module.
    """

    directory: Path
    suffix: str
    weights_digest: str
    quiet_drift: float | None = None
    reads_surviving: bool = True

    def file(self, part: Part) -> Path:
        """Return the file of one part."""
        return self.directory / f"{part}{self.suffix}"

    @property
    def first_layer(self) -> Path:
        """The file of FDE-Net's first layer."""
        return self.directory / "first_layer.npy"


def open_graph(graph: Graph, runtime: str, dtype: str) -> Network:
    """Load a graph into its runtime.

    Raises:
        ImportError: the runtime is not (rightly) installed.
        RuntimeError: it cannot read the graph.
    """
    if runtime == "openvino":
        return OpenVINONetwork(graph, dtype)
    return ONNXRuntimeNetwork(graph)


#: Part of a graph, and the arrays for one call of it.
_Call = tuple[Part, list[NDArray[Any]]]


class _GraphNetwork:
    """What networks of both runtimes have in common.

    Attributes:
        at_once: photos in a call. What the layers of more of them make falls out of the caches.
    """

    device = "cpu"
    at_once = 4

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.dtype = dtype
        self._graph = graph
        self._first_layer: FirstLayer | None = None
        if graph.quiet_drift is not None:
            self._first_layer = FirstLayer.load(graph.first_layer, graph.reads_surviving)
        self._cores = _usable_cpus()
        self._shared = self._cores, 1
        self._parts: tuple[Part, ...] = ("plain",)
        if self._first_layer is not None:
            self._parts = ("fde_net", "corrected", "plain")
        self._compiled: dict[Part, tuple[tuple[int, int], Any]] = {}
        self._locks = {part: threading.Lock() for part in self._parts}

    def use_cores(self, cores: int) -> None:
        """Share so many cores among the batches that run side by side."""
        self._cores = cores

    def side_by_side(self, jobs: int) -> int:
        """Get ready for `jobs` threads that prepare photos; return how many batches to run at a time."""
        parallel = min(parallel_batches(jobs), self._cores)
        if self._shared != (self._cores, parallel) or not self._compiled:
            self._shared = self._cores, parallel
            if self._cores > 1:  # while the first photo is read
                thread = threading.Thread(target=self._compile_ahead, name="dctafd-compile")
                thread.start()
                _COMPILING.add(thread)
        return parallel

    def run(self, inputs: Sequence[Stack]) -> Answer:
        """Answer for one batch, what `batch_of` or `stack_inputs` returns; thread-safe.

        Photos in which nothing drifted go through the uncorrected network, which says the same in less time.
        """
        pixels = inputs[0]
        if self._first_layer is None:
            return Answer(np.concatenate([*self._answers(self._calls("plain", [pixels]))]), None)
        coefficients = inputs[1]
        steps, survival, *rest = map(stacked, inputs[2:])
        sums = self._first_layer.sums(coefficients, steps, survival)
        fdm, *summary = self._run("fde_net", [*sums, steps, survival, *rest])
        drift = np.ascontiguousarray(fdm[:, 0])
        quiet = drift.mean((1, 2)) <= (self._graph.quiet_drift or 0)
        left_alone, drifted = np.flatnonzero(quiet), np.flatnonzero(~quiet)
        calls = chain(
            self._calls("plain", [pixels], left_alone),
            self._calls("corrected", [pixels, fdm, *summary], drifted),
        )
        order = np.argsort(np.concatenate([left_alone, drifted]))
        return Answer(np.concatenate([*self._answers(calls)])[order], drift)

    def _calls(
        self, part: Part, inputs: Sequence[Stack], photos: NDArray[np.intp] | None = None
    ) -> Iterator[_Call]:
        """Yield what takes the chosen photos of a batch, or all, through a part, a few at once."""
        if photos is None:
            photos = np.arange(len(inputs[0]))
        for start in range(0, len(photos), self.at_once):
            some = photos[start : start + self.at_once]
            yield part, [_taken(stack, some) for stack in inputs]

    def _answers(self, calls: Iterator[_Call]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits (P, classes) of each call."""
        for part, arrays in calls:
            yield self._run(part, arrays)[0]

    def _run(self, part: Part, inputs: Sequence[Any]) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def _compiled_part(self, part: Part) -> Any:
        """Return a part as the runtime has it, compiled when it is first asked for.

        Raises:
            DctafdError: its file has gone or changed since the classifier was loaded.
        """
        with self._locks[part]:
            shared = self._shared
            if part not in self._compiled or self._compiled[part][0] != shared:
                try:
                    self._compiled[part] = shared, self._compile(part, *shared)
                except Exception as error:  # runtimes raise whatever they like
                    what = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
                    raise DctafdError(
                        f"{self._graph.file(part)} cannot be run any more: load the classifier again ({what})"
                    ) from error
            return self._compiled[part][1]

    def _compile_ahead(self) -> None:
        for part in self._parts:
            with suppress(Exception):  # `run` meets it again, and says so
                self._compiled_part(part)

    def _compile(self, part: Part, cores: int, parallel: int) -> Any:
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
    at_once = 2

    def __init__(self, graph: Graph, dtype: str = "float32") -> None:
        import openvino

        super().__init__(graph, dtype)
        self._core = openvino.Core()
        self._models: dict[Part, Any] = {}  # kept: who empties the cache takes nothing from who runs
        self._read(self._parts[0])
        self._local = threading.local()

    def _read(self, part: Part) -> Any:
        if part not in self._models:
            self._models[part] = self._core.read_model(self._graph.file(part))
        return self._models[part]

    def _compile(self, part: Part, cores: int, parallel: int) -> Any:
        options = {
            # Left to itself OpenVINO takes bfloat16 where the CPU has it.
            "INFERENCE_PRECISION_HINT": "bf16" if self.dtype == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": parallel,
            "ENABLE_CPU_PINNING": False,  # the threads that prepare photos want the cores, too
        }
        return self._core.compile_model(self._read(part), "CPU", options)

    def _request(self, part: Part, number: int = 0) -> Any:
        """Return one of this thread's requests for a part."""
        compiled = self._compiled_part(part)
        requests = self._local.__dict__.setdefault("requests", {})
        if (part, number) not in requests or requests[part, number][0] is not compiled:
            requests[part, number] = compiled, compiled.create_infer_request()
        return requests[part, number][1]

    def _run(self, part: Part, inputs: Sequence[Any]) -> list[NDArray[np.float32]]:
        answers = self._request(part).infer(list(inputs), share_inputs=True)
        return [np.array(answers[index]) for index in range(len(answers))]

    def _answers(self, calls: Iterator[_Call]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits of each call; the next is in the queue: OpenVINO need not wait for Python."""
        under_way: deque[tuple[Any, list[NDArray[Any]]]] = deque()  # with the inputs, which are shared
        try:
            for number, (part, arrays) in enumerate(calls):
                if len(under_way) == _UNDER_WAY:
                    yield _logits(under_way.popleft()[0])
                request = self._request(part, number % _UNDER_WAY)
                request.start_async(arrays, share_inputs=True)
                under_way.append((request, arrays))
            while under_way:
                yield _logits(under_way.popleft()[0])
        finally:
            for request, _ in under_way:  # after an error
                with suppress(Exception):
                    request.wait()


def _logits(request: Any) -> NDArray[np.float32]:
    request.wait()
    return np.array(request.get_output_tensor(0).data)


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

    def _compile(self, part: Part, cores: int, parallel: int) -> Any:
        options = self._library.SessionOptions()
        # The threads of one pool help all batches, each of which also has the thread that asked.
        options.intra_op_num_threads = max(1, cores - parallel + 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(self._graph.file(part))
        return self._library.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _run(self, part: Part, inputs: Sequence[Any]) -> list[NDArray[np.float32]]:
        session = self._compiled_part(part)
        names = [entry.name for entry in session.get_inputs()]
        return list(session.run(None, dict(zip(names, inputs, strict=True))))


#: Threads that compile, or did.
_COMPILING: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def _wait_for_compiling() -> None:
    """Let graphs be compiled before a fork: a child would wait for locks that nobody holds there."""
    for thread in list(_COMPILING):
        thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_compiling)


def _taken(stack: Stack, photos: NDArray[np.intp]) -> NDArray[Any]:
    """Return some photos of a stack, a view where they follow one another."""
    if not isinstance(stack, np.ndarray):
        return np.stack([stack[photo] for photo in photos])
    first, last = photos[0], photos[-1] + 1
    return stack[first:last] if last - first == len(photos) else stack[photos]


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
