"""A network in PyTorch, on a CPU or on CUDA."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dctafd.config import DTYPES
from dctafd.inference.block_sums import FirstLayer, first_layer_of
from dctafd.inference.network import Answer, parallel_batches
from dctafd.inputs.model_input import Stack, stacked
from dctafd.nets.attach import CorrectedClassifier, FrozenClassifier
from dctafd.nets.device import choose_device
from dctafd.nets.fde_net import BlockSums


class TorchNetwork:
    """Runs a module in eval mode; what is not float32 goes through autocast.

    On CUDA two batches are under way: one is copied, from pinned memory and on a stream of its own, while
    the other is computed.

    Args:
        module: what `attach` returns, with a module or without; it is moved to the device.
        device: "auto" (CUDA where there is a device), "cpu", "cuda", "cuda:1" ...
        dtype: one of `DTYPES`.

    Raises:
        ValueError: an unknown dtype.
    """

    runtime = "torch"

    def __init__(self, module: FrozenClassifier, device: str = "auto", dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r}; it is one of {', '.join(DTYPES)}")
        self._device = choose_device(device)
        self.device = self._device.type
        self.dtype = dtype
        self.module: FrozenClassifier = module.eval().to(self._device).to(memory_format=torch.channels_last)
        self._first_layer: FirstLayer | None = None
        if isinstance(self.module, CorrectedClassifier) and self.device == "cpu":
            self._first_layer = first_layer_of(self.module.afd.fde)
        self._copies = torch.cuda.Stream(self._device) if self.device == "cuda" else None

    def use_cores(self, cores: int) -> None:
        """Set PyTorch's number of threads, which is one for the whole process."""
        torch.set_num_threads(cores // parallel_batches(cores))

    def side_by_side(self, jobs: int) -> int:
        """Return how many batches to run at a time."""
        return parallel_batches(jobs) if self._copies is None else 2

    def get_ready(self, photos: int) -> None:
        """There is nothing to begin with."""

    def run(self, inputs: Sequence[Stack]) -> Answer:
        """Answer for one batch, what `batch_of` or `stack_inputs` returns; thread-safe."""
        if self._first_layer is not None and self._copies is None and len(inputs) > 1:
            pixels, coefficients, *told = inputs
            steps, survival, *rest = map(stacked, told)
            sums = map(torch.from_numpy, self._first_layer.sums(coefficients, steps, survival))
            tensors = [torch.from_numpy(array) for array in (stacked(pixels), steps, survival, *rest)]
            logits, drift = self._forward([tensors[0], BlockSums(*sums), *tensors[1:]])
        else:
            tensors = [torch.from_numpy(stacked(stack)) for stack in inputs]
            if self._copies is not None:
                logits, drift = self._run_on_cuda(tensors, self._copies)
            else:
                logits, drift = self._forward([tensor.to(self._device).float() for tensor in tensors])
        return Answer(logits.cpu().numpy(), None if drift is None else drift.cpu().numpy())

    def _forward(self, inputs: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """Return logits (B, classes) and FDM channel 0 (B, G, G), float32, on the device."""
        autocast = self.dtype != "float32"
        dtype = getattr(torch, self.dtype) if autocast else None
        with torch.inference_mode(), torch.autocast(self.device, dtype, enabled=autocast):
            pixels = inputs[0].to(memory_format=torch.channels_last)
            output = self.module(pixels, *inputs[1:])
            return output.logits.float(), None if output.fdm is None else output.fdm[:, 0].float()

    def _run_on_cuda(
        self, tensors: Sequence[Tensor], copies: torch.cuda.Stream
    ) -> tuple[Tensor, Tensor | None]:
        """Copy on the side stream, compute when it is there, copy the answers back and wait for them."""
        compute = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(copies):
            copied = [tensor.pin_memory().to(self._device, non_blocking=True) for tensor in tensors]
            there = torch.cuda.Event()
            there.record(copies)
        compute.wait_event(there)
        for tensor in copied:
            tensor.record_stream(compute)  # its memory is not reused before the network has read it
        logits, drift = self._forward([tensor.float() for tensor in copied])
        logits = logits.to("cpu", non_blocking=True)
        drift = None if drift is None else drift.to("cpu", non_blocking=True)
        done = torch.cuda.Event()
        done.record(compute)
        done.synchronize()
        return logits, drift

    def digest(self) -> str:
        """Return a SHA-256 over the weights."""
        return weights_digest(self.module)


def weights_digest(module: nn.Module) -> str:
    """Return a SHA-256 over a module's state dict."""
    digest = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
