"""The figures of docs/results/, as the commands that measured them wrote them.

Which files there are, and what a new one must be called, is told in `tools/render_results.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctafd.analysis.protocols import PROTOCOLS
from tools.places import RESULTS

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

    def records(self, kind: str, **wanted: Any) -> list[Record]:
        """Return the records of a kind, with those rows that have the wanted values; none without a row."""
        found: list[Record] = []
        for record in self.others.get(kind, ()):
            rows = [row for row in record["rows"] if wanted.items() <= row.items()]
            found += [{**record, "rows": rows}] if rows else []
        return found

    def rows(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """Return the rows of all records of a kind, those that have the wanted values."""
        return [row for record in self.records(kind, **wanted) for row in record["rows"]]


#: The kinds of files beside evaluations.
KINDS = (
    *("calibration", "do_no_harm", "gain_by_distance", "drift_order"),
    *("cost", "history", "speed", "throughput", "scaling"),
)


def read_results(folder: Path = RESULTS) -> Results:
    """Read every file.

    Raises:
        ValueError: a file has another kind of name, or lacks what tells where it comes from.
    """
    results = Results()
    for path in sorted(folder.glob("*.json")):
        record = _read(path)
        kind = next((kind for kind in KINDS if path.stem == kind or path.stem.startswith(f"{kind}_")), None)
        module, _, protocol = path.stem.rpartition("_")
        if kind is not None:
            results.others.setdefault(kind, []).append(record)
        elif module and protocol in PROTOCOLS:
            results.evaluations.setdefault(module, {})[protocol] = record
        else:
            raise ValueError(
                f"{path.name} is neither MODULE_PROTOCOL.json ({', '.join(PROTOCOLS)}) nor one of "
                f"{', '.join(f'{kind}.json' for kind in KINDS)}"
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


def told(record: Record) -> list[str]:
    """Return what stands below a record's table: its note, and a sentence that says where it comes from."""
    source = f"`{record['command']}`, commit {record['commit'][:7]}, {record['date']}, {record['machine']}"
    origin = f" ({record['origin']})" if record.get("origin") else ""
    return [*([record["note"]] if record.get("note") else []), f"{source}{origin}."]
