"""How figures came about, and the JSON files of docs/results/ that say so."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dctafd.files import atomic_output
from tools.places import ROOT

_PACKAGES = ("numba", "numpy", "pillow", "simplejpeg", "jpeglib", "torch", "torchvision")


def provenance() -> dict[str, str]:
    """Return command, commit, machine and date."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    threads = torch.get_num_threads()
    return {
        "command": " ".join(["python", *_program(), *sys.argv[1:]]),
        "commit": commit,
        "machine": f"{platform.machine()}, {threads} thread{'' if threads == 1 else 's'}",
        "date": date.today().isoformat(),
    }


def environment() -> dict[str, Any]:
    """Return the processors, and the versions of Python and of what a figure depends on."""
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def write_figures(
    output: Path, rows: Iterable[Mapping[str, Any]], *, instead_of: str | None = None, **settings: Any
) -> None:
    """Write a file of docs/results/.

    Args:
        output: the file.
        rows: what was measured.
        instead_of: a key; rows that the file has with other values of it stay, before the new ones.
        settings: what else the file says.
    """
    rows = list(rows)
    if instead_of is not None and output.is_file():
        new = {row[instead_of] for row in rows}
        rows = [*(row for row in json.loads(output.read_text())["rows"] if row[instead_of] not in new), *rows]
    record = {**provenance(), "environment": environment(), **settings, "rows": rows}
    with atomic_output(output) as file:
        file.write(json.dumps(record, indent=1) + "\n")


def _program() -> list[str]:
    """Return what runs this program: `-m MODULE`, or its file, as seen from the repository."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return ["-m", spec.name]
    path = Path(sys.argv[0]).resolve()
    return [str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name]
