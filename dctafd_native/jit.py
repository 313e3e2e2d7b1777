"""The one place for Numba options: every kernel of this package is compiled through `kernel`.

Kernels take contiguous arrays and scalars, fill arrays that the caller allocated, raise nothing and
release the GIL, so that ordinary threads scale. Compiled code is cached beside the sources, or where
``NUMBA_CACHE_DIR`` says. ``NUMBA_BOUNDSCHECK=1`` (read by Numba itself) turns index checks on for a run.
"""

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` without the GIL, cached, with NumPy's rules for division by zero."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a small helper for use inside kernels; LLVM inlines it into its callers."""
    return numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")(function)
