"""The longer examples run, as scripts, on a handful of photos."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1

from tests.support.jpeg_files import encode, photo_like

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", [script, *arguments])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def photos(folder: Path, count: int, first_seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for seed in range(first_seed, first_seed + count):
        (folder / f"{seed}.jpg").write_bytes(encode(photo_like(96, 80, seed=seed), 90))
    return folder


def test_a_network_on_coefficients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("ant", "bee")):
        photos(tmp_path / "classes" / name, 9, 20 * number)
    options = ["--minutes", "0.01", "--workers", "0"]
    run(monkeypatch, "train_on_coefficients.py", str(tmp_path / "classes"), *options)
    first, last = capsys.readouterr().out.splitlines()
    assert first == "15 photos of 2 classes, 3 held out"
    assert "of the held-out photos right" in last


def test_a_correction_for_a_classifier_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network sees 64 pixels, and is not exported: tests/analysis/test_export.py does that."""
    pytest.importorskip("matplotlib")
    exported: list[Any] = []
    monkeypatch.setattr("dctafd.analysis.export.export_classifier", lambda *given: exported.append(given))
    torch.manual_seed(0)
    sees = json.dumps({"resize": 72, "crop": 64, "mean": [0.5] * 3, "std": [0.25] * 3})
    save_file(
        squeezenet1_1(num_classes=3).state_dict(), tmp_path / "own.safetensors", {"preprocessing": sees}
    )
    own = ("--model", "squeezenet1_1", "--weights", str(tmp_path / "own.safetensors"))
    folder = tmp_path / "correction"
    run(
        monkeypatch,
        "correct_my_classifier.py",
        str(photos(tmp_path / "photos", 6)),
        *(*own, "--minutes", "0.02", "--folder", str(folder)),
    )
    assert {path.suffix for path in folder.iterdir()} >= {".safetensors", ".png"}
    assert "quality 10: " in capsys.readouterr().out
    ((network, crop, target, metadata),) = exported
    assert network(torch.zeros(1, 3, crop, crop)).logits.shape == (1, 3)
    assert target == folder / "squeezenet1_1_corrected.onnx"
    assert json.loads(metadata["preprocessing"])["crop"] == crop == 64
