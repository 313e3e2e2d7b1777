"""Batches on their way through the network, some of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dctafd.inference.network import Answer, Network
from dctafd.inputs.model_input import ModelInput, batch_of


class Runner:
    """Runs batches in threads of its own, or in the calling thread where there is one at a time.

    A context that ends the threads.

    Args:
        network: answers for each batch.
        jobs: threads that prepare photos meanwhile.

    Attributes:
        depth: batches that may be under way before the answer to the first is asked for.
    """

    def __init__(self, network: Network, jobs: int = 1) -> None:
        self._network = network
        parallel = network.side_by_side(jobs)
        self.depth = parallel if parallel > 1 else 0
        self._pool: ThreadPoolExecutor | None = None
        if parallel > 1:
            self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="dctafd-network")

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def get_ready(self, photos: int) -> None:
        """Begin with what a batch of so many photos takes besides what one photo takes."""
        self._network.get_ready(photos)

    def submit(self, inputs: Sequence[ModelInput]) -> Future[Answer]:
        """Start the network on a batch of one photo or more; the future has its answer."""
        if self._pool is not None:
            return self._pool.submit(self._answer, inputs)
        done: Future[Answer] = Future()
        done.set_result(self._answer(inputs))
        return done

    def _answer(self, inputs: Sequence[ModelInput]) -> Answer:
        return self._network.run(batch_of(inputs))
