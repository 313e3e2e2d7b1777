"""Batches on their way through the network: blocking on a CPU, overlapped with the copies on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dctafd.pipeline.model_input import ModelInput, collate
from dctafd.pipeline.results import Result

if TYPE_CHECKING:
    from torch import Tensor

    from dctafd.pipeline.classifier import Classifier, Prepared


class DeviceRunner:
    """Runs batches one after the other; on CUDA a batch is copied while the one before it is computed.

    Args:
        classifier: whose network runs, on its device.

    Attributes:
        depth: batches that may be under way before the results of the first are asked for.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._cuda = classifier.device.type == "cuda"
        self.depth = 1 if self._cuda else 0
        self._copies: Any = None
        if self._cuda:
            import torch

            self._copies = torch.cuda.Stream(classifier.device)

    def submit(self, batch: Sequence[Prepared], top_k: int) -> Callable[[], list[Result]]:
        """Start the network on a batch.

        Returns:
            A function that waits for the results, one for each input, in order.
        """
        inputs = [entry.outcome for entry in batch if isinstance(entry.outcome, ModelInput)]
        if not inputs:
            return lambda: self._classifier.results(batch, None, None, top_k)
        # The tensors are copies: nothing here keeps the inputs' arrays alive.
        if self._cuda:
            scores, drift, done = self._run_on_cuda(collate(inputs).tensors())
        else:
            device = self._classifier.device
            scores, drift = self._classifier.forward([t.to(device) for t in collate(inputs).tensors()])
            done = None

        def finish() -> list[Result]:
            if done is not None:
                done.synchronize()
            on_cpu = None if drift is None else drift.cpu()
            return self._classifier.results(batch, scores.cpu(), on_cpu, top_k)

        return finish

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
