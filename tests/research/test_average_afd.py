"""tools/average_afd.py: the mean of two modules, and what its card says."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from dctafd.nets.afd_weights import AFDCard, load_afd, read_afd_card, save_afd

from ..nets.small_nets import small_resnet, trained_afd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from average_afd import main


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two modules of one configuration, the second with all weights twice as large."""
    afd = trained_afd(small_resnet(), "deep").reparameterize()
    card = AFDCard(afd.config, "small", "slim_resnet", ("small",), (1.0,), reparameterized=True)
    paths = [tmp_path / "before.safetensors", tmp_path / "after.safetensors"]
    earlier = (["others", "one more"], ["others"])
    for path, run, others in zip(paths, ("first", "second"), earlier, strict=True):
        training = {"run": run, "earlier": others}
        save_afd(path, afd, replace(card, training=training), torch.float32)
        with torch.no_grad():
            for parameter in afd.parameters():
                parameter.mul_(2)
    return paths


def test_weights_are_the_mean_and_the_card_tells_of_both(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "mean.safetensors"
    result = CliRunner().invoke(main, [*map(str, files), "-o", str(output)])
    assert result.exit_code == 0, result.output
    before, mean = load_afd(files[0]).state_dict(), load_afd(output).state_dict()
    for name, value in before.items():
        factor = 1.0 if name == "stem_rms" else 1.5
        torch.testing.assert_close(mean[name], factor * value, rtol=2e-3, atol=2e-3)
    training = read_afd_card(output).training
    before_alone = {"run": "first", "earlier": ["one more"]}
    assert training == {"run": "second", "earlier": ["others"], "averaged_with": before_alone}


def test_modules_of_two_kinds_have_no_mean(files: list[Path], tmp_path: Path) -> None:
    stem = trained_afd(small_resnet(), "stem").reparameterize()
    card = read_afd_card(files[0])
    save_afd(files[1], stem, replace(card, config=stem.config))
    result = CliRunner().invoke(main, [*map(str, files), "-o", str(tmp_path / "mean.safetensors")])
    assert result.exit_code == 1
    assert "of one configuration" in result.output
