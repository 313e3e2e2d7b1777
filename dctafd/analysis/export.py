"""Write a corrected classifier as an ONNX model or a torch.export program."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import dctafd
from dctafd.extras import require_extra
from dctafd.nets.attach import FrozenClassifier

if TYPE_CHECKING:
    from dctafd.nets.registry import Backbone

SUFFIXES = (".onnx", ".pt2")
METADATA_FILE = "dctafd.json"
INPUT_NAMES = ("pixels", "coefficients", "steps", "survival", "scale", "primary_quality")


def example_inputs(crop: int, batch: int = 2) -> tuple[Tensor, ...]:
    """Return inputs of a corrected classifier with the shapes of an `InputBatch`."""
    grid = crop // 8
    return (
        torch.zeros(batch, 3, crop, crop),
        torch.zeros(batch, 192, grid, grid),
        torch.ones(batch, 192),
        torch.ones(batch, 192),
        torch.ones(batch, 2),
        torch.zeros(batch),
    )


class Logits(nn.Module):
    """A classifier whose output is the tensor of logits, which is what graphs have."""

    def __init__(self, network: FrozenClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B, classes) for the tensors of an `InputBatch`, or pixels alone."""
        return self.network(*inputs).logits


def classifier_metadata(backbone: Backbone) -> dict[str, str]:
    """Return what a program needs besides the network, as texts: JSON but for names and versions."""
    spec = backbone.spec
    return {
        "dctafd": dctafd.__version__,
        "model": spec.name,
        "licence": spec.licence,
        "preprocessing": json.dumps(asdict(spec.preprocessing)),
        "temperature": json.dumps(spec.temperature),
        "labels": json.dumps(backbone.labels, ensure_ascii=False),
    }


def export_classifier(
    network: FrozenClassifier, crop: int, path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network with a free batch size.

    Args:
        network: what `attach` returns, its module re-parameterised; without one the input is "pixels" only.
        crop: side of its input.
        path: .onnx, or .pt2 for a torch.export program.
        metadata: texts that travel in the file: metadata_props of an ONNX model, and `METADATA_FILE` among
            the extra files of a torch.export program.

    Raises:
        ValueError: the suffix is neither.
        MissingExtraError: ONNX is wanted and onnx or onnxscript is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} should end in {' or '.join(SUFFIXES)}")
    inputs = example_inputs(crop)
    if not network.corrects:
        inputs = inputs[:1]
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = (tuple({0: batch} for _ in inputs),)
    exported = Logits(network).eval().cpu()
    if path.suffix == ".pt2":
        program = torch.export.export(exported, inputs, dynamic_shapes=shapes)
        torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(dict(metadata or {}))})
        return
    require_extra("export")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)  # all inputs share the batch's axis
        model = torch.onnx.export(
            exported,
            inputs,
            input_names=list(INPUT_NAMES[: len(inputs)]),
            output_names=["logits"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    assert model is not None
    model.model.metadata_props.update(metadata or {})
    model.save(path, external_data=False)
