"""`dctafd train` end to end on a few small photos."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dctafd.cli.train import command
from dctafd.nets.afd_weights import read_afd_card
from tests.support.small_nets import small_backbone


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("dctafd.nets.registry.load_backbone", lambda model, weights: small_backbone())
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


def train(photos: Path, output: Path, *options: str) -> Result:
    arguments = ["--images", str(photos), "-o", str(output), "--batch-size", "2", "--held-out", "2"]
    widths = ["--fe-width", "4", "--stage-widths", "4,4,4,4", "-j", "1", "--device", "cpu"]
    return CliRunner().invoke(command, [*arguments, *widths, *options])


def test_weights_checkpoint_and_log_are_written_and_a_longer_training_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "afd.safetensors"
    result = train(photos, output, "--steps", "2", "--loss-weights", "stem=0.3", "--divergence-knee", "0")
    assert result.exit_code == 0, result.output
    assert "4 photos to train on, 2 held out" in result.stderr
    card = read_afd_card(output)
    assert card.training["steps_done"] == 2
    assert card.training["losses"]["stem"] == 0.3
    assert card.training["divergence_knee"] is None
    assert card.config.stage_widths == (4, 4, 4, 4)
    log = [json.loads(line) for line in output.with_suffix(".jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [2]
    assert len(log[0]["validation"]) == 6

    longer = train(photos, output, "--steps", "3", "--loss-weights", "stem=0.3", "--divergence-knee", "0")
    assert "going on at step 2" in longer.stderr
    assert read_afd_card(output).training["steps_done"] == 3
    assert len(output.with_suffix(".jsonl").read_text().splitlines()) == 2

    anew = train(photos, output, "--steps", "1", "--restart")
    assert "going on" not in anew.stderr
    assert read_afd_card(output).training["steps_done"] == 1


def test_degradations_can_be_changed_one_by_one(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "afd.safetensors"
    result = train(photos, output, "--steps", "1", "--degradations", "highest=40,shifted=0.1")
    assert result.exit_code == 0, result.output
    used = read_afd_card(output).training["degradations"]
    assert (used["lowest"], used["highest"], used["shifted"], used["resized"]) == (5, 40, 0.1, 0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--loss-weights", "stem"), "logits=1"),
        (("--loss-weights", "colour=1"), "colour"),
        (("--degradations", "noise=1"), "noise"),
        (("--stage-widths", "many"), "24,48,64,96"),
        (("--held-out", "6"), "leave none to train on"),
    ],
)
def test_usage_errors(photos: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    result = train(photos, tmp_path / "afd.safetensors", "--steps", "1", *options)
    assert result.exit_code == 2
    assert message in result.stderr
