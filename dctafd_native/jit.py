"""The one place for Numba options: every kernel of this package is compiled through `kernel`.

Kernels take contiguous arrays and scalars, fill arrays that the caller allocated, raise nothing and
release the GIL, so that ordinary threads scale. Compiled code is cached beside the sources, or where
``NUMBA_CACHE_DIR`` says. ``NUMBA_BOUNDSCHECK=1`` (read by Numba itself) turns index checks on for a run.

Numba's cache notices changes in a kernel's own file only. After editing a module whose helpers others call
(`lanes.py`), delete their ``__pycache__``.
"""

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` to machine code that runs without the GIL and is cached on disk."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` into each kernel that calls it, where a call would cost more than what it does."""
    return numba.njit(inline="always", error_model="numpy")(function)
