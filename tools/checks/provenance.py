"""How figures came about, for the JSON files of docs/results/."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import date

import torch


def provenance() -> dict[str, str]:
    """Return command, commit, machine and date."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "date": date.today().isoformat(),
    }
