"""Make and measure the AFD-Modules that ship with dctafd, from ../shared alone.

    python tools/train_shipped.py train resnet18 --minutes 60   # on views of 128 pixels, three times as fast
    python tools/train_shipped.py refine resnet18 --minutes 60  # on views of the classifier's own size
    python tools/train_shipped.py distil resnet50 --minutes 60  # the same, with other networks as teachers
        # (--average ships the mean of the weights before and after: resnet50; --second-seed 34 trains twice
        # from the same weights and ships the mean of both: resnet50_pqf)
    python tools/train_shipped.py prune resnet50              # channels that the others can stand in for
    python tools/train_shipped.py measure resnet18            # every protocol of `dctafd evaluate`
    python tools/report_shipped.py                            # docs/results.md and the model cards

`train` writes dctafd/nets/weights/NAME_afd.safetensors, `measure` JSON in runs/shipped. Each runs commands of
dctafd's own and prints them; a training that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
import runpy
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from shipped_modules import MODULES, PROTOCOLS, QUALITIES, RUN, SHARED, Module

from dctafd.nets.afd_weights import read_afd_card
from dctafd.nets.registry import WEIGHTS_DIRECTORY

names_argument = click.argument("names", nargs=-1, required=True, type=click.Choice(sorted(MODULES)))

start_option = click.option(
    "--start-from", type=click.Path(exists=True, dir_okay=False), help="Another's checkpoint or weights file."
)


@click.group()
def main() -> None:
    """Make and measure the AFD-Modules that ship with dctafd."""


@main.command()
@names_argument
@click.option("--minutes", default=120.0, show_default=True, help="Time for each module.")
@start_option
def train(names: Sequence[str], minutes: float, start_from: str | None) -> None:
    """Train modules and put their files where the package looks for them."""
    for name in names:
        _ship(name, _train(name, f"{name}_afd", MODULES[name].arguments, minutes, start_from))


@main.command()
@names_argument
@click.option("--minutes", default=60.0, show_default=True, help="Time for each module.")
@start_option
def refine(names: Sequence[str], minutes: float, start_from: str | None) -> None:
    """Go on from `train`'s modules, at the classifiers' own crop."""
    for name in names:
        module = MODULES[name]
        if not module.refinement:
            raise click.ClickException(f"{name} is trained at its classifier's own crop")
        begun = start_from or str(RUN / f"{name}_afd.checkpoint.pt")
        _ship(name, _train(name, f"{name}_refined", module.refinement, minutes, begun))


@main.command()
@names_argument
@click.option("--minutes", default=60.0, show_default=True, help="Time for each module.")
@start_option
@click.option("--average", is_flag=True, help="Ship the mean of the weights before and after.")
@click.option("--second-seed", type=int, help="Train once more, with this seed; ship the mean of both.")
def distil(
    names: Sequence[str], minutes: float, start_from: str | None, average: bool, second_seed: int | None
) -> None:
    """Go on from the modules that ship, with other networks as teachers, too."""
    if average and second_seed is not None:
        raise click.UsageError("--average and --second-seed ship different means: give one of them")
    for name in names:
        module = MODULES[name]
        if not module.distillation:
            raise click.ClickException(f"{name} has no recipe for other teachers")
        begun = start_from or str(_shipped_file(name))
        if average and not begun.endswith(".safetensors"):
            raise click.ClickException(f"--average needs a weights file to begin with, not {begun}")
        teachers = [part for teacher in module.teachers for part in ("--teacher", _teacher_argument(teacher))]
        arguments, run = [*module.distillation, *teachers], f"{name}_distilled"
        if second_seed is not None:
            _ship_mean(name, *_train_two(name, run, arguments, second_seed, minutes, begun))
        elif average:
            _ship_mean(name, Path(begun), _train(name, run, arguments, minutes, begun))
        else:
            _ship(name, _train(name, run, arguments, minutes, begun))


@main.command()
@names_argument
def prune(names: Sequence[str]) -> None:
    """Make shipped modules narrower; as they were they stay in runs/shipped, NAME_wide.safetensors."""
    for name in names:
        module, shipped = MODULES[name], _shipped_file(name)
        if not module.pruned_widths:
            raise click.ClickException(f"{name} has no recipe for fewer channels")
        if read_afd_card(shipped).config.stage_widths == module.pruned_widths:
            raise click.ClickException(f"{shipped} is pruned already")
        RUN.mkdir(parents=True, exist_ok=True)
        wide = RUN / f"{name}_wide.safetensors"
        wide.write_bytes(shipped.read_bytes())
        photos = [part for folder in module.photos for part in ("--images", str(folder))]
        widths = ",".join(map(str, module.pruned_widths))
        script = Path(__file__).with_name("prune_afd.py")
        files = ["--afd", str(wide), "-o", str(shipped)]
        _run([str(script), *_model_arguments(module), *photos, *files, "--stage-widths", widths])


def _train(
    name: str, run: str, arguments: Sequence[str], minutes: float | None, start_from: str | None
) -> Path:
    """Train a module as run `run` of runs/shipped, or go on where it stopped; return its weights file.

    `minutes` is None where the arguments say how many steps.
    """
    RUN.mkdir(parents=True, exist_ok=True)
    module, output = MODULES[name], RUN / f"{run}.safetensors"
    photos = [part for folder in module.photos for part in ("--images", str(folder))]
    time = ["--minutes", str(minutes)] if minutes is not None else []
    beginning = ["--start-from", start_from] if start_from else []
    recipe = RUN / f"{run}.toml"
    recipe.write_text(_recipe(arguments, module))
    what = [*photos, *_model_arguments(module), "-o", str(output), "--recipe", str(recipe)]
    _dctafd(["train", *what, *time, *beginning])
    return output


def _recipe(arguments: Sequence[str], module: Module) -> str:
    """Return the TOML file of `dctafd train --recipe`; of options that are given twice the last counts."""
    plain: dict[str, str] = {}
    tables: dict[str, dict[str, str]] = {
        "validation": {},
        "card": {"licence": json.dumps(module.licence)},
    }
    teachers = []
    words = iter(arguments)
    for option in words:
        key = option.removeprefix("--").replace("-", "_")
        if key == "compile":
            plain[key] = "true"
            continue
        value = next(words)
        if key == "teacher":
            teachers.append(value)
        elif key in ("held_out", "validate_every"):
            tables["validation"]["held_out" if key == "held_out" else "every"] = value
        elif key in ("degradations", "loss_weights"):
            table = {"loss_weights": "losses"}.get(key, key)
            tables[table] = dict(pair.split("=") for pair in value.split(","))
        elif key == "stage_widths":
            plain[key] = f"[{value}]"
        elif key == "divergence_knee":
            plain[key] = value if float(value) else "false"
        else:
            plain[key] = value if value[0].isdecimal() else json.dumps(value)
    if teachers:
        plain["teachers"] = json.dumps(teachers)
    lines = [f"{key} = {value}" for key, value in plain.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _train_two(
    name: str, run: str, arguments: Sequence[str], second_seed: int, minutes: float, start_from: str
) -> tuple[Path, Path]:
    """Train a module twice, from the same weights; return the second training's file, then the first's."""
    # New channels are drawn by the seed, and modules in which they differ have no mean: one step makes them.
    begun = str(_train(name, f"{run}_begun", [*arguments, "--steps", "1"], None, start_from))
    output = _train(name, run, arguments, minutes, begun)
    again = [*arguments, "--seed", str(second_seed)]  # the last of two counts
    return _train(name, f"{run}_{second_seed}", again, minutes, begun), output


def _ship(name: str, output: Path) -> None:
    """Put a weights file where the package looks for it."""
    _shipped_file(name).write_bytes(output.read_bytes())


def _ship_mean(name: str, first: Path, second: Path) -> None:
    """Ship the mean of two weights files of one lineage; the card is the second's."""
    script = Path(__file__).with_name("average_afd.py")
    _run([str(script), str(first), str(second), "-o", str(_shipped_file(name))])


