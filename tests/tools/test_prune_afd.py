"""tools/prune_afd.py: a narrower module from a trained one, and what its card says."""

from pathlib import Path

import numpy as np
import prune_afd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dctafd.nets.afd_weights import AFDCard, load_afd, read_afd_card, save_afd
from tests.support.small_nets import small_backbone, trained_afd


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the tool, with eight photos, two of which are held out, and a module of widths 4, 4, 4."""
    backbone = small_backbone()
    monkeypatch.setattr(prune_afd, "load_backbone", lambda model, weights: backbone)
    afd = trained_afd(backbone.module, "deep").reparameterize()
    card = AFDCard(afd.config, "small", "resnet18", {"relu": (1.0,)}, True, training={"seed": 5})
    save_afd(tmp_path / "wide.safetensors", afd, card, torch.float32)
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (48, 56, 3), np.uint8)).save(tmp_path / f"{number}.png")
    files = ("--afd", str(tmp_path / "wide.safetensors"), "--images", str(tmp_path))
    return ["--model", "small", *files, "--held-out", "2", "-o", str(tmp_path / "narrow.safetensors")]


def test_a_narrower_module_is_written_with_a_card_that_says_so(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(prune_afd.main, [*arguments, "--stage-widths", "2,4,3", "--photos", "5"])
    assert result.exit_code == 0, result.output
    assert "correction 1: 4 -> 2 channels" in result.output
    assert "correction 2: 4 -> 4 channels, 0.00 %" in result.output
    narrow, card = load_afd(tmp_path / "narrow.safetensors"), read_afd_card(tmp_path / "narrow.safetensors")
    assert [stage.reduce.out_channels for stage in narrow.stages] == [2, 4, 3]
    assert card.training["seed"] == 5
    assert card.training["pruned_from"]["stage_widths"] == [4, 4, 4]
    assert card.training["pruned_from"]["photos"] == 5


def test_widths_that_do_not_fit_are_an_error_of_one_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(prune_afd.main, [*arguments, "--stage-widths", "2,5,3"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: widths (2, 5, 3) do not prune")
