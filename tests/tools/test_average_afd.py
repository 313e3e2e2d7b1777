"""tools/average_afd.py: the mean of two modules, and what its card says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from average_afd import main
from click.testing import CliRunner

from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import AFDCard, load_afd, read_afd_card, save_afd
from dctafd.nets.widen import begin_with
from tests.support.small_nets import small_resnet, trained_afd


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two modules of one configuration, the second with all weights twice as large."""
    afd = trained_afd(small_resnet(), "deep").reparameterize()
    card = AFDCard(afd.config, "small", "resnet18", {"relu": (1.0,)}, reparameterized=True)
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

    # A mean of a mean tells of all three.
    result = CliRunner().invoke(main, [str(files[0]), str(output), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert read_afd_card(output).training == {**training, "averaged_before": [before_alone]}


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_narrower_module_is_widened_as_its_training_widened_it(
    lacking: int, files: list[Path], tmp_path: Path
) -> None:
    card, narrow = read_afd_card(files[0]), load_afd(files[0])
    widths = tuple(width + 8 for width in card.config.stage_widths)
    if lacking:  # the training began to correct the last stage, too
        card = replace(card, config=replace(card.config, stage_widths=card.config.stage_widths[:-lacking]))
        fewer = AFDModule(card.config).eval().reparameterize()
        begin_with(fewer, narrow.state_dict(), files[0])
        narrow = fewer
        save_afd(files[0], narrow, card, torch.float32)
    torch.manual_seed(5)
    wide = AFDModule(replace(card.config, stage_widths=widths))
    begin_with(wide, narrow.state_dict(), files[0])
    wide_card = replace(card, config=wide.config, training={"seed": 5})
    after, output = files[1], tmp_path / "mean.safetensors"
    save_afd(after, wide.eval().reparameterize(), wide_card, torch.float32)
    torch.manual_seed(0)
    # A training that changed nothing: the mean is what it began with, in the new channels, too.
    result = CliRunner().invoke(main, [str(files[0]), str(after), "-o", str(output)])
    assert result.exit_code == 0, result.output
    began, mean = wide.state_dict(), load_afd(output).state_dict()
    for name, value in began.items():
        torch.testing.assert_close(mean[name], value, rtol=2e-3, atol=2e-3)
    assert began["stages.0.reduce.weight"][-8:].abs().max() > 0.05
    save_afd(files[0], narrow, replace(card, training={"seed": 5}))
    result = CliRunner().invoke(main, [str(after), str(files[0]), "-o", str(output)])
    assert result.exit_code == 1
    assert ("of one configuration" if lacking else "widened") in result.output


def test_modules_of_two_kinds_have_no_mean(files: list[Path], tmp_path: Path) -> None:
    stem = trained_afd(small_resnet(), "stem").reparameterize()
    card = read_afd_card(files[0])
    save_afd(files[1], stem, replace(card, config=stem.config))
    result = CliRunner().invoke(main, [*map(str, files), "-o", str(tmp_path / "mean.safetensors")])
    assert result.exit_code == 1
    assert "of one configuration" in result.output
