"""What files of AFD-Modules are called; imports no torch."""

from __future__ import annotations

from pathlib import Path

AFD_ENDING = "_afd.safetensors"
"""How their names end."""


def module_beside(weights: Path) -> Path:
    """Return where the AFD-Module of a weights file lies, if `dctafd train` made one."""
    return weights.with_name(f"{weights.stem}{AFD_ENDING}")
