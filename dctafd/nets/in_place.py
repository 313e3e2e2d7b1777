"""When inference may work in the memory of maps that it has read for the last time."""

from __future__ import annotations

import torch
from torch import Tensor


def may_overwrite(x: Tensor) -> bool:
    """Whether a map that nothing else reads may be overwritten: no gradient asks for what it was.

    Nor may autocast, which does not reach in-place operations, have other ideas about its type. An exported
    graph has no memory of its own to save, and in it such operations become slower ones.
    """
    return not (
        torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type)
    )
