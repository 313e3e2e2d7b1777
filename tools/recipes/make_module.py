"""Make and measure the AFD-Modules that ship, each by its recipe, tools/recipes/NAME.toml.

    python -m tools.recipes.make_module train efficientnet_lite0            # every training, in runs/modules
    python -m tools.recipes.make_module train resnet50_pqf --training "whole views" --begin-with a.safetensors
    python -m tools.recipes.make_module train efficientnet_lite0 --ship     # and put it into the package
    python -m tools.recipes.make_module measure efficientnet_lite0 --limit 500 --protocol single
    python -m tools.render_results                                          # tables and model cards

Photos and checkpoints are those of ../shared. A training that was cut off goes on where it stopped.
`measure` writes docs/results/NAME_PROTOCOL.json, with the command, the commit, the machine and the date.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from dctafd.analysis.evaluate import evaluate
from dctafd.analysis.protocols import PROTOCOLS
from dctafd.analysis.proven_training import held_out_count, train
from dctafd.cli.options import usable_cpus
from dctafd.inputs.pictures import decode_picture
from dctafd.nets.afd_weights import load_afd, read_afd_card, save_afd
from dctafd.nets.registry import WEIGHTS_DIRECTORY, Backbone, load_backbone
from dctafd.training.data import find_photos, load_photos
from dctafd.training.quiet_drift import choose_quiet_drift
from dctafd.training.recipe import Recipe
from dctafd.training.validation import split_photos
from dctafd.training.views import Photo
from tools.places import RESULTS, ROOT, SHARED, shared_checkpoint
from tools.provenance import provenance
from tools.recipes.combine import write_mean, write_pruned, write_with_fde_net, write_without_fe_net
from tools.recipes.recipe import ModuleRecipe, TrainingPlan, read_module_recipe, recipe_names

RUNS = ROOT / "runs" / "modules"
QUALITIES = (7, 10, 15, 18, 25, 90)
_PRUNING_PHOTOS = 96


class Maker:
    """Makes one module.

    Args:
        recipe: of the module.
        jobs: threads that make training pairs.
        device: where the networks run.
    """

    def __init__(self, recipe: ModuleRecipe, jobs: int, device: str) -> None:
        self.recipe, self.jobs, self.device = recipe, jobs, device
        RUNS.mkdir(parents=True, exist_ok=True)
        self.images = [SHARED / folder for folder in recipe.photos]

    def make(self, plans: Sequence[TrainingPlan], start: Path | None) -> Path:
        """Run trainings, each from the one before; prune where the recipe says so."""
        for plan in plans:
            if plan.name == self.recipe.prune_before:
                start = self._pruned(start)
            start = self._trained(plan, start)
        return start if start and self.recipe.prune_before else self._pruned(start)

    def _pruned(self, start: Path | None) -> Path:
        """Take out of a file what the recipe says."""
        if start is None:
            raise click.UsageError("a trained module has to be pruned first: give --begin-with")
        if self.recipe.leave_out_fe_net:
            start, whole = self._file("without FE-Net"), start
            write_without_fe_net(whole, start)
        if self.recipe.prune:
            start, wide = self._file("pruned"), start
            lost = write_pruned(wide, start, self.recipe.prune, self._backbone(), self._photos())
            click.echo(f"energy lost: {', '.join(f'{part} {share:.2%}' for part, share in lost.items())}")
        return start

    def _trained(self, plan: TrainingPlan, start: Path | None) -> Path:
        """Run one training, or several whose mean goes on; return the weights file."""
        if not plan.seeds and not plan.mean_with_start:
            after = self._run(plan.name, plan.recipe, start)
            if not plan.fde_net_alone:
                return after
            if start is None:
                raise click.UsageError(f"{plan.name} goes on from a trained module: give --begin-with")
            both = self._file(f"{plan.name} of FDE-Net")
            write_with_fde_net(start, after, both)
            return both
        first = plan.seeds[0] if plan.seeds else plan.recipe.config.seed
        # New channels are drawn by the seed; modules in which they differ have no mean. One step draws them.
        begun = self._run(
            f"{plan.name} begun", _changed(plan.recipe, seed=first, steps=1, minutes=None), start
        )
        after = self._run(f"{plan.name} {first}", _changed(plan.recipe, seed=first), begun)
        before = begun
        if plan.seeds:
            second = plan.seeds[1]
            before = self._run(f"{plan.name} {second}", _changed(plan.recipe, seed=second), begun)
        mean = self._file(f"{plan.name} mean")
        write_mean(before, after, mean)
        self._choose_quiet_drift(mean)
        return mean

    def _choose_quiet_drift(self, path: Path) -> None:
        _, held_out = split_photos(find_photos(self.images), self._held_out())
        pictures = (decode_picture(photo.read_bytes()) for photo in held_out)
        afd, card = load_afd(path), read_afd_card(path)
        quiet = choose_quiet_drift(afd, pictures, self._backbone().spec)
        save_afd(path, afd, replace(card, config=replace(card.config, quiet_drift=quiet)))

    def _run(self, name: str, recipe: Recipe, start: Path | None) -> Path:
        teachers = tuple(f"{name}={checkpoint_file(name)}" for name in recipe.config.teachers)
        output = self._file(name)
        train(
            self.images,
            self._backbone(),
            output,
            config=replace(recipe.config, teachers=teachers),
            held_out=recipe.validation.held_out,
            start_from=start,
            licence=self.recipe.licence,
            device=self.device,
            jobs=self.jobs,
            compile=recipe.compile,
            validate_every=recipe.validation.every,
            say=click.echo,
        )
        return output

    def _file(self, name: str) -> Path:
        return RUNS / f"{self.recipe.name}_{name.replace(' ', '_')}.safetensors"

    def _backbone(self) -> Backbone:
        return backbone_of(self.recipe)

    def _held_out(self) -> int:
        held_out = self.recipe.trainings[-1].recipe.validation.held_out
        return held_out_count(len(find_photos(self.images))) if held_out is None else held_out

    def _photos(self) -> list[Photo]:
        """Load photos to prune by, spread over those that the trainings learn from."""
        learnt_from, _ = split_photos(find_photos(self.images), self._held_out())
        step = max(1, len(learnt_from) // _PRUNING_PHOTOS)
        side = round(1.5 * self._backbone().spec.crop)
        return load_photos(learnt_from[::step][:_PRUNING_PHOTOS], side, self.jobs)


def _changed(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, config=replace(recipe.config, **changes))


def backbone_of(recipe: ModuleRecipe) -> Backbone:
    """Load the classifier that a module corrects."""
    return load_backbone(recipe.model, recipe.checkpoint and checkpoint_file(recipe.checkpoint))


def checkpoint_file(name: str) -> Path:
    """Return a checkpoint as a state dict in runs/modules, converted from ../shared/weights/NAME.npz."""
    path = RUNS / f"{name}.pth"
    if not path.is_file():
        RUNS.mkdir(parents=True, exist_ok=True)
        torch.save(shared_checkpoint(name), path)
    return path


_name = click.argument("name", type=click.Choice(recipe_names()))
_jobs = click.option("--jobs", "-j", default=usable_cpus, type=click.IntRange(min=1), help="CPUs to use.")
_device = click.option("--device", default="auto", show_default=True)
_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Make and measure the AFD-Modules that ship."""


