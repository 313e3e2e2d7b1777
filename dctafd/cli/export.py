"""`dctafd export`: the corrected classifier as an ONNX model or a torch.export program."""

from __future__ import annotations

from pathlib import Path

import click

from dctafd.cli.model_options import afd_option, model_options
from dctafd.cli.output import note, quiet_option


@click.command()
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file: .onnx, or .pt2 for a torch.export program.",
)
@model_options
@afd_option
@quiet_option
def command(output: Path, model: str, weights: str | None, afd: str, quiet: bool) -> None:
    """Write the corrected classifier, re-parameterised, for ONNX Runtime or torch.export.

    Its inputs are those that `dctafd.prepare` gives, with a batch axis before them; its output is logits.

    \b
    Example:
      dctafd export --model builtin -o builtin.onnx
    """
    from dctafd.analysis.export import SUFFIXES, export_classifier
    from dctafd.cli.evaluate import load_corrected
    from dctafd.nets.registry import load_backbone

    if output.suffix not in SUFFIXES:
        raise click.UsageError(f"-o {output} should end in {' or '.join(SUFFIXES)}")
    backbone = load_backbone(model, weights)
    classifier = load_corrected(backbone, afd, quiet)
    export_classifier(classifier or backbone.module, backbone.spec.crop, output)
    note(f"wrote {output}", quiet)
