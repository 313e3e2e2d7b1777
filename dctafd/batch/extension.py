"""Adding to a finished output: what its manifest says is done, and what of a plan is new."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from dctafd.batch.manifest import Identity, Manifest, check_identity, parse_manifest
from dctafd.batch.output_places import OutputPlace
from dctafd.batch.shown_urls import is_url, shown
from dctafd.batch.sources import Plan, joint_digest
from dctafd.errors import ResumeError
from dctafd.inputs.source_items import readable
from dctafd.plain_text import reason


@dataclass(frozen=True, slots=True)
class Extension:
    """What a finished output holds, and what is to be added.

    Attributes:
        plan: the units that are new.
        done: name and digest of those that the output has.
        summary: of the finished run.
        inputs: fingerprint of all of them, as one run over the old and the new ones would have it.
    """

    plan: Plan
    done: tuple[tuple[str, str], ...]
    summary: dict[str, Any]
    inputs: str


def plan_extension(place: OutputPlace, plan: Plan, identity: Identity) -> Extension:
    """See what of a plan is new to a finished output.

    Args:
        place: the output's.
        plan: what was asked for: old and new shards, or new ones only.
        identity: this run's, whose inputs do not matter.

    Raises:
        ResumeError: there is no finished output, it is another model's or other options', it or a shard that
            it holds has changed since, or there are plain files among the sources.
    """
    for unit in plan.units:
        entry = unit.entries[0]
        missing = entry.error is None and not is_url(entry.path) and not os.path.isfile(entry.path)
        if unit.kind == "files" or missing:
            why = "it is neither" if entry.error is None else reason(entry.error)
            why = "there is no such file" if missing else why
            raise ResumeError(f"--extend adds archives and tables; {readable(shown(entry.path))}: {why}")
    finished = _finished(place)
    check_identity(finished.identity, identity, f"the finished {place}", inputs=False)
    if place.size() != finished.written.get("bytes"):
        raise ResumeError(f"{place} is not what the run has written: it cannot be extended")
    names, digests = {name for name, _ in finished.units}, {digest for _, digest in finished.units}
    new = []
    for number, (name, digest) in enumerate(plan.named_digests()):
        if digest in digests:
            continue
        if name in names:
            raise ResumeError(f"{name} has changed since: start again without --extend")
        new.append(number)
    added = replace(
        plan,
        units=tuple(plan.units[number] for number in new),
        digests=tuple(plan.digests[number] for number in new),
    )
    inputs = joint_digest([*(digest for _, digest in finished.units), *added.digests])
    return Extension(added, finished.units, dict(finished.summary), inputs)


def _finished(place: OutputPlace) -> Manifest:
    """Return the manifest of the output in its place, after putting it there where that was cut off."""
    text = place.running()
    if text is not None and parse_manifest(text, place.manifest).complete:
        place.publish()
        place.keep_finished()
    text = place.finished()
    if text is None or place.size() is None:
        raise ResumeError(f"there is no finished run of {place} to extend: leave out --extend")
    return parse_manifest(text, f"the manifest of {place}")
