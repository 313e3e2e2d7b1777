"""tools/train_shipped.py: which commands a recipe runs. The commands themselves are tested where they are."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
import train_shipped
from click.testing import CliRunner

from dctafd.training.recipe import read_recipe


class Commands(list[list[str]]):
    """The commands that were run; each leaves its output file."""

    def run(self, arguments: Sequence[str]) -> None:
        self.append(list(arguments))
        Path(self.value("-o")).write_text(shlex.join(arguments))

    def value(self, option: str, command: int = -1) -> str:
        """Return what the last occurrence of an option says."""
        arguments = self[command]
        return arguments[len(arguments) - arguments[::-1].index(option)]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(train_shipped, "_run", commands.run)
    monkeypatch.setattr(train_shipped, "_state_dict_file", lambda name: tmp_path / f"{name}.pth")
    monkeypatch.setattr(train_shipped, "RUN", tmp_path / "runs")
    monkeypatch.setattr(train_shipped, "WEIGHTS_DIRECTORY", tmp_path)
    (tmp_path / "resnet50_pqf_afd.safetensors").write_text("as it shipped")
    return commands


def test_a_second_seed_trains_twice_from_one_beginning_and_ships_the_mean(
    commands: Commands, tmp_path: Path
) -> None:
    arguments = ["distil", "resnet50_pqf", "--minutes", "7", "--second-seed", "34"]
    result = CliRunner().invoke(train_shipped.main, arguments)
    assert result.exit_code == 0, result.output
    assert len(commands) == 4
    assert commands.value("--start-from", 0) == str(tmp_path / "resnet50_pqf_afd.safetensors")
    begun, first, second = (commands.value("-o", command) for command in range(3))
    assert len({begun, first, second}) == 3
    assert [commands.value("--start-from", command) for command in (1, 2)] == [begun, begun]
    assert [commands.value("--minutes", command) for command in (1, 2)] == ["7.0", "7.0"]
    recipes = [read_recipe(Path(commands.value("--recipe", command))) for command in range(3)]
    assert recipes[0].config.steps == 1
    seeds = [recipe.config.seed for recipe in recipes]
    assert seeds[0] == seeds[1] != seeds[2] == 34
    assert recipes[0].config.teachers[0].endswith(str(tmp_path / "mobilenet_v2_coral.pth"))
    assert recipes[0].validation.held_out == 48
    assert commands[3][0].endswith("average_afd.py")
    assert commands[3][1:] == [second, first, "-o", str(tmp_path / "resnet50_pqf_afd.safetensors")]


def test_without_one_the_training_ships_or_its_mean_with_the_beginning(
    commands: Commands, tmp_path: Path
) -> None:
    shipped = tmp_path / "resnet50_pqf_afd.safetensors"
    assert CliRunner().invoke(train_shipped.main, ["distil", "resnet50_pqf"]).exit_code == 0
    assert len(commands) == 1
    assert shipped.read_text() == Path(commands.value("-o")).read_text()
    assert CliRunner().invoke(train_shipped.main, ["distil", "resnet50_pqf", "--average"]).exit_code == 0
    assert commands[2][1:] == [str(shipped), commands.value("-o", 1), "-o", str(shipped)]


def test_two_means_at_once_are_refused(commands: Commands) -> None:
    arguments = ["distil", "resnet50_pqf", "--average", "--second-seed", "34"]
    result = CliRunner().invoke(train_shipped.main, arguments)
    assert result.exit_code == 2
    assert "give one of them" in result.output
    assert commands == []
