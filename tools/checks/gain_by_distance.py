"""How a module's gain falls as the network moves away from the one that it was trained for.

    python -m tools.checks.gain_by_distance --model efficientnet_lite0 --photos ../shared/images/train \
        --classes ../shared/images/caltech101 -o docs/results/gain_by_distance.json

The network is rounded to fewer bits, and fine-tuned for a few steps on a folder of labelled photos. Each time
the module corrects it, and what counts is how often it then says of a compressed photo what it says itself of
the uncompressed one, with the module and without. No labels of the photos are needed. `TOLERANCE` of
`dctafd/nets/fit.py` should be a distance below which the lower end of the gain's interval stays above 0.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dctafd.inputs.model_input import InputBatch
from dctafd.nets.afd_weights import load_afd, read_afd_card, shipped_afds
from dctafd.nets.attach import attach
from dctafd.nets.fit import distances, fingerprints
from dctafd.nets.registry import Backbone, load_backbone
from dctafd.training.data import collate_pairs, find_photos, load_photos, make_pair
from dctafd.training.degrade import Degradation
from dctafd.training.validation import split_photos
from dctafd.training.views import Photo, random_view
from tools.provenance import provenance

BATCH = 16
BITS = (8, 7, 6, 5, 4)
#: Steps of fine-tuning, and their rates.
STEPS = ((1, 0.001), (1, 0.003), (1, 0.01), (3, 0.01), (10, 0.01), (30, 0.01))
_BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One changed network.

    Attributes:
        model: name of the network.
        change: what was done to it.
        distance: largest relative difference of a corrected layer's fingerprint.
        photos: how many.
        without, corrected: agreement with its own answers on the uncompressed photos, per cent.
        gain, low, high: in points, with its 95 % interval (paired bootstrap).
    """

    model: str
    change: str
    distance: float
    photos: int
    without: float
    corrected: float
    gain: float
    low: float
    high: float


def rounded(network: nn.Module, bits: int) -> nn.Module:
    """Return a copy whose convolutions' weights have 2^bits - 1 levels each, symmetric about 0."""
    changed = copy.deepcopy(network)
    most = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for module in changed.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                unit = module.weight.abs().max() / most
                module.weight.copy_((module.weight / unit).round() * unit)
    return changed


