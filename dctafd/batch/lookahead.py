"""Work on some of many entries, several at a time, with the answers in the entries' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

_AT_ONCE = 16

_Entry = TypeVar("_Entry")
_Answer = TypeVar("_Answer")


def in_order(
    entries: Iterable[_Entry], needed: Callable[[_Entry], bool], work: Callable[[_Entry], _Answer]
) -> Iterator[tuple[_Entry, _Answer | None]]:
    """Yield each entry with what `work` makes of it, None where it is not needed; 16 at a time.

    Args:
        entries: any number of them.
        needed: whether an entry is worked on.
        work: called in threads; what it raises is raised at the entry's turn.
    """
    waiting: deque[tuple[_Entry, Future[_Answer] | None]] = deque()
    with ExitStack() as stack:
        pool = None
        for entry in entries:
            wanted = needed(entry)
            if wanted and pool is None:
                pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE, "dctafd-look"))
                stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            waiting.append((entry, pool.submit(work, entry) if pool and wanted else None))
            if len(waiting) > 4 * _AT_ONCE:
                first, future = waiting.popleft()
                yield first, None if future is None else future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, None if future is None else future.result()
