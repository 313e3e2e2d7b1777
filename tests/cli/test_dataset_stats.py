"""`dctafd dataset-stats` on the command line."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dctafd.cli.main import cli


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, quality in (("x/1.jpg", 40), ("x/2.jpg", 40), ("y/3.jpg", 90)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((32, 48)).convert("RGB").save(path, quality=quality)
    return tmp_path / "photos"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["dataset-stats", *map(str, arguments)])


def test_table(photos: Path) -> None:
    result = run("--dir", photos)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["folder", "files"]
    assert [line.split()[:2] for line in lines[1:]] == [["x", "2"], ["y", "1"], ["total", "3"]]


def test_json_has_everything(photos: Path) -> None:
    records = json.loads(run("--dir", photos, "--format", "json").stdout)
    assert [record["folder"] for record in records] == ["x", "y", "total"]
    assert records[0]["quality"]["histogram"] == {"40": 2}
    assert len(records[2]["frequencies"]["chroma"]["entropy"]) == 8


def test_csv_and_parquet_have_the_same_rows(photos: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--dir", photos, "--format", "csv").stdout)))
    assert run("--dir", photos, "-o", tmp_path / "stats.parquet").exit_code == 0
    table = pyarrow.parquet.read_table(tmp_path / "stats.parquet").to_pylist()
    assert [row["folder"] for row in rows] == [row["folder"] for row in table] == ["x", "y", "total"]
    assert list(rows[0]) == list(table[0])
    assert [int(row["bytes"]) for row in rows] == [row["bytes"] for row in table]


def test_a_failure_is_named_and_gives_exit_code_1(photos: Path) -> None:
    (photos / "x" / "bad.jpg").write_bytes(b"\xff\xd8 nothing more")
    result = run("--dir", photos)
    assert result.exit_code == 1
    assert "x/bad.jpg: " in result.stderr
    assert result.stdout.splitlines()[-1].split()[:3] == ["total", "4", "1"]


def test_on_error_stop_ends_at_the_first_failure(photos: Path) -> None:
    (photos / "bad.jpg").touch()
    result = run("--dir", photos, "--on-error", "stop")
    assert result.exit_code == 1
    assert "stopped at bad.jpg: NotAJpegError: the file is empty" in result.stderr
    assert result.stdout == ""


def test_html_cache_and_sample(photos: Path, tmp_path: Path) -> None:
    options = ("--dir", photos, "--cache", tmp_path / "cache.db", "--sample", 2)
    assert run(*options).exit_code == 0
    again = run(*options, "--html", tmp_path / "report.html")
    assert "2 of 2 files were known from the cache" in again.stderr
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_missing_directory_is_a_usage_error(tmp_path: Path) -> None:
    assert run("--dir", tmp_path / "missing").exit_code == 2
