"""Measure what the AFD-Module adds to a classifier's time on the CPU, as a ratio of times in one run.

    python -m tools.benchmarks.afd_cost                     # ResNet-50, both shapes and as shipped, batch 8
    python -m tools.benchmarks.afd_cost --model resnet18 --batch-size 1

Weights do not matter for the time, so random ones are used and none need be at hand. Bare and corrected
network take turns, and each turn's ratio is one sample: a machine that is busy slows both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import torch
from torch import nn

from dctafd.analysis.export import example_inputs
from dctafd.nets.afd import AFDModule, Variant
from dctafd.nets.afd_weights import load_afd
from dctafd.nets.attach import attach
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


def in_channels_last(module: nn.Module) -> nn.Module:
    """Return the module with its weights in the layout that convolutions on a CPU prefer."""
    return module.to(memory_format=torch.channels_last)


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
    help="A JSON file for the shipped module's row, beside the rows of other modules that it has.",
)
def main(model: str, batch_size: int, turns: int, threads: int, clock: str, output: Path | None) -> None:
    """Print the added time of both shapes and of the shipped module: median and quartiles over the turns."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = get_spec(model)
    backbone = in_channels_last(build_architecture(spec).eval())
    pixels, *others = example_inputs(spec.crop, batch_size)
    pixels = torch.randn_like(pixels).contiguous(memory_format=torch.channels_last)
    for shape, afd in modules(model, backbone, spec.crop).items():
        classifier = in_channels_last(attach(backbone, afd))
        with torch.inference_mode():
            ratios = turn_ratios(
                lambda: backbone(pixels),
                lambda classifier=classifier: classifier(pixels, *others),  # type: ignore[misc]
                turns,
                CLOCKS[clock],
            )
        low, median, high = (100 * (ratio - 1) for ratio in statistics.quantiles(ratios, n=4))
        parameters = sum(parameter.numel() for parameter in afd.parameters())
        print(
            f"{model} {shape}: +{median:.1f} % time (quartiles {low:.1f} to {high:.1f}, {clock} clock, "
            f"batch {batch_size}, {threads} threads, {turns} turns), {parameters:,} parameters"
        )
        if output is not None and shape == "shipped":
            settings = {"batch_size": batch_size, "threads": threads, "turns": turns, "clock": clock}
            figures = {"median": round(median, 1), "low": round(low, 1), "high": round(high, 1)}
            write_figures(output, [{"module": model, **figures, **settings}], instead_of="module")


if __name__ == "__main__":
    main()
