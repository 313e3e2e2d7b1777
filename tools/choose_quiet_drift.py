"""Choose the drift up to which a module leaves photos alone, and write it into its weights file.

    python -m tools.choose_quiet_drift --checkpoints runs/checkpoints --photos ../shared/images/train \
        --module resnet18_ktb --held-out 100 --limit 32 [--write]

Photos that were held out of the training are stored at several sizes (enlarged with a sensor's noise) and
compressed at several qualities. The measure is the KL divergence of the answer from that on the same stored
photo at quality 100, without the module less with it. `quiet_drift` is the largest drift such that photos of
that drift or less gain less than `--least-gain` nats in the mean: there is nothing to win there, so that
nothing is risked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dctafd.inputs.model_input import collate
from dctafd.inputs.pictures import encode_jpeg
from dctafd.inputs.prepare import prepare
from dctafd.nets.afd_weights import load_afd, read_afd_card, save_afd, shipped_afds
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import ModelSpec, load_backbone
from dctafd.training.data import find_photos
from dctafd.training.validation import split_photos
from tools.checks.do_no_harm import with_noise

SCALES = (1.0, 1.5, 2.0, 4.0, 9.0)
QUALITIES = (5, 10, 18, 25, 40, 60, 75, 90, 95)


class Answers(NamedTuple):
    """Of photos in every condition, (photos, scales, qualities) each.

    Attributes:
        drift: that the module saw.
        without, corrected: KL divergence in nats from the answer on the photo at quality 100.
    """

    drift: NDArray[np.float64]
    without: NDArray[np.float64]
    corrected: NDArray[np.float64]


def quiet_drift(answers: Answers, least_gain: float) -> float:
    """Return the largest drift such that photos of at most that gain less than `least_gain` in the mean."""
    order = np.argsort(answers.drift, axis=None)
    drift = answers.drift.ravel()[order]
    gain = (answers.without - answers.corrected).ravel()[order]
    means = np.cumsum(gain) / np.arange(1, len(gain) + 1)
    quiet = np.flatnonzero(means < least_gain)
    return float(drift[quiet[-1]]) if len(quiet) else 0.0


def measure(classifier: CorrectedClassifier, spec: ModelSpec, photos: Sequence[Path]) -> Answers:
    """Answer for every photo in every condition."""
    found = np.empty((3, len(photos), len(SCALES), len(QUALITIES)))
    for row, photo in enumerate(photos):
        for column, scale in enumerate(SCALES):
            found[:, row, column] = _answers(classifier, spec, _stored(photo, scale, row))
    return Answers(*found)


def _stored(photo: Path, scale: float, seed: int) -> NDArray[np.uint8]:
    with Image.open(photo) as image:
        rgb = image.convert("RGB")
    if scale == 1:
        return np.asarray(rgb)
    size = round(rgb.width * scale), round(rgb.height * scale)
    return np.asarray(with_noise(rgb.resize(size, Image.Resampling.BICUBIC), seed))


@torch.inference_mode()
def _answers(classifier: CorrectedClassifier, spec: ModelSpec, pixels: NDArray[np.uint8]) -> NDArray:
    """Return (3, qualities): drift and both divergences of one stored photo."""
    files = [encode_jpeg(pixels, 100, "4:4:4"), *(encode_jpeg(pixels, quality) for quality in QUALITIES)]
    inputs = [prepare(file, spec.resize, spec.crop, mean=spec.mean, std=spec.std) for file in files]
    tensors = collate(inputs).tensors()
    without = classifier(tensors[0].contiguous(memory_format=torch.channels_last))
    corrected = classifier(*tensors)
    assert corrected.fdm is not None
    wanted = without.logits[:1]
    divergences = [_divergence(answer.logits[1:], wanted) for answer in (without, corrected)]
    return torch.stack([corrected.fdm[1:, 0].mean((1, 2)), *divergences]).numpy()


def _divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return KL(wanted || answer) in nats, (B,), for logits (B, classes) and (1, classes)."""
    target = wanted.log_softmax(1).expand_as(logits)
    return functional.kl_div(logits.log_softmax(1), target, reduction="none", log_target=True).sum(1)


def _show(answers: Answers) -> None:
    for column, scale in enumerate(SCALES):
        for index, quality in enumerate(QUALITIES):
            drift, without, corrected = (part[:, column, index] for part in answers)
            gain = without - corrected
            error = 1.96 * gain.std() / len(gain) ** 0.5
            click.echo(
                f"scale {scale:<4g} quality {quality:<3} drift {drift.mean():.4f}, "
                f"KL {without.mean():.3f} to {corrected.mean():.3f}, gain {gain.mean():+.4f} ± {error:.4f}"
            )


def _write(path: Path, quiet: float) -> None:
    """Put the quiet drift into the file of a module whose weights stay as they are."""
    card, afd = read_afd_card(path), load_afd(path)
    save_afd(path, afd, replace(card, config=replace(card.config, quiet_drift=quiet)))


_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--module", required=True, help="Name of a shipped module.")
@click.option("--photos", type=_FOLDER, required=True, help="Photos, of which a part was held out.")
@click.option("--checkpoints", type=_FOLDER, required=True)
@click.option("--held-out", default=100, show_default=True, help="As in the training.")
@click.option("--limit", default=32, show_default=True, help="Photos to use.")
@click.option("--least-gain", default=0.005, show_default=True, help="Nats.")
@click.option("--write", is_flag=True, help="Put it into the weights file.")
def main(
    module: str,
    photos: Path,
    checkpoints: Path,
    held_out: int,
    limit: int,
    least_gain: float,
    write: bool,
) -> None:
    """Choose the drift up to which a module leaves photos alone."""
    path = next(path for path in shipped_afds() if path.name == f"{module}_afd.safetensors")
    card = read_afd_card(path)
    file = checkpoints / f"{card.model}.pth"
    backbone = load_backbone(card.model, file if file.is_file() else None)
    afd = load_afd(path).reparameterize()
    afd.config = replace(afd.config, quiet_drift=0.0)
    classifier = attach(fold_batch_norms(backbone.module), afd)
    _, held = split_photos(find_photos([photos]), held_out)
    answers = measure(classifier, backbone.spec, held[:limit])
    _show(answers)
    quiet = round(quiet_drift(answers, least_gain), 4)
    click.echo(json.dumps({"module": module, "photos": len(held[:limit]), "quiet_drift": quiet}))
    if write:
        _write(path, quiet)


if __name__ == "__main__":
    main()
