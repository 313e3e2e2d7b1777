"""Weights that no module was trained for: the answers are those without any correction, to the byte."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torchvision.models import squeezenet1_1

from dctafd.cli.main import cli
from tests.support.jpeg_files import encode, photo_like


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of an architecture for which a module ships, but not for these."""
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "own.pth")
    return tmp_path / "own.pth"


def classify(photos: Path, weights: Path, afd: str) -> Result:
    options = ["--model", "squeezenet1_1", "--weights", str(weights), "--afd", afd, "--format", "jsonl"]
    return CliRunner().invoke(cli, ["classify", str(photos), *options, "--runtime", "torch"])


def test_foreign_weights_give_the_records_of_no_correction(tmp_path: Path, weights: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for quality in (7, 50, 95):
        (photos / f"{quality}.jpg").write_bytes(encode(photo_like(300, 260, seed=quality), quality))
    automatic, off, named = (
        classify(photos, weights, afd) for afd in ("auto", "off", "squeezenet1_1_onnxzoo")
    )
    assert automatic.exit_code == off.exit_code == 0
    assert automatic.stdout_bytes == off.stdout_bytes
    (line,) = [line for line in automatic.stderr.splitlines() if "AFD-Module" in line]
    assert "dctafd train" in line
    assert "AFD-Module" not in off.stderr
    assert named.stdout_bytes != off.stdout_bytes  # the module does change answers where it is forced
