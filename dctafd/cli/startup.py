"""Start quickly: most of a first answer's time is imports of torch and Numba."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collector while modules and weights are loaded.

    What is loaded stays for the whole run, yet the collector walks it again and again while it grows: a
    fifth to a third of the time to a first answer. Afterwards it leaves those objects alone (`gc.freeze`).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
