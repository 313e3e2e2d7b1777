"""Where networks run."""

from __future__ import annotations

import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this name; "auto" is CUDA where there is a device, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