def _shipped_file(name: str) -> Path:
    return WEIGHTS_DIRECTORY / f"{name}_afd.safetensors"


@main.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice([*MODULES]))
@click.option("--limit", type=int, help="Only the first so many photos.")
@click.option("--protocol", "protocols", multiple=True, default=PROTOCOLS, type=click.Choice(PROTOCOLS))
def measure(names: Sequence[str], limit: int | None, protocols: Sequence[str]) -> None:
    """Measure shipped ImageNet modules on ../shared/images/eval."""
    RUN.mkdir(parents=True, exist_ok=True)
    photos = SHARED / "images/eval"
    for name in names:
        if not _shipped_file(name).is_file():
            raise click.ClickException(f"no module for {name} is shipped: `train {name}` makes one")
        for protocol in protocols:
            _dctafd(
                ["evaluate", "--images", str(photos), "--labels", str(photos / "labels.csv")]
                + [*_model_arguments(MODULES[name]), "--afd", name]
                + ["--protocol", protocol, "--format", "json"]
                + ([] if protocol == "repeated" else ["--qualities", ",".join(map(str, QUALITIES))])
                + (["--limit", str(limit)] if limit else [])
                + ["-o", str(RUN / f"{name}.{protocol}.json")]
            )


def _model_arguments(module: Module) -> list[str]:
    if module.checkpoint is None:
        return ["--model", module.model]
    return ["--model", module.model, "--weights", str(_state_dict_file(module.checkpoint))]


def _teacher_argument(teacher: str) -> str:
    """Return the argument of `--teacher` for one of `Module.teachers`."""
    return teacher if "=" in teacher else f"{teacher}={_state_dict_file(teacher)}"


def _state_dict_file(name: str) -> Path:
    """Return the checkpoint as a state dict in runs/, converted from ../shared/weights/NAME.npz."""
    path = RUN / f"{name}.pth"
    if not path.is_file():
        load_state_dict = runpy.run_path(str(SHARED / "weights/load.py"))["load_state_dict"]
        torch.save(load_state_dict(SHARED / "weights" / f"{name}.npz"), path)
    return path


def _dctafd(arguments: Sequence[str]) -> None:
    _run(["-m", "dctafd", *arguments])


def _run(arguments: Sequence[str]) -> None:
    click.echo("$ python " + shlex.join(arguments), err=True)
    subprocess.run([sys.executable, *arguments], check=True)


if __name__ == "__main__":
    main()
