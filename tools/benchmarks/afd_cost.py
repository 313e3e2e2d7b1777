"""Measure what the AFD-Module adds to a classifier's time on the CPU, as a ratio of times in one run.

    python -m tools.benchmarks.afd_cost                     # ResNet-50, both shapes and as shipped, batch 8
    python -m tools.benchmarks.afd_cost --model resnet18 --batch-size 1
    python -m tools.benchmarks.afd_cost --model efficientnet_lite0 --runtime openvino

Weights do not matter for the time, so random ones are used and none need be at hand. Bare and corrected
network take turns, and each turn's ratio is one sample: a machine that is busy slows both. The photos are of
quality 10, so that they have drifted and none of them is spared the corrections.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import numpy as np
import torch
from torch import nn

from dctafd.config import Preprocessing
from dctafd.inference.graph_export import SUFFIXES, example_inputs, export_graph
from dctafd.inference.graph_networks import open_graph
from dctafd.inference.network import Network
from dctafd.inference.torch_network import TorchNetwork
from dctafd.nets.afd import AFDModule, Variant
from dctafd.nets.afd_weights import load_afd
from dctafd.nets.attach import FrozenClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.model_specs import get_spec
from dctafd.nets.registry import WEIGHTS_DIRECTORY, build_architecture
from tools.provenance import write_figures

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def turn_ratios(
    bare: Callable[[], object], corrected: Callable[[], object], turns: int, clock: Callable[[], float]
) -> list[float]:
    """Return time(corrected) / time(bare) of each turn, after one turn that does not count."""
    ratios = []
    for _ in range(turns + 1):
        start = clock()
        bare()
        middle = clock()
        corrected()
        ratios.append((clock() - middle) / (middle - start))
    return ratios[1:]


def network_of(
    module: FrozenClassifier, preprocessing: Preprocessing, runtime: str, directory: Path
) -> Network:
    """Return a classifier as `load_classifier` would run it; its graphs go into a directory."""
    if runtime == "torch":
        return TorchNetwork(module, "cpu")
    directory.mkdir()
    graph = export_graph(module.eval(), preprocessing, runtime, directory, "")
    return open_graph(graph, runtime, "float32")


def modules(model: str, backbone: nn.Module, crop: int) -> dict[str, AFDModule]:
    """Return both shapes in their default widths and, if one ships for this model, its module; folded."""
    found = {name: AFDModule.for_backbone(backbone, name, input_size=crop) for name in get_args(Variant)}
    shipped = WEIGHTS_DIRECTORY / f"{model}_afd.safetensors"
    if shipped.is_file():
        found["shipped"] = load_afd(shipped)
    return {name: afd.eval().reparameterize() for name, afd in found.items()}


@click.command()
@click.option("--model", default="resnet50", show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--turns", default=15, show_default=True)
@click.option("--runtime", type=click.Choice(["torch", *SUFFIXES]), default="torch", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--clock",
    type=click.Choice(list(CLOCKS)),
    default="wall",
    show_default=True,
    help="wall, or the process's CPU time where others use the machine, too.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A JSON file for the shipped module alone, beside the rows that it has of other runtimes.",
)
def main(
    model: str, batch_size: int, turns: int, runtime: str, threads: int, clock: str, output: Path | None
) -> None:
    """Print the added time of both shapes and of the shipped module: median and quartiles over the turns."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = get_spec(model)
    backbone = build_architecture(spec).eval()
    folded = fold_batch_norms(backbone)
    arrays = [np.repeat(array, batch_size, 0)[:batch_size] for array in example_inputs(spec.preprocessing)]
    for shape, afd in modules(model, backbone, spec.crop).items():
        if output is not None and shape != "shipped":
            continue
        with tempfile.TemporaryDirectory() as folder:
            bare, corrected = (
                network_of(attach(folded, one), spec.preprocessing, runtime, Path(folder, name))
                for name, one in (("bare", None), ("corrected", afd))
            )
            for network in (bare, corrected):
                network.use_cores(threads)
                network.side_by_side(1)
            ratios = turn_ratios(
                lambda network=bare: network.run(arrays),  # type: ignore[misc]
                lambda network=corrected: network.run(arrays),  # type: ignore[misc]
                turns,
                CLOCKS[clock],
            )
        low, median, high = (100 * (ratio - 1) for ratio in statistics.quantiles(ratios, n=4))
        parameters = sum(parameter.numel() for parameter in afd.parameters())
        print(
            f"{model} {shape}, {runtime}: +{median:.1f} % time (quartiles {low:.1f} to {high:.1f}, "
            f"{clock} clock, batch {batch_size}, {threads} threads, {turns} turns), {parameters:,} parameters"
        )
        if output is not None:
            settings = {"batch_size": batch_size, "threads": threads, "turns": turns, "clock": clock}
            figures = {"median": round(median, 1), "low": round(low, 1), "high": round(high, 1)}
            row = {"module": model, "runtime": runtime, **figures, **settings}
            write_figures(output, [row], instead_of="runtime")


if __name__ == "__main__":
    main()