def fine_tuned(
    network: nn.Module, classes: Path, size: int, steps: int, rate: float, normalize: Tensor
) -> nn.Module:
    """Return a copy after so many steps on labelled photos, one folder per class, with a new last layer.

    The new layer is left out again, so that the copy still knows the classes it had.
    """
    folders = sorted(folder for folder in classes.iterdir() if folder.is_dir())
    changed, rng = copy.deepcopy(network), np.random.default_rng(0)
    torch.manual_seed(0)
    features: list[Tensor] = []
    *_, last = (module for module in changed.modules() if isinstance(module, nn.Linear))
    head = nn.Linear(last.in_features, len(folders))
    handle = last.register_forward_hook(lambda _m, inputs, _o: features.append(inputs[0]))
    optimizer = torch.optim.SGD([*changed.parameters(), *head.parameters()], lr=rate, momentum=0.9)
    for _ in range(steps):
        labels = rng.integers(len(folders), size=BATCH)
        files = [rng.choice(sorted(folders[label].iterdir())) for label in labels]
        views = [random_view(photo, (size, size), rng) for photo in load_photos(files, size, 1)]
        pixels = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float()
        features.clear()
        changed((pixels / 255 - normalize[0]) / normalize[1])
        loss = functional.cross_entropy(head(features[0]), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    handle.remove()
    return changed


def changed_networks(backbone: Backbone, classes: Path) -> Iterator[tuple[str, nn.Module]]:
    """Yield the network as it is, and changed more and more."""
    spec = backbone.spec
    normalize = torch.tensor([spec.mean, spec.std])[:, None, :, None, None]
    yield "as it is", backbone.module
    for bits in BITS:
        yield f"{bits} bits", rounded(backbone.module, bits)
    for steps, rate in STEPS:
        changed = fine_tuned(backbone.module, classes, spec.crop, steps, rate, normalize)
        yield f"{steps} steps of {rate:g}", changed


@torch.inference_mode()
def agreement(
    network: nn.Module, afd_path: Path, batches: Iterable[tuple[Tensor, list[InputBatch]]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at how many of the qualities each photo's answer is that on the clean one, without and with.

    Both are shares, (photos,).
    """
    classifier = attach(network, load_afd(afd_path).reparameterize())
    found: list[NDArray[np.float64]] = []
    for clean, compressed in batches:
        wanted = classifier(clean).logits.argmax(1)
        answers = [(classifier(batch.pixels), classifier(*batch.tensors())) for batch in compressed]
        same = [[(answer.logits.argmax(1) == wanted).numpy() for answer in both] for both in answers]
        found.append(np.mean(same, 0))  # (2, B)
    without, corrected = np.concatenate(found, 1)
    return without, corrected


def compressed_batches(
    photos: list[Photo], backbone: Backbone, qualities: Sequence[int]
) -> Iterator[tuple[Tensor, list[InputBatch]]]:
    """Yield clean pixels and, for each quality, compressed inputs of the photos, on the classifier's grid."""
    size, rng = (backbone.spec.crop, backbone.spec.crop), np.random.default_rng(1)
    for first in range(0, len(photos), BATCH):
        views = [random_view(photo, size, rng) for photo in photos[first : first + BATCH]]
        batches = [
            collate_pairs([make_pair(view, Degradation(quality), backbone.spec) for view in views])
            for quality in qualities
        ]
        yield batches[0].clean, [batch.compressed for batch in batches]


def row_of(
    model: str, change: str, distance: float, without: NDArray[np.float64], corrected: NDArray[np.float64]
) -> Row:
    """Summarise one changed network."""
    difference = corrected - without
    drawn = np.random.default_rng(0).choice(difference, (_BOOTSTRAP_SAMPLES, len(difference))).mean(1)
    low, high = np.percentile(100 * drawn, [2.5, 97.5])
    shares = [100 * float(part.mean()) for part in (without, corrected)]
    numbers = [round(float(number), 3) for number in (*shares, shares[1] - shares[0], low, high)]
    return Row(model, change, round(distance, 5), len(difference), *numbers)


_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--photos", type=_FOLDER, required=True, help="Photos, of which a part is held out.")
@click.option("--classes", type=_FOLDER, required=True, help="Labelled photos, one folder per class.")
@click.option("--limit", default=100, show_default=True, help="Photos; the recipes hold out as many.")
@click.option("--qualities", default="7,10,15", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(
    model: str,
    weights: Path | None,
    photos: Path,
    classes: Path,
    limit: int,
    qualities: str,
    output: Path | None,
) -> None:
    """Measure a shipped module's gain on its network, changed step by step."""
    backbone = load_backbone(model, weights)
    path = next(path for path in shipped_afds() if read_afd_card(path).model == model)
    card = read_afd_card(path)
    _, held_out = split_photos(find_photos([photos]), limit)
    loaded = load_photos(held_out, round(1.5 * backbone.spec.crop), 1)
    batches = list(compressed_batches(loaded, backbone, [int(part) for part in qualities.split(",")]))
    rows = []
    for change, network in changed_networks(backbone, classes):
        found = distances(card.fingerprints, fingerprints(network, tuple(card.fingerprints)))
        row = row_of(model, change, max(found.values()), *agreement(network, path, batches))
        rows.append(row)
        gain = f"{row.gain:+.1f} ({row.low:+.1f}..{row.high:+.1f})"
        click.echo(
            f"{change:17} distance {row.distance:.4f}  {row.without:.1f} -> {row.corrected:.1f}  {gain}"
        )
    if output is not None:
        before = json.loads(output.read_text())["rows"] if output.is_file() else []
        kept = [row for row in before if row["model"] != model]
        record = {**provenance(), "qualities": qualities, "rows": [*kept, *map(asdict, rows)]}
        output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
