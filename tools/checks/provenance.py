"""How figures came about, for the JSON files of docs/results/."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

_REPOSITORY = Path(__file__).resolve().parents[2]


def provenance() -> dict[str, str]:
    """Return command, commit, machine and date."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    threads = torch.get_num_threads()
    return {
        "command": " ".join(["python", *_program(), *sys.argv[1:]]),
        "commit": commit,
        "machine": f"{platform.machine()}, {threads} thread{'' if threads == 1 else 's'}",
        "date": date.today().isoformat(),
    }


def _program() -> list[str]:
    """Return what runs this program: `-m MODULE`, or its file, as seen from the repository."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return ["-m", spec.name]
    path = Path(sys.argv[0]).resolve()
    return [str(path.relative_to(_REPOSITORY)) if path.is_relative_to(_REPOSITORY) else path.name]
