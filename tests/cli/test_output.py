import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from dctafd.cli.options import format_option, output_option
from dctafd.cli.output import flatten, write_records
from dctafd.cli.stderr import progress

RECORDS: list[dict[str, Any]] = [
    {"name": "a,b.jpg", "sizes": {"mean": 1.5, "max": 2}, "steps": [1, 2]},
    {"name": "c.jpg", "sizes": {"mean": 3.0, "max": 4}, "steps": [], "error": None},
]


@click.command()
@format_option("table", "json", "csv", "parquet")
@output_option
def echo_format(output_format: str, output: Path | None) -> None:
    click.echo(f"{output_format} {output}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "table None"),
        (["--format", "csv"], "csv None"),
        (["-o", "out.csv"], "csv out.csv"),
        (["-o", "out.PARQUET"], "parquet out.PARQUET"),
        (["--format", "json", "-o", "out.csv"], "json out.csv"),
        (["-o", "out.txt"], "table out.txt"),
        (["-o", "-"], "table None"),
    ],
)
def test_format_follows_option_then_suffix(arguments: list[str], expected: str) -> None:
    assert CliRunner().invoke(echo_format, arguments).stdout == expected + "\n"


@pytest.mark.parametrize(
    "arguments", [["--format", "parquet"], ["--format", "jsonl"], ["-o", "no/such/directory/out.csv"]]
)
def test_wrong_format_or_output_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(echo_format, arguments).exit_code == 2


def test_flatten_names_nested_keys_and_writes_lists_as_json() -> None:
    assert flatten(RECORDS[0]) == {
        "name": "a,b.jpg",
        "sizes.mean": 1.5,
        "sizes.max": 2,
        "steps": "[1, 2]",
    }


def test_json_and_jsonl_keep_the_records(tmp_path: Path) -> None:
    write_records(RECORDS, "json", tmp_path / "out.json")
    write_records(RECORDS, "jsonl", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.json").read_text()) == RECORDS
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == RECORDS


def test_json_takes_numpy_values(tmp_path: Path) -> None:
    write_records([{"mean": np.float32(0.5), "counts": np.arange(2)}], "json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == [{"mean": 0.5, "counts": [0, 1]}]


def test_csv_has_every_column_once(capsys: pytest.CaptureFixture[str]) -> None:
    write_records(RECORDS, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["name", "sizes.mean", "sizes.max", "steps", "error"]
    assert rows[0]["name"] == "a,b.jpg"
    assert rows[1]["sizes.mean"] == "3.0"


def test_parquet_keeps_the_flat_records(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    write_records(RECORDS, "parquet", tmp_path / "out.parquet")
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["sizes.max"] for row in rows] == [2, 4]


def test_table_shows_names_as_they_are_but_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    write_records([{"name": "[bold]\x1b[31mred", "share": 0.123456}], "table")
    printed = capsys.readouterr().out
    assert "[bold]\\x1b[31mred" in printed
    assert "0.1235" in printed


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(TypeError):
        write_records([{"value": object()}], "json", target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_progress_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("files", total=3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_file_name_that_is_no_utf8_is_written_as_an_escape(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_records([{"name": name}], "jsonl", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"name": name}
