"""Whether agreement ranks modules as accuracy does: one that ships, and the same with noise in its weights.

    python -m tools.checks.measures_agree --images ../shared/images/eval --limit 200 \
        -o docs/results/measures_agree.json

Accuracy needs labels, agreement (the answer on the compressed photo is that on the uncompressed one) does
not. All modules see the same prepared photos.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.protocols import AS_IT_IS, protocol_conditions
from dctafd.inputs.model_input import collate
from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import select_afd
from dctafd.nets.attach import attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import load_backbone
from tools.checks.calibration import listed_photos, spread
from tools.checks.provenance import provenance

BATCH = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One module.

    Attributes:
        noise: standard deviation of what was added to each tensor, in units of its own; None for no module.
        accuracy, agreement: per cent, mean over the qualities.
        accuracy_gain, agreement_gain: points over no module.
        accuracy_error, agreement_error: standard errors of the gains over photos.
    """

    noise: float | None
    accuracy: float
    agreement: float
    accuracy_gain: float
    agreement_gain: float
    accuracy_error: float
    agreement_error: float


def noisy(afd: AFDModule, noise: float) -> AFDModule:
    """Return a copy with noise in all weights."""
    changed = copy.deepcopy(afd)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in changed.parameters():
            if parameter.numel() > 1:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise * parameter.std() * drawn)
    return changed


def row_of(
    noise: float | None,
    right: NDArray[np.bool_],
    same: NDArray[np.bool_],
    before: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> Row:
    """Summarise (photos, qualities) answers: right by their labels, and the same as on the clean photo."""
    figures: list[list[float]] = [[], [], []]
    for found, direct in zip((right, same), before, strict=True):
        gains = 100 * (found.astype(float).mean(1) - direct.astype(float).mean(1))  # (photos,)
        figures[0].append(100 * float(found.mean()))
        figures[1].append(float(gains.mean()))
        figures[2].append(float(gains.std(ddof=1) / np.sqrt(len(gains))))
    return Row(noise, *(round(number, 2) for kind in figures for number in kind))


@click.command()
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--limit", default=200, show_default=True, help="Photos, evenly spread.")
@click.option("--qualities", default="7,15", show_default=True)
@click.option("--noise", default="0,0.3,1", show_default=True, help="A module for each.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(model: str, images: Path, limit: int, qualities: str, noise: str, output: Path | None) -> None:
    """Measure modules by both."""
    backbone = load_backbone(model)
    network = fold_batch_norms(backbone.module)
    selected = select_afd("auto", backbone)
    if selected is None:
        raise click.ClickException(f"no module fits {model}")
    afd = selected.module.reparameterize()
    levels = [float(part) for part in noise.split(",")]
    classifiers = [attach(network, noisy(afd, level)) for level in levels]
    photos = spread(listed_photos(images), limit)
    conditions = [AS_IT_IS, *protocol_conditions("single", [int(part) for part in qualities.split(",")])]
    answers = []  # (no module and modules, qualities, photos of the batch)
    clean: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(photos), BATCH):
            files = [path.read_bytes() for path, _ in photos[start : start + BATCH]]
            inputs = [compressed_inputs(file, conditions, backbone.spec) for file in files]
            batches = [collate(list(column)) for column in zip(*inputs, strict=True)]
            clean += network(batches[0].pixels).argmax(1).tolist()
            answers.append(
                np.stack(
                    [
                        np.stack([network(batch.pixels).argmax(1).numpy() for batch in batches[1:]]),
                        *(
                            np.stack(
                                [net(*batch.tensors()).logits.argmax(1).numpy() for batch in batches[1:]]
                            )
                            for net in classifiers
                        ),
                    ]
                )
            )
            click.echo(f"{start + len(files)} of {len(photos)} photos", err=True)
    found = np.concatenate(answers, 2).transpose(0, 2, 1)  # (modules, photos, qualities)
    labels = np.array([label for _, label in photos])[:, None]
    rows = rows_of([None, *levels], found, labels, np.array(clean)[:, None])
    for row in rows:
        name = "no module" if row.noise is None else f"noise {row.noise:g}"
        click.echo(
            f"{name:10} accuracy {row.accuracy:.1f} ({row.accuracy_gain:+.1f} ± {row.accuracy_error:.1f})  "
            f"agreement {row.agreement:.1f} ({row.agreement_gain:+.1f} ± {row.agreement_error:.1f})"
        )
    if output is not None:
        record = {
            **provenance(),
            "photos": len(photos),
            "clean_top1": round(100 * float((np.array(clean)[:, None] == labels).mean()), 2),
            "rows": [asdict(row) for row in rows],
        }
        output.write_text(json.dumps(record, indent=1) + "\n")


def rows_of(
    levels: Sequence[float | None],
    found: NDArray[np.int64],
    labels: NDArray[np.int64],
    clean: NDArray[np.int64],
) -> list[Row]:
    """Return a row per module, the first of which is none."""
    before = found[0] == labels, found[0] == clean
    return [
        row_of(level, answers == labels, answers == clean, before)
        for level, answers in zip(levels, found, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
