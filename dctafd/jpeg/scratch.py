"""Memory that a thread uses again and again for arrays that do not outlive the call that asks for them.

Fresh memory costs more than its allocation: the first touch of each page is a visit to the operating system,
and arrays that wander through memory are in no cache. For small photos that can be a third of the whole time.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LEAST_BYTES = 1 << 16
_MOST_BYTES = 8 * 2**20
"""Of one name; larger arrays are allocated as usual, so that a thread does not sit on much memory."""


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, NDArray[np.uint8]] = {}
        self.last: dict[str, NDArray[Any]] = {}


_buffers = _Buffers()


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of any content, whose memory the same thread's next call with this name may return."""
    last = _buffers.last.get(name)
    if last is not None and last.shape == shape and last.dtype == dtype:
        return last
    kind = np.dtype(dtype)
    size = kind.itemsize * prod(shape)
    if size > _MOST_BYTES:
        return np.empty(shape, kind)
    buffer = _buffers.by_name.get(name)
    if buffer is None or buffer.size < size:
        buffer = _buffers.by_name[name] = np.empty(max(size, _LEAST_BYTES), np.uint8)
    array = _buffers.last[name] = np.ndarray(shape, kind, buffer)
    return array
