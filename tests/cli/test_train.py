"""`dctafd train` end to end on a few small photos."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dctafd.cli.train import command
from dctafd.config import PreprocessingChanges
from dctafd.nets.afd_weights import read_afd_card
from dctafd.training.recipe import recipe_of
from tests.support.small_nets import small_backbone


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("dctafd.nets.registry.load_backbone", lambda *_: small_backbone())
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


RECIPE = """
fe_width = 4
stage_widths = [4, 4, 4, 4]
{plain}
[validation]
held_out = 2
{tables}
"""


def train(photos: Path, output: Path, *options: str, plain: str = "", tables: str = "") -> Result:
    recipe = photos.parent / "recipe.toml"
    recipe.write_text(RECIPE.format(plain=plain, tables=tables))
    arguments = ["--images", str(photos), "-o", str(output), "--batch-size", "2", "--recipe", str(recipe)]
    return CliRunner().invoke(command, [*arguments, "-j", "1", "--device", "cpu", *options])


def test_weights_checkpoint_and_log_are_written_and_a_longer_training_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "afd.safetensors"
    recipe = {"plain": "divergence_knee = false", "tables": "[losses]\nstem = 0.3"}
    result = train(photos, output, "--steps", "2", **recipe)
    assert result.exit_code == 0, result.output
    assert "4 photos to train on, 2 held out to prove it: few" in result.stderr
    assert "on cpu, 1 threads" in result.stderr
    assert "photos/s" not in result.stderr  # nothing was timed yet
    card = read_afd_card(output)
    assert card.training["steps_done"] == 2
    assert card.training["losses"]["stem"] == 0.3
    assert card.training["divergence_knee"] is None
    assert card.config.stage_widths == (4, 4, 4, 4)
    log = [json.loads(line) for line in output.with_suffix(".jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [2]
    assert log[0]["validation"] == []  # the report at the end takes its place
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["quality", "photos", "agrees"]
    assert [line.split()[0] for line in lines[1:-1]] == [
        "clean",
        "7",
        "10",
        "15",
        "18",
        "25",
        "50",
        "90",
        "mean",
    ]
    assert lines[-1].startswith(("afd.safetensors helps:", "afd.safetensors does not help:"))
    assert card.training["verdict"]["helps"] is lines[-1].startswith("afd.safetensors helps")

    longer = train(photos, output, "--steps", "3", **recipe)
    assert "going on at step 2" in longer.stderr
    assert read_afd_card(output).training["steps_done"] == 3
    assert len(output.with_suffix(".jsonl").read_text().splitlines()) == 2

    output.with_suffix(".checkpoint.pt").unlink()
    anew = train(photos, output, "--steps", "1")
    assert "going on" not in anew.stderr
    assert read_afd_card(output).training["steps_done"] == 1


def test_degradations_can_be_changed_one_by_one(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "afd.safetensors"
    tables = "[degradations]\nhighest = 40\nshifted = 0.1\n[card]\nlicence = 'MIT'"
    result = train(photos, output, "--steps", "1", tables=tables)
    assert result.exit_code == 0, result.output
    used = read_afd_card(output).training["degradations"]
    card = read_afd_card(output)
    assert card.licence == "MIT"
    assert (used["lowest"], used["highest"], used["shifted"], used["resized"]) == (5, 40, 0.1, 0.35)


@pytest.mark.parametrize(
    ("plain", "tables", "message"),
    [
        ("", "[losses]\nstem = 'much'", "losses.stem = 'much' is not a number"),
        ("", "[losses]\ncolour = 1", "there is no key 'losses.colour': there are logits"),
        ("", "[degradations]\nhighests = 1", "did you mean 'highest'"),
        ("cutmix = 7", "", "0 to 1"),
        ("learning_rat = 7", "", "did you mean 'learning_rate'"),
        ("variant = 'square'", "", "one of stem, deep"),
        ("seed = 1.5", "", "seed = 1.5 is not a whole number"),
        ("teachers = 3", "", "teachers = 3 is not a list of texts"),
        ("losses = 3", "", "[losses] is a table"),
        ("=", "", "is no TOML file"),
        ("", "[preprocessing]\nmean = [0.5, 0.5]", "preprocessing.mean = [0.5, 0.5] is not"),
        ("", "[preprocessing]\nsize = 64", "there is no key 'preprocessing.size': did you mean 'resize'"),
    ],
)
def test_a_recipe_that_says_something_odd_is_wrong_usage(
    photos: Path, tmp_path: Path, plain: str, tables: str, message: str
) -> None:
    result = train(photos, tmp_path / "afd.safetensors", "--steps", "1", plain=plain, tables=tables)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_recipe_may_have_the_names_of_before() -> None:
    config = recipe_of({"shape": "stem", "boxes": 2}).config
    assert (config.variant, config.fixed_crops) == ("stem", 2)


def test_preprocessing_of_the_recipe_goes_to_the_classifier(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(*arguments: object) -> object:
        asked.append(arguments[-1])
        return small_backbone()

    monkeypatch.setattr("dctafd.nets.registry.load_backbone", load)
    tables = "[preprocessing]\nresize = 64\nmean = [0.5, 0.5, 0.5]"
    assert train(photos, tmp_path / "afd.safetensors", "--steps", "1", tables=tables).exit_code == 0
    assert asked == [PreprocessingChanges(resize=64, mean=(0.5, 0.5, 0.5))]


def test_about_a_dozen_flags_the_rest_is_the_recipes() -> None:
    assert {option for parameter in command.params for option in parameter.opts if option[:2] == "--"} == {
        *("--images", "--dir", "--output", "--model", "--weights", "--device", "--recipe", "--steps"),
        *("--minutes", "--batch-size", "--held-out", "--start-from", "--jobs", "--quiet"),
    }


def test_photos_that_are_not_there_or_all_held_out_are_wrong_usage(photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "all.toml"
    recipe.write_text("[validation]\nheld_out = 6")
    common = ["-o", str(tmp_path / "afd.safetensors"), "--recipe", str(recipe), "--device", "cpu"]
    result = CliRunner().invoke(command, ["--images", str(photos), *common])
    assert result.exit_code == 2
    assert "leave none to train on" in result.stderr
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(command, ["--images", str(tmp_path / "empty"), *common])
    assert result.exit_code == 2
    assert "no photos in" in result.stderr


def test_an_output_that_is_no_weights_file_is_wrong_usage(photos: Path, tmp_path: Path) -> None:
    assert train(photos, tmp_path / "afd.pth", "--steps", "1").exit_code == 2
    assert train(photos, tmp_path / "no" / "afd.safetensors", "--steps", "1").exit_code == 2


def test_what_to_begin_with_is_checked_beforehand(photos: Path, tmp_path: Path) -> None:
    result = train(photos, tmp_path / "afd.safetensors", "--steps", "1", "--start-from", "nowhere.pt")
    assert result.exit_code == 2
    assert "neither auto, none nor a file" in result.stderr
    assert train(photos, tmp_path / "afd.safetensors", "--steps", "1", "--start-from", "none").exit_code == 0
