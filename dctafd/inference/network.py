"""What runs a classifier's network: arrays in, arrays out, whichever runtime does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dctafd.inputs.model_input import Stack

MAX_PARALLEL_BATCHES = 16

#: Batches of fewer photos may go through the network one by one, which is less to get ready for.
FEW = 8


class Answer(NamedTuple):
    """What a network says of B photos.

    Attributes:
        logits: (B, classes) float32.
        drift: (B, G, G) float32, channel 0 of the Feature Drifting Map; None without an AFD-Module.
    """

    logits: NDArray[np.float32]
    drift: NDArray[np.float32] | None


class Network(Protocol):
    """One classifier's network in one runtime.

    Attributes:
        runtime: "torch", "openvino" or "onnxruntime".
        device: "cpu", "cuda" ...
        dtype: "float32", "bfloat16" or "float16", what it computes in.
    """

    runtime: str
    device: str
    dtype: str

    def use_cores(self, cores: int) -> None:
        """Share so many cores among the batches that run side by side; for processes that are ours."""

    def side_by_side(self, jobs: int) -> int:
        """Get ready for `jobs` threads that prepare photos; return how many batches to run at a time."""

    def get_ready(self, photos: int) -> None:
        """Begin with what a batch of so many photos takes besides what one photo takes."""

    def run(self, inputs: Sequence[Stack]) -> Answer:
        """Answer for one batch, what `batch_of` or `stack_inputs` returns; thread-safe."""

    def digest(self) -> str:
        """Return a SHA-256 over the weights."""


def parallel_batches(jobs: int) -> int:
    """Return how many batches go through the network at a time on a CPU.

    Threads of one batch wait for each other after every layer, while the decoding threads want the cores,
    too. So each batch gets one thread, and more only where there would be more batches than the memory is
    worth: each costs some 70 MB. `tools.benchmarks.scaling_model` tells what that makes of 1 to 64 cores.
    """
    threads = -(-jobs // MAX_PARALLEL_BATCHES)
    return jobs // threads
