"""A PyTorch classifier as a graph for another runtime, checked against PyTorch before it is used."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dctafd.config import Preprocessing
from dctafd.inference.assembly import softmax
from dctafd.inference.block_sums import first_layer_of
from dctafd.inference.graph_networks import Graph, open_graph
from dctafd.inference.network import Answer
from dctafd.inputs.model_input import stack_inputs, tensors_of
from dctafd.inputs.prepare import prepare_for
from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import CorrectedClassifier, FrozenClassifier
from dctafd.nets.fde_net import BlockSums

SUFFIXES = {"openvino": ".xml", "onnxruntime": ".onnx"}

_Write = Callable[[Any, Sequence[Tensor], Path], None]

#: How far a graph's scores and drift may be from PyTorch's.
TOLERANCE = 1e-3


class ExportError(Exception):
    """The network cannot be exported, or the graph answers otherwise."""


def example_inputs(preprocessing: Preprocessing, quality: int = 10) -> tuple[NDArray[np.float32], ...]:
    """Return what `stack_inputs` makes of two photos of noise, compressed at `quality`, for a classifier."""
    inputs = []
    for seed in range(2):
        side = preprocessing.resize
        pixels = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((side, side)).save(buffer, "JPEG", quality=quality)
        inputs.append(prepare_for(buffer.getvalue(), preprocessing))
    return stack_inputs(inputs)


def graph_of(module: FrozenClassifier, directory: Path, runtime: str, weights_digest: str) -> Graph:
    """Return what `export_graph` makes of the same arguments."""
    if not isinstance(module, CorrectedClassifier):
        return Graph(directory, SUFFIXES[runtime], weights_digest)
    config = module.afd.config
    return Graph(directory, SUFFIXES[runtime], weights_digest, config.quiet_drift, config.reads_surviving)


def export_graph(
    module: FrozenClassifier,
    preprocessing: Preprocessing,
    runtime: str,
    directory: Path,
    weights_digest: str,
) -> Graph:
    """Write a network as a graph with a free batch size, and compare its answers with PyTorch's.

    Args:
        module: what `attach` returns, its module re-parameterised; in float32 on the CPU, left as it is.
        preprocessing: what it expects of its pixels.
        runtime: "openvino" or "onnxruntime".
        directory: where the files are written.
        weights_digest: SHA-256 over the weights.

    Raises:
        ExportError: the network cannot be exported, or the graph's answers differ by more than `TOLERANCE`.
    """
    graph = graph_of(module, directory, runtime, weights_digest)
    arrays = example_inputs(preprocessing)
    write = _write_openvino if runtime == "openvino" else _write_onnx
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _write_parts(module, arrays, graph, write)
            plain = open_graph(replace(graph, quiet_drift=None), runtime, "float32").run(arrays)
            answer = open_graph(graph, runtime, "float32").run(arrays)
    except Exception as error:  # exporters raise whatever they like
        reason = str(error).strip().splitlines() or [""]
        raise ExportError(f"{type(error).__name__}: {reason[0][:200]}") from error
    tensors = tensors_of(arrays)
    with torch.inference_mode():
        check_answer(plain, [module(tensors[0]).logits.numpy()])
        if isinstance(module, CorrectedClassifier):
            output = module(*tensors)
            assert output.fdm is not None
            check_answer(answer, [output.logits.numpy(), output.fdm[:, 0].numpy()])
    return graph


class _Plain(nn.Module):
    """A classifier without a module's corrections."""

    def __init__(self, module: FrozenClassifier) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        return self.module(pixels).logits


class _FDENet(nn.Module):
    """FDE-Net after its first layer."""

    def __init__(self, afd: AFDModule) -> None:
        super().__init__()
        self.afd = afd

    def forward(
        self,
        sums: Tensor,
        sizes: Tensor,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the FDM (B, F, G, G) and, where batch norms are modulated, the summary."""
        modulates = self.afd.modulation is not None
        given = BlockSums(sums, sizes)
        fdm, summary = self.afd.fde(given, steps, survival, scale, primary_quality, modulates)
        return (fdm,) if summary is None else (fdm, summary)


class _Corrected(nn.Module):
    """A corrected classifier after FDE-Net."""

    def __init__(self, module: CorrectedClassifier) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor, fdm: Tensor, summary: Tensor | None = None) -> Tensor:
        """Return logits (B, classes)."""
        return self.module.corrected(pixels, self.module.afd.guidance(fdm, summary))


def _write_parts(
    module: FrozenClassifier, arrays: Sequence[NDArray[Any]], graph: Graph, write: _Write
) -> None:
    """Write each `Part` of a classifier, and FDE-Net's first layer."""
    pixels = tensors_of(arrays[:1])
    write(_exported(_Plain(module), pixels), pixels, graph.file("plain"))
    if not isinstance(module, CorrectedClassifier):
        return
    _, coefficients, steps, survival, *rest = arrays
    first_layer = first_layer_of(module.afd.fde)
    first_layer.save(graph.first_layer)
    told = tensors_of([*first_layer.sums(coefficients, steps, survival), steps, survival, *rest])
    fde = _FDENet(module.afd)
    write(_exported(fde, told), told, graph.file("fde_net"))
    with torch.no_grad():
        guided = (*pixels, *fde(*told))
    write(_exported(_Corrected(module), guided), guided, graph.file("corrected"))


def _exported(network: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Export with a free batch size."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        return torch.export.export(network.eval(), inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))


def _write_openvino(program: Any, inputs: Sequence[Tensor], path: Path) -> None:
    import openvino

    model = openvino.convert_model(program)
    shapes = {port: [-1, *tensor.shape[1:]] for port, tensor in zip(model.inputs, inputs, strict=True)}
    model.reshape(shapes)  # else all sides are free, which costs speed
    openvino.save_model(model, path, compress_to_fp16=False)


def _write_onnx(program: Any, inputs: Sequence[Tensor], path: Path) -> None:
    torch.onnx.export(program, (), path, dynamo=True, external_data=False, verbose=False)


def check_answer(answer: Answer, expected: Sequence[NDArray[np.float32]]) -> None:
    """Raise `ExportError` where scores or drift are further than `TOLERANCE` from PyTorch's outputs."""
    found = [softmax(answer.logits)] + ([] if answer.drift is None else [answer.drift])
    wanted = [softmax(expected[0]), *expected[1:]]
    difference = np.max([np.abs(a - b).max() for a, b in zip(found, wanted, strict=True)])
    if not difference <= TOLERANCE:  # NaN, too
        raise ExportError(f"its answers differ from PyTorch's by {difference:.2g}")
