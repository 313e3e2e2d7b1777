"""Reading, decoding and the network at the same time, with bounded memory and results in the inputs' order.

One thread reads archives and hands inputs out; a pool decodes and prepares them (the kernels release the
GIL); the calling thread gathers batches in order, hands them to the runner and assembles the results. What is
under way is bounded in inputs and in bytes, so memory does not grow with the number of inputs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from dctafd.inference.assembly import ModelFacts, assemble
from dctafd.inference.network import FEW, Answer
from dctafd.inference.prepared import Prepared, PreparedPhoto
from dctafd.inference.results import Result
from dctafd.inference.runner import Runner
from dctafd.inputs.source_items import Bookmark, Skipped, SourceItem

#: Batches of prepared photos that wait for the network at most.
BATCHES_AHEAD = 3
_BYTES_AHEAD = 128 * 2**20


class Unit(Protocol):
    """Some inputs in a fixed order, no batch of which spans its end."""

    def items(
        self, skipped: Skipped, start: int = 0, bookmark: Bookmark | None = None
    ) -> Iterable[SourceItem]:
        """Yield the inputs from number `start` on, and count in `skipped` what is passed over.

        Args:
            skipped: empty; counts from the first input on.
            start: inputs to leave out.
            bookmark: that of the last of them, where it has one.
        """


@dataclass(frozen=True, slots=True)
class Position:
    """The next input to be done: number `item` of unit number `unit`.

    Attributes:
        unit, item: the numbers.
        bookmark: where in an archive the input is, None where that is not known.
    """

    unit: int = 0
    item: int = 0
    bookmark: Bookmark | None = None


START = Position()


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch, or the end of a unit, adds to a run.

    Attributes:
        results: in the inputs' order.
        size: bytes that were read.
        position: where the run stands after them.
        skipped: at the end of a unit, what was passed over in it; else None.
    """

    results: list[Result]
    size: int
    position: Position
    skipped: Skipped | None = None


@dataclass(frozen=True, slots=True)
class ItemStream:
    """Inputs from anywhere as one unit; it is read once, from its start."""

    stream: Iterable[SourceItem]

    def items(
        self, skipped: Skipped, start: int = 0, bookmark: Bookmark | None = None
    ) -> Iterable[SourceItem]:
        """Yield the inputs."""
        return self.stream


def classify_units(
    units: Sequence[Unit],
    prepare: Callable[[SourceItem], Prepared],
    runner: Runner,
    facts: ModelFacts,
    *,
    top_k: int,
    batch_size: int,
    jobs: int,
    start: Position = START,
) -> Generator[Step, None, None]:
    """Classify units of work from `start` on; yields after each batch and at the end of each unit.

    Batches start at multiples of `batch_size` from the beginning of their unit, wherever the run started.

    Args:
        units: where the inputs come from.
        prepare: makes of an input what the network needs; thread-safe, and never raises.
        runner: runs the network.
        facts: of the classifier.
        top_k: predictions in each result.
        batch_size: inputs, good or bad, of one batch.
        jobs: threads that decode and prepare.
        start: a position that an earlier run of the same units and batch size yielded.
    """
    window = _Window(BATCHES_AHEAD * batch_size + jobs, _BYTES_AHEAD)
    under_way: deque[_Pending] = deque()
    on_several = partial(runner.get_ready, batch_size)
    with runner, _Feed(window, jobs, prepare, units, start, on_several) as feed:
        for batch, position, skipped in feed.batches(batch_size):
            under_way.append(_Pending(batch, submitted(runner, batch), position, skipped))
            if len(under_way) > runner.depth:
                yield under_way.popleft().step(facts, top_k)
        while under_way:
            yield under_way.popleft().step(facts, top_k)


