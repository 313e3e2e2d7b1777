"""Train variants of the AFD-Module with the same budget and compare them: what does each part give?

    python tools/ablate_afd.py --images ../shared/images/train --model builtin --minutes 10 -o ablations.md

Each row is one training with the same photos, seed, steps or minutes. It is measured on held-out photos by
how often the corrected network gives the answer that the frozen network gives on the clean photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets.attach import CorrectedClassifier, Features
from dctafd.nets.fde_net import FDENet
from dctafd.nets.registry import load_backbone
from dctafd.training.config import Machine, TrainingConfig
from dctafd.training.data import find_photos, load_photos
from dctafd.training.losses import LossWeights
from dctafd.training.trainer import Trainer
from dctafd.training.validation import Validation, ValidationRow, split_photos

# What FDE-Net is replaced by --------------------------------------------------------------------------


class WithoutSteps(nn.Module):
    """FDE-Net that sees neither the quantisation steps nor the primary quality."""

    def __init__(self, fde: FDENet) -> None:
        super().__init__()
        self.fde = fde

    def forward(self, coefficients: Tensor, steps: Tensor, scale: Tensor, primary_quality: Tensor) -> Tensor:
        """Return the FDM, (B, F, G, G)."""
        return self.fde(coefficients, torch.zeros_like(steps), scale, torch.zeros_like(primary_quality))


class WithoutFDM(WithoutSteps):
    """No map: corrections are applied everywhere, whatever the file says."""

    def forward(self, coefficients: Tensor, steps: Tensor, scale: Tensor, primary_quality: Tensor) -> Tensor:
        """Return a map of (B, F, G, G) whose channel 0, the drift, is 1 and all others 0."""
        fdm = 0 * self.fde(coefficients, steps, scale, primary_quality)
        return torch.cat([fdm[:, :1] + 1, fdm[:, 1:]], 1)


class GlobalGate(WithoutSteps):
    """One FDM vector for the whole photo, as in the code that the paper's authors released."""

    def forward(self, coefficients: Tensor, steps: Tensor, scale: Tensor, primary_quality: Tensor) -> Tensor:
        """Return the FDM's mean everywhere, (B, F, G, G)."""
        fdm = self.fde(coefficients, steps, scale, primary_quality)
        return fdm.mean((2, 3), keepdim=True).expand_as(fdm)


class PixelsOnly(CorrectedClassifier):
    """FDE-Net reads the DCT of the decoded pixels, and no tables: as published."""

    def forward_with_fdm(self, pixels: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes) and the FDM (B, F, G, G)."""
        return super().forward_with_fdm(pixels, *_pixel_inputs(pixels, *others))

    def forward_features(self, pixels: Tensor, *others: Tensor) -> Features:
        """Return logits, FDM and features."""
        return super().forward_features(pixels, *_pixel_inputs(pixels, *others))


def _pixel_inputs(
    pixels: Tensor, coefficients: Tensor, steps: Tensor, scale: Tensor, primary_quality: Tensor
) -> tuple[Tensor, ...]:
    """Put the blockwise DCT of normalised pixels in the coefficients' place, and nothing in the tables'."""
    k = torch.arange(8, device=pixels.device, dtype=pixels.dtype)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    kernels = torch.einsum("vy,ux->vuyx", basis, basis).reshape(64, 1, 8, 8)
    spectrum = functional.conv2d(
        64 * pixels, kernels.repeat(3, 1, 1, 1), stride=8, groups=3
    )  # (B, 192, G, G)
    return spectrum, torch.zeros_like(steps), scale, torch.zeros_like(primary_quality)


# Rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ablation:
    """A variant: changes of the configuration, and what is done to the classifiers before training."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    change: Callable[[CorrectedClassifier], None] = lambda classifier: None


def _replace_fde(wrapper: type[WithoutSteps]) -> Callable[[CorrectedClassifier], None]:
    def change(classifier: CorrectedClassifier) -> None:
        classifier.afd.fde = wrapper(classifier.afd.fde)  # type: ignore[assignment]

    return change


