"""A PyTorch classifier as a graph for another runtime, checked against PyTorch before it is used."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dctafd.config import Preprocessing
from dctafd.inference.assembly import softmax
from dctafd.inference.block_sums import FirstLayer
from dctafd.inference.graph_networks import Graph, open_graph
from dctafd.inference.network import Answer
from dctafd.inputs.model_input import stack_inputs, tensors_of
from dctafd.inputs.prepare import prepare_for
from dctafd.nets.attach import CorrectedClassifier, FrozenClassifier
from dctafd.nets.fde_net import BlockSums, FDENet

GRAPH_FILES = {"openvino": "graph.xml", "onnxruntime": "graph.onnx"}

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
    path = directory / GRAPH_FILES[runtime]
    if not isinstance(module, CorrectedClassifier):
        return Graph(path, weights_digest, corrects=False)
    return Graph(path, weights_digest, corrects=True, reads_surviving=module.afd.config.reads_surviving)


def first_layer_of(fde: FDENet) -> FirstLayer:
    """Return FDE-Net's first layer as NumPy has it."""
    weight = fde.block.weight.detach().flatten(1)  # (width, 384)
    weights = weight.unflatten(1, (2, -1)).permute(1, 2, 0)  # (2, 192, width)
    return FirstLayer(np.ascontiguousarray(weights.numpy()), fde.reads_surviving)


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
    first_layer = None
    if isinstance(module, CorrectedClassifier):
        first_layer = first_layer_of(module.afd.fde)
        first_layer.save(graph.first_layer)
    outputs = _Outputs(module).eval()
    write = _write_openvino if runtime == "openvino" else _write_onnx
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inputs = graph.inputs(arrays, first_layer)
            write(_exported(outputs, inputs), inputs, graph.path)
            answer = open_graph(graph, runtime, "float32").run(arrays)
    except Exception as error:  # exporters raise whatever they like
        reason = str(error).strip().splitlines() or [""]
        raise ExportError(f"{type(error).__name__}: {reason[0][:200]}") from error
    with torch.inference_mode():
        expected = [
            output.numpy() for output in outputs(*tensors_of(arrays if graph.corrects else arrays[:1]))
        ]
    check_answer(answer, expected)
    return graph


class _Outputs(nn.Module):
    """A classifier whose outputs are those of `Network.run`."""

    def __init__(self, module: FrozenClassifier) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor, *told: Tensor | BlockSums) -> tuple[Tensor, ...]:
        """Return logits (B, classes), and FDM channel 0 (B, G, G) where an AFD-Module corrects."""
        output = self.module(pixels, *told)
        return (output.logits,) if output.fdm is None else (output.logits, output.fdm[:, 0])


def _exported(outputs: _Outputs, inputs: Sequence[NDArray[Any]]) -> torch.export.ExportedProgram:
    """Export with a free batch size for what `Graph.inputs` returns."""
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    tensors: tuple[Any, ...] = tensors_of(inputs)
    free: tuple[Any, ...] = tuple(batch for _ in tensors)
    if len(tensors) > 1:
        pixels, *sums = tensors[:3]
        tensors = (pixels, BlockSums(*sums), *tensors[3:])
        free = (batch, BlockSums(batch, batch), *free[3:])  # type: ignore[arg-type]
    shapes = (free[0], free[1:]) if free[1:] else free  # as `_Outputs.forward` takes them
    with torch.no_grad():
        return torch.export.export(outputs, tensors, dynamic_shapes=shapes)


def _write_openvino(program: Any, arrays: Sequence[NDArray[np.float32]], path: Path) -> None:
    import openvino

    model = openvino.convert_model(program)
    shapes = {port: [-1, *array.shape[1:]] for port, array in zip(model.inputs, arrays, strict=True)}
    model.reshape(shapes)  # else all sides are free, which costs speed
    openvino.save_model(model, path, compress_to_fp16=False)


def _write_onnx(program: Any, arrays: Sequence[NDArray[np.float32]], path: Path) -> None:
    torch.onnx.export(program, (), path, dynamo=True, external_data=False, verbose=False)


def check_answer(answer: Answer, expected: Sequence[NDArray[np.float32]]) -> None:
    """Raise `ExportError` where scores or drift are further than `TOLERANCE` from PyTorch's outputs."""
    found = [softmax(answer.logits)] + ([] if answer.drift is None else [answer.drift])
    wanted = [softmax(expected[0]), *expected[1:]]
    difference = np.max([np.abs(a - b).max() for a, b in zip(found, wanted, strict=True)])
    if not difference <= TOLERANCE:  # NaN, too
        raise ExportError(f"its answers differ from PyTorch's by {difference:.2g}")
