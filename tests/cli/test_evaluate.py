"""`dctafd evaluate` on the command line."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dctafd.cli import evaluate as evaluate_command
from dctafd.nets.afd_weights import SelectedAFD
from dctafd.nets.registry import Backbone
from tests.support.evaluations import (
    labelled_photos,
    photo,
)
from tests.support.small_nets import small_backbone, trained_afd


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return labelled_photos(tmp_path)


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    backbone = small_backbone()
    monkeypatch.setattr("dctafd.nets.registry.load_backbone", lambda *_: backbone)
    afd = trained_afd(backbone.module, "stem")
    monkeypatch.setattr(
        "dctafd.nets.afd_weights.select_afd",
        lambda choice, _: None if choice == "off" else SelectedAFD(afd, "small"),
    )
    return backbone


def run(folder: Path, *options: str) -> Result:
    arguments = [
        "--images",
        str(folder),
        "--labels",
        str(folder / "labels.csv"),
        "--device",
        "cpu",
        "-j",
        "1",
    ]
    return CliRunner().invoke(evaluate_command.command, [*arguments, *options])


def test_json_record_has_the_contracts_keys(folder: Path, small_model: Backbone) -> None:
    result = run(folder, "--qualities", "7,30", "--limit", "5", "--format", "json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["model"], record["images"], record["protocol"]) == ("small", 5, "single")
    assert {"top1", "top5"} <= set(record["clean"])
    assert [row["quality"] for row in record["rows"]] == [7, 30]
    wanted = {"quality", "direct_top1", "direct_top5", "afd_top1", "afd_top5"}
    assert all(wanted <= set(row) for row in record["rows"])
    assert all(0 <= row[name] <= 100 for row in record["rows"] for name in wanted - {"quality"})


def test_csv_and_figure(folder: Path, small_model: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output, figure = tmp_path / "out.csv", tmp_path / "out.png"
    result = run(
        folder, "--protocol", "repeated", "--times", "1..2", "-o", str(output), "--plot", str(figure)
    )
    assert result.exit_code == 0, result.output
    lines = output.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["row", "clean", "1", "2", "mean"]
    assert "times" in lines[0]
    with Image.open(figure) as image:
        assert image.size[0] > 100


def test_failures_end_in_exit_code_1(folder: Path, small_model: Backbone) -> None:
    (folder / "1.jpg").write_bytes(b"not a photo")
    result = run(folder, "--afd", "off", "--qualities", "9")
    assert result.exit_code == 1
    assert "1.jpg" in result.stderr


def test_stop_ends_at_the_first_failure_and_can_be_resumed(
    folder: Path, small_model: Backbone, tmp_path: Path
) -> None:
    (folder / "3.jpg").write_bytes(b"not a photo")
    options = ("--qualities", "9", "--batch-size", "2", "-o", str(tmp_path / "out.json"))
    result = run(folder, *options, "--on-error", "stop")
    assert result.exit_code == 1
    assert "stopped at 3.jpg" in result.stderr
    assert not (tmp_path / "out.json").exists()
    result = run(folder, *options, "--resume")
    assert result.exit_code == 1
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["images"] == 6
    assert [failure["file"] for failure in record["failures"]] == ["3.jpg"]


@pytest.mark.parametrize("protocol", ["single", "native", "stored"])
def test_larger_photos_are_refused(folder: Path, small_model: Backbone, protocol: str) -> None:
    limits = ("--protocol", protocol, "--qualities", "9", "--max-pixels")
    assert run(folder, *limits, "3072").exit_code == 0  # 48 x 64
    large = io.BytesIO()
    photo(9, (49, 64)).save(large, "JPEG")
    (folder / "1.jpg").write_bytes(large.getvalue())
    result = run(folder, *limits, "3072")
    assert result.exit_code == 1
    assert "1.jpg: LimitExceededError" in result.stderr


@pytest.mark.parametrize(
    "options", [("--qualities", "0"), ("--qualities", "low"), ("--times", "3..1"), ("--times", "many")]
)
def test_usage_errors(folder: Path, small_model: Backbone, options: tuple[str, str]) -> None:
    assert run(folder, *options).exit_code == 2


def test_stored_photos_have_one_row_and_no_clean_one(folder: Path, small_model: Backbone) -> None:
    result = run(folder, "--protocol", "stored", "--format", "csv")
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["row"], row["photos"], row["table_quality"]) == ("all", "7", "95.0")
    table = run(folder, "--protocol", "stored", "--format", "table").stdout
    assert "clean" not in table
    assert len(table.splitlines()) == 2


def test_the_command_names_labels_that_are_no_class(folder: Path, small_model: Backbone) -> None:
    with (folder / "labels.csv").open("a") as file:
        file.write("7.jpg,wasp\n8.jpg,wasp\n")
    result = run(folder, "--qualities", "50", "--format", "json")
    assert result.exit_code == 1
    assert "2 photos are left out" in result.stderr
    assert "'wasp', 2 photos" in result.stderr
    record = json.loads(result.stdout)
    assert record["unmatched_labels"] == [
        {"label": "wasp", "photos": 2, "reason": "the model has no class of this name"}
    ]


def test_the_command_measures_agreement_without_labels(folder: Path, small_model: Backbone) -> None:
    arguments = ["--images", str(folder), "-j", "1", "--device", "cpu", "--qualities", "5,50"]
    result = CliRunner().invoke(evaluate_command.command, arguments)
    assert result.exit_code == 0, result.output
    assert "agrees" in result.stdout.splitlines()[0]
    assert "KL AFD" in result.stdout.splitlines()[0]
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["clean", "5", "50", "mean"]


def test_resuming_by_the_command(folder: Path, small_model: Backbone, tmp_path: Path) -> None:
    assert run(folder, "--resume").exit_code == 2
    output = tmp_path / "out.json"
    assert run(folder, "--qualities", "50", "-o", str(output)).exit_code == 0
    first = output.read_text()
    assert run(folder, "--qualities", "50", "-o", str(output), "--resume").exit_code == 0
    assert output.read_text() == first
    assert run(folder, "--per-photo", str(tmp_path / "x.txt")).exit_code == 2
    one = str(tmp_path / "one.csv")
    twice = run(folder, "--per-photo", one, "-o", one)
    assert twice.exit_code == 2
    assert "different files" in twice.stderr
    assert not list(tmp_path.glob("*.partial"))