def _read_pixels_only(classifier: CorrectedClassifier) -> None:
    classifier.__class__ = PixelsOnly


def _plain_relus(classifier: CorrectedClassifier) -> None:
    for part in (classifier.afd.fe, *classifier.afd.stages):
        part.activate = nn.ReLU()  # type: ignore[union-attr]


ABLATIONS = (
    Ablation("deep (the default)"),
    Ablation("stem", {"shape": "stem"}),
    Ablation("no FDM", {"losses": LossWeights(drift=0.0)}, _replace_fde(WithoutFDM)),
    Ablation("global gate", {}, _replace_fde(GlobalGate)),
    Ablation("no coefficients (pixels only)", {}, _read_pixels_only),
    Ablation("no steps", {}, _replace_fde(WithoutSteps)),
    Ablation("no RepConv", {"rep_conv": False}),
    Ablation("RepConv at the full rate", {"rep_conv_rate": 1.0}),
    Ablation("plain ReLUs", {}, _plain_relus),
    Ablation("plain ReLUs, RepConv at the full rate", {"rep_conv_rate": 1.0}, _plain_relus),
    Ablation("stem loss only", {"losses": LossWeights(logits=0.0, features=0.0, stem=1.0)}),
    Ablation("no drift loss", {"losses": LossWeights(drift=0.0)}),
    Ablation("plain divergence, no knee", {"divergence_knee": None}),
)


def train_variant(ablation: Ablation, trainer: Trainer) -> tuple[ValidationRow, ...]:
    """Train one variant and return its last validation."""
    for classifier in (trainer.classifier, trainer.average):
        ablation.change(classifier)
    rows: tuple[ValidationRow, ...] = ()

    def keep(report: Any) -> None:
        nonlocal rows
        rows = report.validation or rows

    trainer.run(keep, validate_every=10**9)
    return rows


def table_line(name: str, steps: int, rows: tuple[ValidationRow, ...]) -> str:
    """Return a line of the Markdown table: agreement and KL divergence at each quality."""
    cells = [f"{row.corrected:.1f} ({row.corrected - row.direct:+.1f}), {row.divergence:.3f}" for row in rows]
    return f"| {name} | {steps} | {' | '.join(cells)} |"


@click.command()
@click.option("--images", required=True, multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="builtin", show_default=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False))
@click.option("--steps", type=int, help="The same for each row; or --minutes.")
@click.option("--minutes", type=float)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--held-out", default=200, show_default=True)
@click.option("--only", multiple=True, help="Rows by name; all if none is given.")
@click.option("--threads", default=2, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(
    images: tuple[Path, ...],
    model: str,
    weights: str | None,
    steps: int | None,
    minutes: float | None,
    batch_size: int,
    held_out: int,
    only: tuple[str, ...],
    threads: int,
    output: Path,
) -> None:
    """Write the table, a row as soon as it is trained."""
    backbone, machine = load_backbone(model, weights), Machine.choose(threads=threads)
    training, others = split_photos(find_photos(images), held_out)
    side = round(1.5 * backbone.spec.crop)
    photos, held = (load_photos(paths, side, threads) for paths in (training, others))
    validation = Validation(held, backbone.spec, threads)
    qualities = " | ".join(f"q{quality}" for quality in validation.qualities)
    lines = [f"| variant | steps | {qualities} |", "|---|---|" + "---|" * len(validation.qualities)]
    base = TrainingConfig(steps=steps, minutes=minutes, batch_size=batch_size)
    for ablation in ABLATIONS:
        if only and ablation.name not in only:
            continue
        trainer = Trainer(backbone, photos, replace(base, **ablation.config), machine, validation)
        rows = train_variant(ablation, trainer)
        lines.append(table_line(ablation.name, trainer.state.step, rows))
        click.echo(lines[-1])
        output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