@main.command("train")
@_name
@click.option("--training", help="Only this one of the recipe's trainings.")
@click.option("--begin-with", "start", type=_existing, help="A weights file. [default: as the recipe says]")
@click.option("--ship", is_flag=True, help="Put the file where the package looks for it.")
@_jobs
@_device
def train_command(
    name: str, training: str | None, start: Path | None, ship: bool, jobs: int, device: str
) -> None:
    """Train a module by its recipe; average, prune and leave out as it says."""
    recipe = read_module_recipe(name)
    plans = [plan for plan in recipe.trainings if training in (None, plan.name)]
    if not plans:
        raise click.UsageError(f"{name} has {', '.join(repr(plan.name) for plan in recipe.trainings)}")
    if start is None and recipe.start_from is not None:
        start = _shipped(recipe.start_from)
    made = Maker(recipe, jobs, device).make(plans, start)
    if ship:
        made = Path(shutil.copy(made, _shipped(name)))
    click.echo(f"wrote {made}")


@main.command()
@_name
@click.option("--protocol", "protocols", multiple=True, default=PROTOCOLS[:4], type=click.Choice(PROTOCOLS))
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many photos.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=RESULTS)
@_jobs
@_device
def measure(
    name: str, protocols: Sequence[str], limit: int | None, output: Path, jobs: int, device: str
) -> None:
    """Measure a module that ships on ../shared/images/eval."""
    recipe, photos = read_module_recipe(name), SHARED / "images/eval"
    for protocol in protocols:
        found = evaluate(
            photos,
            backbone_of(recipe),
            afd=name,
            labels=photos / "labels.csv",
            protocol=protocol,  # type: ignore[arg-type]
            limit=limit,
            jobs=jobs,
            device=device,
            **({} if protocol == "repeated" else {"qualities": QUALITIES}),  # type: ignore[arg-type]
        )
        file = output / f"{name}_{protocol}.json"
        file.write_text(json.dumps({**provenance(), "module": name, **found.to_dict()}, indent=1) + "\n")
        click.echo(f"wrote {file}")


def _shipped(name: str) -> Path:
    return WEIGHTS_DIRECTORY / f"{name}_afd.safetensors"


if __name__ == "__main__":
    main()
