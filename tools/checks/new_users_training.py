"""Ten minutes' training for a network of someone's own, and a labelled test of what its report says.

    python -m tools.checks.new_users_training --classes ../shared/images/caltech101 --minutes 10 -o runs/ten

EfficientNet-Lite0 is fine-tuned on half of the photos of ten classes, at 128 pixels. `dctafd.train` then
makes a module for it with its own defaults, from the same photos, and says by those that it held out whether
it helps. The other half of the photos, which neither has seen, tells by their labels whether that is so. What
is left in the folder serves `dctafd classify --weights FOLDER/ten.safetensors`, too.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from dctafd.analysis.evaluate import evaluate
from dctafd.analysis.proven_training import train
from dctafd.analysis.verdict import STRONG_QUALITIES
from dctafd.config import Preprocessing
from dctafd.nets.registry import load_backbone
from dctafd.training.data import load_photos
from dctafd.training.views import random_view
from tools.checks.provenance import provenance

CLASSES = (
    *("butterfly", "crab", "crayfish", "dragonfly", "ibis"),
    *("lobster", "nautilus", "octopus", "scorpion", "starfish"),
)
BATCH = 16
_RESIZE, _CROP = 144, 128  # about what the photos have


def halves(classes: Path, folder: Path) -> tuple[Path, Path]:
    """Copy every other photo of each class to FOLDER/train/CLASS, the others to FOLDER/test/CLASS."""
    for name in CLASSES:
        for number, photo in enumerate(sorted((classes / name).iterdir())):
            target = folder / ("test" if number % 2 else "train") / name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, target)
    return folder / "train", folder / "test"


def fine_tuned(photos: Path, steps: int, preprocessing: Preprocessing) -> nn.Module:
    """Return EfficientNet-Lite0 with a new last layer, its last blocks fine-tuned on one folder per class."""
    network = load_backbone("efficientnet_lite0").module
    network.requires_grad_(False)
    for part in (*network.blocks[4:], network.conv_head):  # type: ignore[index]
        part.requires_grad_(True)
    torch.manual_seed(0)
    network.classifier = nn.Linear(1280, len(CLASSES))
    views = [load_photos(sorted((photos / name).iterdir()), _RESIZE, 1) for name in CLASSES]
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.01, momentum=0.9, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        labels = rng.integers(len(CLASSES), size=BATCH)
        chosen = [views[label][rng.integers(len(views[label]))] for label in labels]
        pixels = np.stack([random_view(photo, (_CROP, _CROP), rng) for photo in chosen])
        batch = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        loss = functional.cross_entropy(network(batch), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if step % 20 == 0:
            click.echo(f"fine-tuning, step {step}: {loss.item():.3f}", err=True)
    return network.eval()


def save_classifier(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write a classifier with its class names and preprocessing."""
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    metadata = {"labels": json.dumps(CLASSES), "preprocessing": json.dumps(asdict(preprocessing))}
    save_file(state, path, metadata)


def summary(agreed: Sequence[float], right: Sequence[float]) -> str:
    """Say whether the labels confirm what the report says; each is a gain and its interval's ends."""
    (gain, low, high), (labelled, labelled_low, labelled_high) = agreed, right
    same = (low > 0) == (labelled_low > 0)
    return (
        f"report: {gain:+.1f} points of agreement ({low:+.1f}..{high:+.1f}); labelled test: "
        f"{labelled:+.1f} points of top-1 ({labelled_low:+.1f}..{labelled_high:+.1f}); "
        f"they {'say the same' if same else 'differ'}"
    )


@click.command()
@click.option(
    "--classes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Labelled photos, one folder per class.",
)
@click.option("--minutes", default=10.0, show_default=True, help="Of `dctafd train`.")
@click.option("--steps", default=80, show_default=True, help="Of the fine-tuning.")
@click.option("--jobs", default=2, show_default=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
def main(classes: Path, minutes: float, steps: int, jobs: int, output: Path) -> None:
    """Fine-tune a classifier, train its module, and compare the report with a labelled test."""
    training, test = halves(classes, output)
    weights, module = output / "ten.safetensors", output / "ten_afd.safetensors"
    spec = load_backbone("efficientnet_lite0").spec
    if not weights.exists():
        preprocessing = Preprocessing(_RESIZE, _CROP, spec.mean, spec.std)
        save_classifier(fine_tuned(training, steps, preprocessing), preprocessing, weights)
    backbone = load_backbone("efficientnet_lite0", weights)

    def say(text: str) -> None:
        click.echo(text, err=True)

    found = train(training, backbone, module, minutes=minutes, jobs=jobs, say=say)
    labelled = evaluate(test, backbone, afd=module, qualities=STRONG_QUALITIES, jobs=jobs)
    mean = labelled.mean_over(STRONG_QUALITIES)
    verdict = found.verdict
    assert verdict is not None
    assert mean.top1_gain is not None
    assert mean.top1_gain_low is not None
    assert mean.top1_gain_high is not None
    click.echo(f"{module.name} {verdict}")
    for row in labelled.rows:
        click.echo(f"quality {row.quality}: top-1 {row.direct_top1:.1f} -> {row.afd_top1:.1f} %")
    click.echo(
        summary(
            (verdict.gain, verdict.gain_low, verdict.gain_high),
            (mean.top1_gain, mean.top1_gain_low, mean.top1_gain_high),
        )
    )
    record = {
        **provenance(),
        "training": found.to_dict(),
        "labelled_test": labelled.to_dict(),
        "labelled_gain": [mean.top1_gain, mean.top1_gain_low, mean.top1_gain_high],
    }
    (output / "result.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
