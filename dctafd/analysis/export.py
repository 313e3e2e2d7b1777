"""Write a corrected classifier as an ONNX model or a torch.export program."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dctafd.extras import require_extra
from dctafd.nets.attach import FrozenClassifier

SUFFIXES = (".onnx", ".pt2")
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


def export_classifier(network: FrozenClassifier, crop: int, path: Path) -> None:
    """Write a network with a free batch size.

    Args:
        network: what `attach` returns, its module re-parameterised; without one the input is "pixels" only.
        crop: side of its input.
        path: .onnx, or .pt2 for a torch.export program.

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
        torch.export.save(torch.export.export(exported, inputs, dynamic_shapes=shapes), path)
        return
    require_extra("export")
    torch.onnx.export(
        exported,
        inputs,
        path,
        input_names=list(INPUT_NAMES[: len(inputs)]),
        output_names=["logits"],
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
