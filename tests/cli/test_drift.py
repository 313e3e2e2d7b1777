"""`dctafd drift` on the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dctafd.cli.main import cli
from tests.support.jpeg_files import encode, photo_like


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "below"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(encode(photo_like(96, 80, seed=number), 95))
    return tmp_path / "photos"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["drift", "--afd", "off", *map(str, arguments)])


def test_table_and_json(photos: Path) -> None:
    table = run("--images", photos, "--qualities", "10,40")
    assert table.exit_code == 0
    assert [line.split()[0] for line in table.stdout.splitlines()] == ["quality", "10", "40"]
    records = json.loads(run("--images", photos, "--qualities", "10,40", "--format", "json").stdout)
    assert [record["quality"] for record in records] == [10, 40]
    assert records[0]["feature_angle"] > records[1]["feature_angle"] > 0
    assert records[0]["fdm_rank_correlation"] is None


def test_data_curve_and_figure(photos: Path, tmp_path: Path) -> None:
    options = ("--images", photos, "--qualities", "20", "--limit", "1", "--curve", "--format", "csv")
    result = run(*options, "--blocks", tmp_path / "blocks.parquet", "--plot", tmp_path / "drift.svg")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "quality,coefficient_angle,feature_angle,blocks"
    assert (tmp_path / "blocks.parquet").stat().st_size > 1000
    assert "<svg" in (tmp_path / "drift.svg").read_text()


def test_a_bad_photo_gives_exit_code_1(photos: Path) -> None:
    (photos / "bad.jpg").write_text("no photo")
    result = run("--images", photos, "--qualities", "20")
    assert result.exit_code == 1
    assert "bad.jpg: DctafdError: the picture cannot be read" in result.stderr


def test_stop_ends_at_the_first_failure(photos: Path) -> None:
    (photos / "bad.jpg").write_text("no photo")
    result = run("--images", photos, "--qualities", "20", "--on-error", "stop")
    assert result.exit_code == 1
    assert "stopped at bad.jpg: DctafdError" in result.stderr
    assert result.stdout == ""


def test_larger_photos_are_refused(photos: Path) -> None:
    (photos / "large.jpg").write_bytes(encode(photo_like(97, 80), 95))
    result = run("--images", photos, "--qualities", "20", "--max-pixels", 96 * 80)
    assert result.exit_code == 1
    assert "large.jpg: LimitExceededError" in result.stderr


@pytest.mark.parametrize(
    "wrong", [("--qualities", "0"), ("--qualities", "x"), ("--blocks", "data.txt"), ("--images", "missing")]
)
def test_usage_errors(photos: Path, wrong: tuple[str, str]) -> None:
    assert run("--images", photos, *wrong).exit_code == 2


def test_an_empty_folder_is_a_usage_error(tmp_path: Path) -> None:
    result = run("--images", tmp_path)
    assert result.exit_code == 2
    assert "no photos in" in result.stderr
