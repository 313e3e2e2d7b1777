"""Write docs/results.md and the model cards of the shipped AFD-Modules from what was measured.

    python tools/report_shipped.py

Reads the JSON files that `train_shipped.py measure` left in runs/shipped and the cards inside the weights.
Modules, and protocols of a module, that were not measured on this machine keep what docs/results.md says of
them.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import click
from shipped_modules import MODULES, PROTOCOLS, REPOSITORY, RUN, Module

from dctafd.nets.afd_weights import AFDCard, read_afd_card
from dctafd.nets.registry import WEIGHTS_DIRECTORY, get_spec

# What the paper's Table V says of ResNet-50 on ImageNet-C's validation set: quality -> (direct, corrected).
PAPER = {7: (31.65, 49.02), 10: (47.50, 57.24), 15: (59.28, 62.91), 18: (62.47, 64.79), 25: (66.16, 67.10)}
PAPER_CLEAN = 76.13  # torchvision's IMAGENET1K_V1; Table V has no row for clean photos
SEEDS = {"stem": (28, 23, 23, 21, 31), "deep": (45, 48, 49, 43, 48)}  # the two trials, 39,000 images


RESULTS = """# Results

Top-1 (%) on photos of `../shared/images/eval`: ImageNet's validation set at 227 x 227 pixels and about
quality 95, which no module was trained on. `gain` is in points, with its 95 % interval (paired bootstrap
over photos); `regained` is the share of what JPEG took from the clean photos' top-1. Written by `python
tools/report_shipped.py` after `train_shipped.py train`, `refine`, `distil` and `measure`.
"""

PAPER_NOTE = """## The paper's ResNet-50

Table V of the FDE-Net paper: torchvision's IMAGENET1K_V1 on all 50,000 validation photos. It differs from
`single` here: larger originals, a checkpoint with another clean accuracy, and a correction of the stem
only. What JPEG took is counted from {clean} % clean.
"""

CARD = """# {name}: AFD-Module for {card.architecture}

| | |
|---|---|
| file | `{name}_afd.safetensors`, {size:,} bytes, fp16, re-parameterised |
| shape | `{config.shape}`: {config.fe_width} channels in FE-Net, {stages} |
| licence of the weights | {card.licence}, after {licensors} |

## Training

Against `{module.checkpoint}` of `../shared/weights`, which stayed frozen, and {training[photos]:,} natural
photos (`../shared/images/train`) without labels; none of them is part of this project. {runs} Made by `python
tools/train_shipped.py` on 2 CPU cores; all settings are in the file's metadata.{module.note}

## Figures

From `python tools/train_shipped.py measure {name}` on ImageNet validation photos (`../shared/images/eval`):
top-1 (%), the gain in points with its 95 % interval (paired bootstrap), and the share regained of what JPEG
took.

"""


@click.command()
def main() -> None:
    """Write docs/results.md and dctafd/nets/weights/NAME_afd.md."""
    measured = {name: _measured(name) for name in MODULES}
    path = REPOSITORY / "docs/results.md"
    before = path.read_text()
    path.write_text(results(measured, before))
    for name in (name for name, records in measured.items() if records):
        card = read_afd_card(WEIGHTS_DIRECTORY / f"{name}_afd.safetensors")
        path = WEIGHTS_DIRECTORY / f"{name}_afd.md"
        path.write_text(model_card(name, MODULES[name], card, tables(name, measured[name], before)))
        click.echo(path)


def _measured(name: str) -> list[dict[str, Any]]:
    paths = (RUN / f"{name}.{protocol}.json" for protocol in PROTOCOLS)
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


def _single(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the record of protocol `single`, without which there is no summary, alone in a list if any."""
    return [record for record in records if record["protocol"] == "single"]


def results(measured: dict[str, list[dict[str, Any]]], before: str = "") -> str:
    """Return docs/results.md; `before` is what stands there, for what is not in `measured`."""
    lines = [RESULTS, *_summary(measured, before), *_paper_table()]
    for name, records in measured.items():
        if found := tables(name, records, before):
            lines += [f"## {name}", "", *found]
    return "\n".join(lines).rstrip() + "\n"


def tables(name: str, records: list[dict[str, Any]], before: str = "") -> list[str]:
    """Return a table for each protocol, as `records` or else `before`, docs/results.md, have it."""
    found = dict.fromkeys(PROTOCOLS, "")
    if section := re.search(rf"^## {name}\n.*?(?=^## |\Z)", before, re.MULTILINE | re.DOTALL):
        for table in re.split(r"^(?=### )", section[0], flags=re.MULTILINE)[1:]:
            found[table.split(", ")[1]] = table.rstrip() + "\n"
    found |= {record["protocol"]: "\n".join(_table(record)) for record in records}
    return [table for table in found.values() if table]


def _summary(measured: dict[str, list[dict[str, Any]]], before: str) -> list[str]:
    """Return the table of the percentages regained (protocol `single`) beside the paper's."""
    lines = [
        "## Regained of what JPEG took (%), protocol `single`",
        "",
        "| module | photos | q7 | q10 | q15 | q18 | q25 | points at q90 | points on clean photos |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in MODULES:
        singles = _single(measured.get(name, []))
        if not singles:
            lines += re.findall(rf"^\| {name} \|.*$", before, re.MULTILINE)
            continue
        (record,) = singles
        cells = [f"{row['regained']:.0f}" for row in record["rows"] if row["quality"] <= 25]
        high = next(row for row in record["rows"] if row["quality"] == 90)
        clean = record["clean"]["afd_top1"] - record["clean"]["top1"]
        cells += [f"{high['top1_gain']:+.1f}", f"{clean:+.1f}"]
        lines.append(f"| {name} | {record['images']} | {' | '.join(cells)} |")
    paper = [100 * (fixed - direct) / (PAPER_CLEAN - direct) for direct, fixed in PAPER.values()]
    lines.append(f"| the paper's ResNet-50 | 50,000 | {' | '.join(f'{share:.0f}' for share in paper)} | | |")
    for shape, shares in SEEDS.items():
        lines.append(f"| trial of the issue, `{shape}` | 440 | {' | '.join(map(str, shares))} | | |")
    return [*lines, ""]


def _paper_table() -> list[str]:
    lines = [
        PAPER_NOTE.format(clean=PAPER_CLEAN),
        "| quality | without the module | with it | regained (%) |",
        "|---|---|---|---|",
    ]
    for quality, (direct, corrected) in PAPER.items():
        regained = 100 * (corrected - direct) / (PAPER_CLEAN - direct)
        lines.append(f"| {quality} | {direct:.1f} | {corrected:.1f} | {regained:.0f} |")
    return [*lines, ""]


def _table(record: dict[str, Any]) -> list[str]:
    """Return one evaluation as a Markdown section."""
    clean = record["clean"]
    harm = clean["afd_top1"] - clean["top1"]
    first = "times" if record["protocol"] == "repeated" else "quality"
    lines = [
        f"### {record['model']}, {record['protocol']}, {record['images']} photos",
        "",
        f"| {first} | without the module | with it | gain | regained (%) |",
        "|---|---|---|---|---|",
        f"| clean | {clean['top1']:.1f} | {clean['afd_top1']:.1f} | {harm:+.1f} | |",
    ]
    for row in record["rows"]:
        gain = f"{row['top1_gain']:+.1f} ({row['top1_gain_low']:+.1f}..{row['top1_gain_high']:+.1f})"
        regained = "" if row["regained"] is None else f"{row['regained']:.0f}"
        lines.append(
            f"| {row[first]} | {row['direct_top1']:.1f} | {row['afd_top1']:.1f} | {gain} | {regained} |"
        )
    return [*lines, ""]


def model_card(name: str, module: Module, card: AFDCard, figures: list[str]) -> str:
    """Return a module's card: what it is, its licence, how it was made, its figures (`tables`)."""
    widths = ", ".join(map(str, card.config.stage_widths))
    text = CARD.format(
        name=name,
        card=card,
        config=card.config,
        stages=f"bottlenecks of {widths} after the stages" if widths else "nothing after the stages",
        size=(WEIGHTS_DIRECTORY / f"{name}_afd.safetensors").stat().st_size,
        module=module,
        training=card.training,
        runs=training_runs(module, card.training),
        licensors="classifier and teachers" if card.training.get("teachers") else "the classifier",
    )
    return _wrapped(text) + "\n".join(figures).rstrip() + "\n"


def training_runs(module: Module, training: dict[str, Any]) -> str:
    """Return the trainings that led to a module, from its metadata, in a sentence or three."""
    runs = [*training.get("earlier", ()), training]
    means = [*training.get("averaged_before", ()), training.get("averaged_with")]
    beside = [run for run in means if run and not any(_same_run(run, other) for other in runs)]
    crop = get_spec(module.model).crop
    told = [_told(run, crop) for run in runs]
    views = f"{sum(run['images_seen'] for run in [*runs, *beside]):,} views in all."
    if len(told) == 1:
        text = f"{told[0]}, {views}"
    else:
        text = f"Runs, each from the averaged weights of the one before: {'; '.join(told)}; {views}"
    for run in beside:
        text += f" Beside the last, from the same weights, ran another: {_told(run, crop)}; both count half."
    if means[-1] and means[-1] not in beside:
        text += (
            " What ships is the mean of the weights before and after the last run (`tools/average_afd.py`)."
        )
    if "pruned_from" in training:
        before = ", ".join(map(str, training["pruned_from"]["stage_widths"]))
        text += f" The bottlenecks, trained with {before} channels, were pruned then (`tools/prune_afd.py`)."
    return text


def _told(run: dict[str, Any], crop: int) -> str:
    """Return how long a run was, on what views, and which other networks taught in it."""
    return (
        f"{run['steps_done']:,} steps of {run['batch_size']} views of {run['crop'] or crop} pixels "
        f"({run['seconds'] / 60:.0f} minutes{_taught(run)})"
    )


def _same_run(run: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(run[key] == other[key] for key in ("seed", "steps_done", "seconds"))


def _taught(run: dict[str, Any]) -> str:
    """Say which other networks taught in a run, and what they counted where it was not half."""
    names = [teacher.partition("=")[0] for teacher in run.get("teachers", ())]
    share = run.get("teacher_share", 0.5)
    counted = "" if share == 0.5 else f", which counted {100 * share:.0f} %"
    return f"; taught by {' and '.join(f'`{name}`' for name in names)}, too{counted}" if names else ""


def _wrapped(text: str) -> str:
    """Fill paragraphs to 110 columns; tables and headings stay as they are."""
    paragraphs = (
        part if part.startswith(("|", "#")) else textwrap.fill(part, 110, break_on_hyphens=False)
        for part in text.split("\n\n")
    )
    return "\n\n".join(paragraphs)


if __name__ == "__main__":
    main()
