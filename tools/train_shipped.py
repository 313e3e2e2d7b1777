"""Make, measure and tabulate the AFD-Modules that ship with dctafd, from ../shared alone.

    python tools/train_shipped.py train resnet18 --minutes 120
    python tools/train_shipped.py measure resnet18            # every protocol of `dctafd evaluate`
    python tools/train_shipped.py tables > docs/results.md    # all that was measured

`train` writes dctafd/nets/weights/NAME_afd.safetensors, `measure` JSON in runs/shipped. Each runs commands of
dctafd's own and prints them; a training that was cut off goes on where it stopped. The built-in classifier's
module needs `tools/train_builtin.py` first.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from dctafd.nets.registry import WEIGHTS_DIRECTORY

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
RUN = REPOSITORY / "runs" / "shipped"
PROTOCOLS = ("single", "imagenet-c", "native", "repeated")
QUALITIES = (7, 10, 15, 18, 25, 90)

# What the paper's Table V says of ResNet-50 on ImageNet-C's validation set: quality -> (direct, corrected).
PAPER = {7: (31.65, 49.02), 10: (47.50, 57.24), 15: (59.28, 62.91), 18: (62.47, 64.79), 25: (66.16, 67.10)}
PAPER_CLEAN = 76.13  # torchvision's IMAGENET1K_V1; Table V has no row for clean photos


IMAGENET_ARGUMENTS = (
    *("--crop", "128", "--boxes", "8", "--batch-size", "16", "--stage-widths", "24,64,96,128"),
    *("--learning-rate", "1.5e-3", "--ema-decay", "0.997", "--held-out", "48", "--validate-every", "100000"),
)


@dataclass(frozen=True, slots=True)
class Module:
    """One shipped file.

    Attributes:
        model: the frozen classifier it is trained against, as `--model` names it.
        serves: models that `--afd auto` uses it for.
        licence: of the weights, after that of the classifier.
        checkpoint: the classifier's file in ../shared/weights, None for the built-in one.
        photos: arguments of `--images`.
        arguments: of `dctafd train` besides.
        transferred_from: another one of `MODULES`, for the same architecture, from whose checkpoint it
            starts (`transfer_afd.py`).
    """

    model: str
    serves: tuple[str, ...]
    licence: str
    checkpoint: str | None
    photos: tuple[Path, ...] = (SHARED / "images/train",)
    arguments: tuple[str, ...] = IMAGENET_ARGUMENTS
    transferred_from: str | None = None


MODULES = {
    "builtin": Module(
        "builtin",
        ("builtin",),
        "Apache-2.0",
        None,
        (SHARED / "images/train", REPOSITORY / "runs/builtin/photos.txt"),
        ("--batch-size", "32", "--validate-every", "500"),
    ),
    "resnet18": Module("resnet18_ktb", ("resnet18", "resnet18_ktb"), "CC BY-NC 4.0", "resnet18_ktb"),
    "resnet50": Module(
        "resnet50_ktb",
        ("resnet50", "resnet50_ktb"),
        "CC BY-NC 4.0",
        "resnet50_ktb",
        transferred_from="resnet50_pqf",
    ),
    "resnet50_pqf": Module("resnet50_pqf", ("resnet50_pqf",), "Uber non-commercial", "resnet50_pqf"),
    "squeezenet1_1": Module(
        "squeezenet1_1_onnxzoo",
        ("squeezenet1_1", "squeezenet1_1_onnxzoo"),
        "Apache-2.0",
        "squeezenet1_1_onnxzoo",
    ),
    "mobilenet_v2": Module("mobilenet_v2_coral", ("mobilenet_v2_coral",), "Apache-2.0", "mobilenet_v2_coral"),
}

names_argument = click.argument("names", nargs=-1, required=True, type=click.Choice(sorted(MODULES)))


@click.group()
def main() -> None:
    """Make, measure and tabulate the AFD-Modules that ship with dctafd."""


@main.command()
@names_argument
@click.option("--minutes", default=120.0, show_default=True, help="Time for each module.")
@click.option("--start-from", type=click.Path(exists=True, dir_okay=False), help="Another's checkpoint.")
def train(names: Sequence[str], minutes: float, start_from: str | None) -> None:
    """Train modules and put their files where the package looks for them."""
    RUN.mkdir(parents=True, exist_ok=True)
    for name in names:
        module = MODULES[name]
        output = RUN / f"{name}_afd.safetensors"
        photos = [part for folder in module.photos for part in ("--images", str(folder))]
        serves = [part for model in module.serves for part in ("--serves", model)]
        first = start_from or (_transferred(module) if module.transferred_from else None)
        beginning = ["--start-from", first] if first else []
        what = [*photos, *_model_arguments(module), "-o", str(output), "--licence", module.licence, *serves]
        _dctafd(["train", *what, "--minutes", str(minutes), *module.arguments, *beginning])
        (WEIGHTS_DIRECTORY / output.name).write_bytes(output.read_bytes())


@main.command()
@click.argument(
    "names", nargs=-1, required=True, type=click.Choice([name for name in MODULES if name != "builtin"])
)
@click.option("--limit", type=int, help="Only the first so many photos.")
@click.option("--protocol", "protocols", multiple=True, default=PROTOCOLS, type=click.Choice(PROTOCOLS))
def measure(names: Sequence[str], limit: int | None, protocols: Sequence[str]) -> None:
    """Measure shipped ImageNet modules on ../shared/images/eval (`measure_builtin.py` measures the other)."""
    RUN.mkdir(parents=True, exist_ok=True)
    photos = SHARED / "images/eval"
    for name in names:
        if not (WEIGHTS_DIRECTORY / f"{name}_afd.safetensors").is_file():
            raise click.ClickException(f"no module for {name} is shipped: `train {name}` makes one")
        for protocol in protocols:
            _dctafd(
                ["evaluate", "--images", str(photos), "--labels", str(photos / "labels.csv")]
                + [*_model_arguments(MODULES[name]), "--protocol", protocol, "--format", "json"]
                + ([] if protocol == "repeated" else ["--qualities", ",".join(map(str, QUALITIES))])
                + (["--limit", str(limit)] if limit else [])
                + ["-o", str(RUN / f"{name}.{protocol}.json")]
            )


@main.command()
def tables() -> None:
    """Print every measured table as Markdown."""
    click.echo(
        "# Results\n\nTop-1 on photos of `../shared/images/eval` (ImageNet's validation set, 227 x 227\n"
        "pixels, about quality 95), which no module was trained on. `gain` is in points, with its\n"
        "95 % interval (paired bootstrap over photos), `regained` the share of what JPEG took.\n"
        "Written by `python tools/train_shipped.py tables`, after its `train` and `measure`.\n"
    )
    for name in MODULES:
        for protocol in PROTOCOLS:
            path = RUN / f"{name}.{protocol}.json"
            if path.is_file():
                click.echo("\n".join(_table(json.loads(path.read_text()))))
    click.echo("\n".join(_paper_table()))


def _table(record: dict) -> list[str]:
    clean = record["clean"]
    harm = clean["afd_top1"] - clean["top1"]
    first = "times" if record["protocol"] == "repeated" else "quality"
    lines = [
        f"## {record['model']}, {record['protocol']}\n",
        f"{record['images']} photos.\n",
        f"| {first} | without the module | with it | gain | regained (%) |",
        "|---|---|---|---|---|",
        f"| clean | {clean['top1']:.1f} | {clean['afd_top1']:.1f} | {harm:+.1f} | |",
    ]
    for row in record["rows"]:
        gain = f"{row['top1_gain']:+.1f} ({row['top1_gain_low']:+.1f}..{row['top1_gain_high']:+.1f})"
        regained = "" if row["regained"] is None else f"{row['regained']:.0f}"
        lines.append(
            f"| {row[first]} | {row['direct_top1']:.1f} | {row['afd_top1']:.1f} | {gain} | {regained} |"
        )
    return [*lines, ""]


def _paper_table() -> list[str]:
    lines = [
        "## The paper's ResNet-50\n",
        "Table V of the FDE-Net paper: torchvision's IMAGENET1K_V1 on all 50,000 validation photos, resized\n"
        "and cropped before JPEG (as protocol `single`, or `imagenet-c`). What JPEG took is counted from\n"
        f"{PAPER_CLEAN} % clean.\n",
        "| quality | without the module | with it | regained (%) |",
        "|---|---|---|---|",
    ]
    for quality, (direct, corrected) in PAPER.items():
        regained = 100 * (corrected - direct) / (PAPER_CLEAN - direct)
        lines.append(f"| {quality} | {direct:.1f} | {corrected:.1f} | {regained:.0f} |")
    return lines


def _model_arguments(module: Module) -> list[str]:
    if module.checkpoint is None:
        return ["--model", module.model]
    return ["--model", module.model, "--weights", str(_state_dict_file(module.checkpoint))]


def _transferred(module: Module) -> str:
    """Carry the other module over, once, and return the checkpoint to start from."""
    assert module.checkpoint is not None
    assert module.transferred_from is not None
    output = RUN / f"{module.checkpoint}.transferred.pt"
    if not output.is_file():
        other = MODULES[module.transferred_from]
        assert other.checkpoint is not None
        models = [
            part
            for option, one in (("--from", other), ("--to", module))
            for part in (option, one.model, str(_state_dict_file(str(one.checkpoint))))
        ]
        images = [part for folder in module.photos for part in ("--images", str(folder))]
        checkpoint = RUN / f"{module.transferred_from}_afd.checkpoint.pt"
        script = Path(__file__).with_name("transfer_afd.py")
        _run([str(script), str(checkpoint), *models, *images, "-o", str(output)])
    return str(output)


def _state_dict_file(name: str) -> Path:
    """Return the checkpoint as a state dict in runs/, converted from ../shared/weights/NAME.npz."""
    path = RUN / f"{name}.pth"
    if not path.is_file():
        torch.save(_read_shared(SHARED / "weights" / f"{name}.npz"), path)
    return path


def _read_shared(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint of ../shared; product-quantised tensors are put together from their codebooks."""
    state = {}
    with np.load(path) as stored:
        for key in stored.files:
            name, _, part = key.partition("::")
            if part == "codes":
                rows = stored[f"{name}::codebook"].astype(np.float32)[stored[key]]
                state[name] = torch.from_numpy(rows.reshape(stored[f"{name}::shape"]))
            elif not part:
                state[name] = torch.from_numpy(stored[key])
    return state


def _dctafd(arguments: Sequence[str]) -> None:
    _run(["-m", "dctafd", *arguments])


def _run(arguments: Sequence[str]) -> None:
    click.echo("$ python " + shlex.join(arguments), err=True)
    subprocess.run([sys.executable, *arguments], check=True)


if __name__ == "__main__":
    main()