def submitted(runner: Runner, batch: Sequence[Prepared]) -> Future[Answer] | None:
    """Start the network on the good inputs of a batch; None where there is none."""
    photos = [entry.outcome for entry in batch if isinstance(entry.outcome, PreparedPhoto)]
    return runner.submit([photo.model_input for photo in photos]) if photos else None


@dataclass(frozen=True, slots=True)
class _Pending:
    """A batch that the network works on, and where the run stands after it."""

    batch: Sequence[Prepared]
    answer: Future[Answer] | None
    position: Position
    skipped: Skipped | None

    def step(self, facts: ModelFacts, top_k: int) -> Step:
        """Wait for the answer and assemble the results."""
        answer = None if self.answer is None else self.answer.result()
        results = assemble(self.batch, answer, facts, top_k)
        return Step(results, sum(entry.size for entry in self.batch), self.position, self.skipped)


class _Window:
    """Bounds what is under way: inputs that were handed out, and bytes that were read and not yet decoded."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items = self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def enter(self, size: int) -> bool:
        """Wait for room for an input with `size` bytes; False when the window was closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(size))
            self._items += 1
            self._bytes += size
            return not self._closed

    def _has_room(self, size: int) -> bool:
        fits = self._bytes == 0 or self._bytes + size <= self._max_bytes
        return self._items < self._max_items and fits

    def decoded(self, size: int) -> None:
        """Note that an input's bytes are no longer needed."""
        with self._changed:
            self._bytes -= size
            self._changed.notify()

    def left(self) -> None:
        """Note that an input went on to the network."""
        with self._changed:
            self._items -= 1
            self._changed.notify()

    def close(self) -> None:
        """Let nothing more in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


_Batch = tuple[list[Prepared], Position, Skipped | None]


_Handed = tuple[Future["Prepared"], "Bookmark | None"]


class _Feed:
    """The reading thread and the pool that prepares; a context that ends both."""

    def __init__(
        self,
        window: _Window,
        jobs: int,
        prepare: Callable[[SourceItem], Prepared],
        units: Sequence[Unit],
        start: Position,
        on_several: Callable[[], None],
    ) -> None:
        self._on_several = on_several
        self._window = window
        self._prepare_item = prepare
        self._units = units
        self._start = start
        self._queue: SimpleQueue[_Handed | Skipped | BaseException | None] = SimpleQueue()
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="dctafd-prepare")
        # A daemon: reading a pipe that nobody writes to must not keep the process from ending.
        self._reader = threading.Thread(target=self._read, name="dctafd-read", daemon=True)

    def __enter__(self) -> _Feed:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._window.close()
        self._reader.join(timeout=1)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read(self) -> None:
        try:
            handed_out = 0
            for number in range(self._start.unit, len(self._units)):
                start = self._start if number == self._start.unit else START
                skipped = Skipped()
                for item in self._units[number].items(skipped, start.item, start.bookmark):
                    if not self._window.enter(len(item.data or b"")):
                        return
                    self._queue.put((self._pool.submit(self._prepare, item), item.bookmark))
                    handed_out += 1
                    if handed_out == FEW:
                        self._on_several()
                self._queue.put(skipped)
            self._queue.put(None)
        except BaseException as error:
            self._queue.put(error)

    def _prepare(self, item: SourceItem) -> Prepared:
        try:
            return self._prepare_item(item)
        finally:
            self._window.decoded(len(item.data or b""))

    def batches(self, batch_size: int) -> Iterator[_Batch]:
        """Yield batches in the inputs' order, each with the position after it; empty ones end a unit."""
        batch: list[Prepared] = []
        unit, item = self._start.unit, self._start.item
        while (entry := self._queue.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            if isinstance(entry, tuple):
                prepared, bookmark = entry
                batch.append(prepared.result())
                self._window.left()
                item += 1
                if item % batch_size == 0:
                    yield batch, Position(unit, item, bookmark), None
                    batch = []
                continue
            unit, item = unit + 1, 0
            yield batch, Position(unit, item), entry
            batch = []
