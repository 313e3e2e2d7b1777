"""Batches on their way through the network: several at a time on a CPU, overlapped with the copies on CUDA.

On a CPU, batches side by side with few threads each are up to four times as fast as one batch with all
threads, which wait for each other after every layer while the decoding threads want the cores, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from dctafd.inference.results import Result
from dctafd.inputs.model_input import ModelInput, collate

if TYPE_CHECKING:
    from torch import Tensor

    from dctafd.inference.classifier import Classifier, Prepared

_Answer = tuple["Tensor", "Tensor | None"]

MAX_PARALLEL_BATCHES = 4


def parallel_batches(jobs: int) -> int:
    """Return how many batches go through the network at a time on a CPU."""
    return min(jobs, MAX_PARALLEL_BATCHES)


def share_cores(jobs: int) -> None:
    """Divide `jobs` cores among the batches that run side by side; for processes that are ours.

    Sets PyTorch's number of threads, which is one for the whole process.
    """
    import torch

    torch.set_num_threads(jobs // parallel_batches(jobs))


class DeviceRunner:
    """Runs batches: on a CPU `parallel` side by side; on CUDA one is copied while another is computed.

    A context that ends the threads.

    Args:
        classifier: whose network runs, on its device.
        parallel: batches at a time on a CPU; 1 runs them in the calling thread.

    Attributes:
        depth: batches that may be under way before the results of the first are asked for.
    """

    def __init__(self, classifier: Classifier, parallel: int = 1) -> None:
        self._classifier = classifier
        self._cuda = classifier.device.type == "cuda"
        self._copies: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self.depth = 0
        if self._cuda:
            import torch

            self.depth = 1
            self._copies = torch.cuda.Stream(classifier.device)
        elif parallel > 1:
            self.depth = parallel
            self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="dctafd-network")

    def __enter__(self) -> DeviceRunner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, batch: Sequence[Prepared], top_k: int) -> Callable[[], list[Result]]:
        """Start the network on a batch.

        Returns:
            A function that waits for the results, one for each input, in order.
        """
        inputs = [entry.outcome for entry in batch if isinstance(entry.outcome, ModelInput)]
        if not inputs:
            return lambda: self._classifier.results(batch, None, None, top_k)
        answer = self._start(collate(inputs).tensors())

        def finish() -> list[Result]:
            scores, drift = answer()
            on_cpu = None if drift is None else drift.cpu()
            return self._classifier.results(batch, scores.cpu(), on_cpu, top_k)

        return finish

    def _start(self, tensors: Sequence[Tensor]) -> Callable[[], _Answer]:
        """Start the network on tensors; return a function that waits for probabilities and drift."""
        if self._cuda:
            scores, drift, done = self._run_on_cuda(tensors)

            def wait() -> _Answer:
                done.synchronize()
                return scores, drift

            return wait
        if self._pool is not None:
            return self._pool.submit(self._classifier.forward, tensors).result
        there = [tensor.to(self._classifier.device) for tensor in tensors]
        answer = self._classifier.forward(there)
        return lambda: answer

    def _run_on_cuda(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Any]:
        """Copy from pinned memory on a side stream, compute when it is there, copy the answers back."""
        import torch

        device = self._classifier.device
        compute = torch.cuda.current_stream(device)
        with torch.cuda.stream(self._copies):
            copied = [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
        compute.wait_stream(self._copies)
        for tensor in copied:
            tensor.record_stream(compute)  # its memory is not reused before the network has read it
        scores, drift = self._classifier.forward(copied)
        scores = scores.to("cpu", non_blocking=True)
        drift = None if drift is None else drift.to("cpu", non_blocking=True)
        done = torch.cuda.Event()
        done.record(compute)
        return scores, drift, done
