"""Networks that run an exported graph on a CPU, without PyTorch."""

from __future__ import annotations

import os
import threading
import weakref
from collections import defaultdict, deque
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
from dctafd.inference.network import FEW, Answer, Network, parallel_batches
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

#: A part as it is compiled: for so many photos in a call, None for any number of them.
_Variant = tuple[Part, int | None]


class _GraphNetwork:
    """What networks of both runtimes have in common.

    Attributes:
        at_once: photos in a call. What the layers of more of them make falls out of the caches.
        fixed: whether the graphs that make logits are compiled for calls of one size.
    """

    device = "cpu"
    at_once = 4
    fixed = False

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.dtype = dtype
        self._graph = graph
        self._first_layer: FirstLayer | None = None
        if graph.quiet_drift is not None:
            self._first_layer = FirstLayer.load(graph.first_layer, graph.reads_surviving)
        self._cores = _usable_cpus()
        self._shared = self._cores, 1
        self._compiled: dict[_Variant, tuple[tuple[int, int], Any]] = {}
        self._locks: defaultdict[_Variant, threading.Lock] = defaultdict(threading.Lock)

    def use_cores(self, cores: int) -> None:
        """Share so many cores among the batches that run side by side."""
        self._cores = cores

    def side_by_side(self, jobs: int) -> int:
        """Get ready for `jobs` threads that prepare photos; return how many batches to run at a time."""
        parallel = min(parallel_batches(jobs), self._cores)
        if self._shared != (self._cores, parallel) or not self._compiled:
            self._shared = self._cores, parallel
            self.get_ready(1)  # more than that is seldom wanted without the graphs for one photo
        return parallel

    def get_ready(self, photos: int) -> None:
        """Compile what a batch of so many photos needs, in threads while the first ones are read."""
        wanted = [each for each in self._variants(photos) if not self._is_compiled(each, self._shared)]
        for plain in (True, False):
            own = [variant for variant in wanted if (variant[0] == "plain") == plain]
            if not own or self._cores == 1:
                continue
            thread = threading.Thread(target=self._compile_ahead, args=(own,), name="dctafd-compile")
            thread.start()
            _COMPILING.add(thread)

    def _variants(self, photos: int) -> Iterator[_Variant]:
        """Yield what a batch of so many photos may need, what is needed first ahead."""
        if self._first_layer is not None:
            yield "fde_net", None
        parts: tuple[Part, ...] = ("plain",) if self._first_layer is None else ("corrected", "plain")
        sizes: tuple[int | None, ...] = (None,)
        if self.fixed:
            sizes = (1,) if photos < FEW else (self.at_once, 1)
        for size in sizes:
            for part in parts:
                yield part, size

    def run(self, inputs: Sequence[Stack]) -> Answer:
        """Answer for one batch, what `batch_of` or `stack_inputs` returns; thread-safe.

        Photos in which nothing drifted go through the uncorrected network, which says the same in less time.
        """
        pixels = inputs[0]
        if self._first_layer is None:
            calls = self._calls("plain", [pixels], np.arange(len(pixels)))
            return Answer(np.concatenate([*self._answers(calls)]), None)
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

    def _calls(self, part: Part, inputs: Sequence[Stack], photos: NDArray[np.intp]) -> Iterator[_Call]:
        """Yield what takes the chosen photos of a batch through a part, a few at once."""
        at_once = 1 if self.fixed and len(inputs[0]) < FEW else self.at_once
        for start in range(0, len(photos), at_once):
            some = photos[start : start + at_once]
            yield part, [_taken(stack, some) for stack in inputs]

    def _answers(self, calls: Iterator[_Call]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits (P, classes) of each call."""
        for part, arrays in calls:
            yield self._run(part, arrays)[0]

    def _run(self, part: Part, inputs: Sequence[Any]) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def _compiled_part(self, part: Part, photos: int | None = None) -> Any:
        """Return a part as the runtime has it, compiled when it is first asked for.

        Raises:
            DctafdError: its file has gone or changed since the classifier was loaded.
        """
        variant = part, photos
        with self._locks[variant]:
            shared = self._shared
            if not self._is_compiled(variant, shared):
                try:
                    self._compiled[variant] = shared, self._compile(variant, *shared)
                except Exception as error:  # runtimes raise whatever they like
                    what = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
                    raise DctafdError(
                        f"{self._graph.file(part)} cannot be run any more: load the classifier again ({what})"
                    ) from error
            return self._compiled[variant][1]

    def _is_compiled(self, variant: _Variant, shared: tuple[int, int]) -> bool:
        return variant in self._compiled and self._compiled[variant][0] == shared

    def _compile_ahead(self, variants: Sequence[_Variant]) -> None:
        for variant in variants:
            with suppress(Exception):  # `run` meets it again, and says so
                self._compiled_part(*variant)

    def _compile(self, variant: _Variant, cores: int, parallel: int) -> Any:
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
    fixed = True

    def __init__(self, graph: Graph, dtype: str = "float32") -> None:
        import openvino

        super().__init__(graph, dtype)
        self._core = openvino.Core()
        self._models: dict[Part, Any] = {}  # kept: who empties the cache takes nothing from who runs
        self._read("plain" if self._first_layer is None else "fde_net")
        self._local = threading.local()

    def _read(self, part: Part) -> Any:
        if part not in self._models:
            self._models[part] = self._core.read_model(self._graph.file(part))
        return self._models[part]

    def _compile(self, variant: _Variant, cores: int, parallel: int) -> Any:
        part, photos = variant
        model = self._read(part)
        if photos is not None:  # its memory is then laid out ahead, which makes calls a tenth faster
            model = model.clone()
            model.reshape({port: [photos, *list(port.partial_shape)[1:]] for port in model.inputs})
        options = {
            # Left to itself OpenVINO takes bfloat16 where the CPU has it.
            "INFERENCE_PRECISION_HINT": "bf16" if self.dtype == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": parallel,
            "ENABLE_CPU_PINNING": False,  # the threads that prepare photos want the cores, too
        }
        return self._core.compile_model(model, "CPU", options)

    def _request(self, part: Part, photos: int | None = None, number: int = 0) -> Any:
        """Return one of this thread's requests for a part."""
        compiled = self._compiled_part(part, photos)
        requests = self._local.__dict__.setdefault("requests", {})
        key = part, photos, number
        if key not in requests or requests[key][0] is not compiled:
            requests[key] = compiled, compiled.create_infer_request()
        return requests[key][1]

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
                request = self._request(part, len(arrays[0]), number % _UNDER_WAY)
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

    def _compile(self, variant: _Variant, cores: int, parallel: int) -> Any:
        options = self._library.SessionOptions()
        # The threads of one pool help all batches, each of which also has the thread that asked.
        options.intra_op_num_threads = max(1, cores - parallel + 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(self._graph.file(variant[0]))
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
