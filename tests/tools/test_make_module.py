"""tools/recipes: what each recipe says, and which trainings, means and prunings it leads to."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from dctafd.errors import WeightsError
from dctafd.nets.afd_weights import AFDCard, afd_name, load_afd, read_afd_card, save_afd, shipped_afds
from dctafd.nets.prune import PrunedWidths
from dctafd.nets.registry import Backbone
from tests.support.small_nets import FDM_CHANNELS, small_backbone, trained_afd
from tools.recipes import make_module
from tools.recipes.combine import write_mean, write_pruned, write_with_fde_net, write_without_fe_net
from tools.recipes.recipe import ModuleRecipe, read_module_recipe, recipe_names

# What the recipes say --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", shipped_afds(), ids=afd_name)
def test_a_shipped_module_has_a_recipe_that_its_card_bears_out(path: Path) -> None:
    recipe, card = read_module_recipe(afd_name(path)), read_afd_card(path)
    assert (recipe.model, recipe.licence) == (card.model, card.licence)
    taught = {teacher.partition("=")[0] for teacher in card.training.get("teachers", ())}
    assert set(recipe.trainings[-1].recipe.config.teachers) == taught
    assert recipe.reproduces


def test_every_recipe_is_of_a_shipped_module() -> None:
    assert set(recipe_names()) <= {afd_name(path) for path in shipped_afds()}


SMALL = """
model = "small"
photos = ["images/train"]
licence = "Apache-2.0"
reproduces = "Yes."
[every_training]
batch_size = 2
[[trainings]]
name = "one"
minutes = 3
[[trainings]]
name = "two"
minutes = 5
{more}
"""


def recipe_of(tmp_path: Path, more: str = "") -> ModuleRecipe:
    (tmp_path / "small.toml").write_text(SMALL.format(more=more))
    return read_module_recipe("small", tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("minuts = 3", "did you mean 'minutes'"),
        ("seeds = [1]", "seeds are two"),
        ("seeds = [1, 2]\nmean_with_start = true", "give one of them"),
        ('[prune]\nbefore = "three"', "'three' is none of the trainings"),
        ("[prune]\nfde = 3", "unexpected keyword argument 'fde'"),
    ],
)
def test_what_makes_no_sense_is_named(more: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        recipe_of(tmp_path, more)


@pytest.mark.parametrize(
    ("table", "widths", "before"),
    [
        ("", None, None),
        ("[prune]\nstage_widths = [2, 1]", PrunedWidths((2, 1)), None),
        ('[prune]\nbefore = "two"\nfde_width = 3\nfdm_channels = 2', PrunedWidths(None, 3, 2), "two"),
    ],
)
def test_a_recipe_says_what_stays_and_when(
    table: str, widths: PrunedWidths | None, before: str | None, tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path, table)
    assert (recipe.prune, recipe.prune_before) == (widths, before)


def test_a_recipe_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"other\.toml is missing"):
        read_module_recipe("other", tmp_path)


# What they lead to -----------------------------------------------------------------------------------


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trainings that were run, as (seed, steps, minutes, start's name); each leaves a module."""
    backbone, calls = small_backbone(), []
    afd = trained_afd(backbone.module, "deep").reparameterize()
    card = AFDCard(afd.config, "small", "resnet18", {"relu": (1.0,)}, True)

    def train(
        images: Any, backbone: Any, output: Any, *, config: Any, start_from: Any, **others: Any
    ) -> None:
        calls.append((config.seed, config.steps, config.minutes, start_from and start_from.stem))
        with torch.no_grad():
            for parameter in afd.parameters():
                parameter.fill_(config.seed)
        save_afd(output, afd, replace(card, training={"seed": config.seed}), torch.float32)

    monkeypatch.setattr(make_module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(make_module, "train", train)
    monkeypatch.setattr(make_module, "load_backbone", lambda model, weights: backbone)
    return calls


def made(tmp_path: Path, more: str = "") -> Path:
    recipe = recipe_of(tmp_path, more)
    return make_module.Maker(recipe, jobs=1, device="cpu").make(recipe.trainings, None)


def test_each_training_begins_with_the_one_before(trainings: list[Any], tmp_path: Path) -> None:
    assert made(tmp_path).name == "small_two.safetensors"
    assert trainings == [(0, None, 3.0, None), (0, None, 5.0, "small_one")]


def test_two_seeds_train_from_one_beginning_and_their_mean_goes_on(
    trainings: list[Any], tmp_path: Path
) -> None:
    file = made(tmp_path, "seeds = [4, 8]")
    begun = "small_two_begun"
    assert trainings[1:] == [(4, 1, None, "small_one"), (4, None, 5.0, begun), (8, None, 5.0, begun)]
    assert all((parameter == 6).all() for parameter in load_afd(file).parameters())
    assert read_afd_card(file).training == {"seed": 4, "averaged_with": {"seed": 8, "earlier": []}}


def test_the_mean_of_before_and_after(trainings: list[Any], tmp_path: Path) -> None:
    file = made(tmp_path, "seed = 5\nmean_with_start = true")
    assert [call[0] for call in trainings] == [0, 5, 5]
    assert read_afd_card(file).training["averaged_with"]["seed"] == 5


@pytest.fixture
def prunings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was left out, and from which file; it goes on as it was."""
    calls: list[Any] = []

    def write_pruned(wide: Path, output: Path, widths: PrunedWidths, *others: Any) -> dict[str, float]:
        calls.append((wide.stem, widths))
        shutil.copy(wide, output)
        return {"FDM": 0.25}

    def write_without_fe_net(path: Path, output: Path) -> None:
        calls.append((path.stem, "FE-Net"))
        shutil.copy(path, output)

    monkeypatch.setattr(make_module, "write_pruned", write_pruned)
    monkeypatch.setattr(make_module, "write_without_fe_net", write_without_fe_net)
    monkeypatch.setattr(make_module.Maker, "_photos", lambda maker: [])
    return calls


PRUNE = "[prune]\nfde_width = 3\n"


def test_a_module_is_pruned_after_its_trainings(
    trainings: list[Any], prunings: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made(tmp_path, PRUNE).name == "small_pruned.safetensors"
    assert [start for *_, start in trainings] == [None, "small_one"]
    assert prunings == [("small_two", PrunedWidths(fde_width=3))]
    assert "FDM 25.00%" in capsys.readouterr().out


def test_or_before_one_of_them_without_fe_net_first(
    trainings: list[Any], prunings: list[Any], tmp_path: Path
) -> None:
    recipe = replace(recipe_of(tmp_path, PRUNE + 'before = "two"'), leave_out_fe_net=True)
    maker = make_module.Maker(recipe, jobs=1, device="cpu")
    assert maker.make(recipe.trainings, None).name == "small_two.safetensors"
    assert [start for *_, start in trainings] == [None, "small_pruned"]
    assert prunings == [("small_one", "FE-Net"), ("small_without_FE-Net", PrunedWidths(fde_width=3))]
    with pytest.raises(click.UsageError, match="give --begin-with"):
        maker.make(recipe.trainings[1:], None)


@pytest.fixture
def module(tmp_path: Path) -> tuple[Path, Backbone]:
    """A weights file of widths 4, 4, 4, and its backbone."""
    backbone = small_backbone()
    afd = trained_afd(backbone.module, "deep").reparameterize()
    card = AFDCard(afd.config, "small", "resnet18", {"relu": (1.0,)}, True, training={"seed": 5})
    save_afd(tmp_path / "wide.safetensors", afd, card, torch.float32)
    return tmp_path / "wide.safetensors", backbone


def test_a_mean_of_means_tells_of_each(module: tuple[Path, Backbone], tmp_path: Path) -> None:
    path, _ = module
    afd, card = load_afd(path).reparameterize(), read_afd_card(path)
    other = tmp_path / "other.safetensors"
    save_afd(other, afd, replace(card, training={"seed": 6, "earlier": ["shared", "own"]}), torch.float32)
    save_afd(path, afd, replace(card, training={"seed": 5, "earlier": ["shared"]}), torch.float32)
    write_mean(other, path, tmp_path / "mean.safetensors")
    training = read_afd_card(tmp_path / "mean.safetensors").training
    assert training == {"seed": 5, "earlier": ["shared"], "averaged_with": {"seed": 6, "earlier": ["own"]}}


def test_modules_that_are_built_differently_have_no_mean(
    module: tuple[Path, Backbone], tmp_path: Path
) -> None:
    path, backbone = module
    stem = trained_afd(backbone.module, "stem").reparameterize()
    save_afd(tmp_path / "stem.safetensors", stem, replace(read_afd_card(path), config=stem.config))
    with pytest.raises(WeightsError, match="not built alike"):
        write_mean(path, tmp_path / "stem.safetensors", tmp_path / "mean.safetensors")


def test_a_narrower_module_says_what_it_was_pruned_from(
    module: tuple[Path, Backbone], tmp_path: Path
) -> None:
    path, backbone = module
    rng, output = np.random.default_rng(0), tmp_path / "narrow.safetensors"
    photos = [rng.integers(0, 256, (48, 56, 3), np.uint8) for _ in range(5)]
    lost = write_pruned(path, output, PrunedWidths((2, 4, 3), fde_width=3), backbone, photos)
    assert lost["stage 2"] == pytest.approx(0, abs=1e-6)
    assert lost["stage 1"] > 0
    assert [stage.reduce.out_channels for stage in load_afd(output).stages] == [2, 4, 3]
    training = read_afd_card(output).training
    assert training["seed"] == 5
    note = training["pruned_from"]
    assert (note["stage_widths"], note["fde_width"], note["fdm_channels"]) == ([4, 4, 4], 6, FDM_CHANNELS)
    assert note["photos"] == 5

    again = tmp_path / "again.safetensors"
    write_pruned(output, again, PrunedWidths((2, 4, 3), fde_width=3), backbone, photos)
    assert read_afd_card(again) == read_afd_card(output)  # which was as narrow, so nothing is told anew


def test_fde_net_of_one_file_joins_the_corrections_of_another(
    module: tuple[Path, Backbone], tmp_path: Path
) -> None:
    before, _ = module
    after, output = tmp_path / "after.safetensors", tmp_path / "both.safetensors"
    afd, card = load_afd(before), read_afd_card(before)
    for parameter in afd.parameters():
        parameter.data += 0.5
    training = {**card.training, "verdict": {"helps": True}}
    quiet = replace(card, config=replace(card.config, quiet_drift=0.25), training=training)
    save_afd(after, afd, quiet)

    write_with_fde_net(before, after, output)

    assert read_afd_card(output).config.quiet_drift == 0.25
    assert "verdict" not in read_afd_card(output).training
    old, new, both = (load_afd(path).state_dict() for path in (before, after, output))
    for name, found in both.items():
        expected = (new if name.startswith("fde.") else old)[name]
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)  # files hold half precision


def test_without_fe_net_the_rest_stays(module: tuple[Path, Backbone], tmp_path: Path) -> None:
    path, _ = module
    output = tmp_path / "without.safetensors"
    write_without_fe_net(path, output)
    before, after = load_afd(path).state_dict(), load_afd(output).state_dict()
    assert not any(key.startswith("fe.") for key in after)
    assert read_afd_card(output).config.fe_width == 0
    kept = {key: value for key, value in before.items() if not key.startswith("fe.")}
    assert kept.keys() == after.keys()
    for key, value in kept.items():
        torch.testing.assert_close(after[key], value, rtol=2e-3, atol=2e-3)
