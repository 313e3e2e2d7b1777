"""The figures of docs/results/, as the commands that measured them wrote them.

Which files there are, and what a new one must be called, is told in `tools/render_results.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = ("single", "imagenet-c", "native", "repeated", "stored")
PROVENANCE = ("command", "commit", "machine", "date")

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """All figures.

    Attributes:
        evaluations: records of `dctafd evaluate`, by module and protocol.
        others: the other files' records by kind ("do_no_harm", "cost" and so on).
    """

    evaluations: dict[str, dict[str, Record]] = field(default_factory=dict)
    others: dict[str, list[Record]] = field(default_factory=dict)

    def rows(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """Return the rows of all records of a kind, those that have the wanted values."""
        found = [row for record in self.others.get(kind, ()) for row in record["rows"]]
        return [row for row in found if all(row[key] == value for key, value in wanted.items())]


_KINDS = (
    *("calibration", "do_no_harm", "gain_by_distance", "drift_order"),
    *("cost", "history", "speed", "throughput", "images_per_core"),
)


def read_results(folder: Path = ROOT / "docs/results") -> Results:
    """Read every file.

    Raises:
        ValueError: a file has another kind of name, or lacks what tells where it comes from.
    """
    results = Results()
    for path in sorted(folder.glob("*.json")):
        record = _read(path)
        kind = next((kind for kind in _KINDS if path.stem == kind or path.stem.startswith(f"{kind}_")), None)
        module, _, protocol = path.stem.rpartition("_")
        if kind is not None:
            results.others.setdefault(kind, []).append(record)
        elif module and protocol in PROTOCOLS:
            results.evaluations.setdefault(module, {})[protocol] = record
        else:
            raise ValueError(
                f"{path.name} is neither MODULE_PROTOCOL.json ({', '.join(PROTOCOLS)}) nor one of "
                f"{', '.join(f'{kind}.json' for kind in _KINDS)}"
            )
    return results


def _read(path: Path) -> Record:
    record: Record = json.loads(path.read_text("utf-8"))
    missing = [key for key in PROVENANCE if not record.get(key)]
    if missing:
        raise ValueError(
            f"{path.name} does not say its {', '.join(missing)}: `python -m tools.recipes.make_module "
            "measure` and the commands of tools/checks write that by themselves"
        )
    return record


def source_of(record: Record) -> str:
    """Return where a record's figures come from, as a sentence."""
    sentence = f"`{record['command']}`, commit {record['commit'][:7]}, {record['date']}, {record['machine']}"
    return f"{sentence} ({record['origin']})." if record.get("origin") else f"{sentence}."
