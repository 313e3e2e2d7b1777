"""`dctafd export`: the corrected classifier as an ONNX model or a torch.export program."""

from __future__ import annotations

from pathlib import Path

import click

from dctafd.cli.loading import load_chosen_afd, load_chosen_backbone
from dctafd.cli.model_choice import ModelChoice, model_options
from dctafd.cli.options import NewFile, quiet_option
from dctafd.cli.stderr import note


@click.command()
@click.option(
    "-o",
    "--output",
    required=True,
    type=NewFile({".onnx": "export", ".pt2": None}),
    help="The file: .onnx, or .pt2 for a torch.export program.",
)
@model_options(device=False)
@quiet_option
def command(output: Path, choice: ModelChoice, quiet: bool) -> None:
    """Write the corrected classifier, re-parameterised, for ONNX Runtime or torch.export.

    Its inputs are those that `dctafd.prepare` gives, with a batch axis before them; its output is logits.
    Class names and preprocessing are in its metadata, as JSON.

    \b
    Example:
      dctafd export --model efficientnet_lite0 -o lite0.onnx
    """
    from dctafd.analysis.export import classifier_metadata, export_classifier
    from dctafd.nets.attach import attach

    backbone = load_chosen_backbone(choice)
    classifier = attach(backbone.module, load_chosen_afd(backbone, choice, quiet))
    export_classifier(classifier, backbone.spec.crop, output, classifier_metadata(backbone))
    note(f"wrote {output}", quiet)
