"""timm's networks by name, with random weights: every command takes them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from dctafd.cli.main import cli

timm = pytest.importorskip("timm", reason="needs the extra timm (pip install 'dctafd[timm]')")

NAMES = ("resnet14t", "convnext_atto", "mobilenetv3_small_050")
SMALL = "[preprocessing]\nresize = 72\ncrop = 64\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        small.resize((96, 80)).save(folder / f"{index}.jpg", quality=95)
    return folder


def dctafd(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dctafd.nets.afd_weights.FitWarning")
@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_it_by_name(name: str, photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights, module, recipe = (tmp_path / f"mine{end}" for end in (".pth", "_afd.safetensors", ".toml"))
    recipe.write_text(SMALL)
    torch.save(timm.create_model(name, num_classes=4).state_dict(), weights)
    model = ("--model", f"timm/{name}", "--weights", weights)
    trained = dctafd(
        *("train", "--images", photos, *model, "--recipe", recipe, "--steps", "2", "--batch-size", "2"),
        *("--held-out", "2", "--jobs", "1", "--device", "cpu"),
    )
    assert "after 2 steps" in trained.stderr
    assert trained.stdout.splitlines()[-1].startswith("mine_afd.safetensors ")
    corrected = (*model, "--afd", module)  # which tells the size by now
    classified = dctafd("classify", photos / "0.jpg", *corrected, "--runtime", "torch", "--format", "jsonl")
    record = json.loads(classified.stdout)
    assert (record["error"], record["afd"], len(record["predictions"])) == (None, "mine", 4)
    assert record["drift"] is not None
    evaluated = dctafd(
        *("evaluate", "--images", photos, *corrected, "--qualities", "10", "--format", "json", "--jobs", "1")
    )
    found = json.loads(evaluated.stdout)
    assert (found["measure"], found["images"]) == ("agreement", 6)
    assert found["rows"][0]["afd_top1"] is not None
    if name == NAMES[0]:  # exporting takes as long as all the rest, and knows nothing of timm
        program = tmp_path / "mine.pt2"
        dctafd("export", *corrected, "-o", program)
        told = {"dctafd.json": ""}
        torch.export.load(program, extra_files=told)
        assert json.loads(json.loads(told["dctafd.json"])["preprocessing"])["crop"] == 64
