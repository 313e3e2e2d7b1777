"""Where things lie that tools and tests use: the checkout, and the data folder beside it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SHARED = ROOT.parent / "shared"
"""Photos, checkpoints and damaged files that are no part of the project; it may be missing."""


def shared_checkpoint(name: str) -> dict[str, Any]:
    """Return the state dict of ../shared/weights/NAME.npz."""
    load = runpy.run_path(str(SHARED / "weights" / "load.py"))["load_state_dict"]
    state: dict[str, Any] = load(SHARED / "weights" / f"{name}.npz")
    return state
