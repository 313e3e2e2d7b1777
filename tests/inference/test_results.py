import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dctafd.batch.tables import Page
from dctafd.batch.writers import text_format
from dctafd.inference.results import RECORD_KEYS, Failure, Prediction, Result
from dctafd.jpeg.damage import what_is_missing

GOOD = Result(
    "a.tar",
    "x, y.jpg",
    width=4,
    height=3,
    color_space="ycbcr",
    process="baseline",
    subsampling="4:2:0",
    quality=75,
    quality_exact=True,
    drift=0.25,
    model="tiny",
    predictions=(Prediction(2, 'cat "tabby"', 0.75), Prediction(0, "ant", 0.25)),
    warnings=("3 of 9 blocks are missing", "junk before a marker"),
)
BAD = Result("b\n.jpg", model="tiny", error=Failure("NotAJpegError", "starts with GIF89a"))


def written(name: str, *batches: Any, top_k: int = 2) -> str:
    layout = text_format(name, top_k)
    return layout.begin() + "".join(layout.batch(batch) for batch in batches) + layout.end()


def test_record_has_the_contract_keys_in_order() -> None:
    assert list(GOOD.to_record()) == list(RECORD_KEYS)
    assert list(RECORD_KEYS) == [
        "source",
        "member",
        "width",
        "height",
        "color_space",
        "process",
        "subsampling",
        "quality",
        "quality_exact",
        "primary_quality",
        "drift",
        "model",
        "afd",
        "predictions",
        "warnings",
        "error",
    ]
    assert GOOD.to_record()["predictions"][0] == {"index": 2, "label": 'cat "tabby"', "score": 0.75}
    assert BAD.to_record()["error"] == {"type": "NotAJpegError", "message": "starts with GIF89a"}


@pytest.mark.parametrize("result", [GOOD, BAD])
def test_result_survives_its_record(result: Result) -> None:
    assert Result.from_record(json.loads(json.dumps(result.to_record()))) == result


def test_jsonl_is_a_record_a_line() -> None:
    lines = written("jsonl", [GOOD], [BAD]).splitlines()
    assert [json.loads(line) for line in lines] == [GOOD.to_record(), BAD.to_record()]


def test_json_is_one_array_however_the_batches_fall() -> None:
    assert json.loads(written("json", [GOOD, BAD], [], [GOOD])) == [r.to_record() for r in (GOOD, BAD, GOOD)]
    assert json.loads(written("json")) == []


def test_csv_has_the_same_columns_for_every_row() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", [GOOD], [BAD], top_k=3))))
    assert rows[0]["member"] == "x, y.jpg"
    assert (rows[0]["label_1"], rows[0]["score_2"], rows[0]["label_3"]) == ('cat "tabby"', "0.25", "")
    assert rows[0]["warnings"] == "3 of 9 blocks are missing; junk before a marker"
    assert (rows[1]["source"], rows[1]["error_type"], rows[1]["label_1"]) == ("b\n.jpg", "NotAJpegError", "")


def test_table_shows_one_photo_in_detail() -> None:
    text = written("table", [GOOD])
    assert "quality 75" in text
    assert ' 75.0%  cat "tabby"' in text
    assert "warning: junk before a marker" in text


def test_table_shows_many_photos_as_rows_and_its_heading_once() -> None:
    text = written("table", *[[GOOD, BAD]] * 150)
    assert len(text.splitlines()) == 301
    assert text.count("quality") == 1
    assert "b\\n.jpg" in text
    assert "NotAJpegError: starts with GIF89a" in text


def test_csv_has_label_and_score_of_the_best_and_text_that_no_tool_takes_for_a_time() -> None:
    good, bad = csv.DictReader(io.StringIO(written("csv", [GOOD], [BAD])))
    assert (good["label"], good["score"]) == ('cat "tabby"', "0.75")
    assert (bad["label"], bad["score"]) == ("", "")
    assert good["subsampling"] == "chroma 4:2:0"
    assert GOOD.to_record()["subsampling"] == "4:2:0"


def test_duckdb_and_pandas_read_the_csv_with_text_as_text(tmp_path: Path) -> None:
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    path = tmp_path / "labels.csv"
    path.write_text(written("csv", [GOOD] * 50, [BAD]))
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_csv(?) LIMIT 1", [str(path)])
        types = {column[0]: str(column[1]) for column in found.description}
    text = (
        "source",
        "member",
        "color_space",
        "process",
        "subsampling",
        "model",
        "label",
        "label_1",
        "warnings",
    )
    assert {types[column] for column in text} == {"VARCHAR"}
    assert types["score"] == "DOUBLE"
    frame = pandas.read_csv(path)
    assert frame["subsampling"][0] == "chroma 4:2:0"
    assert frame["score"][0] == 0.75


def test_the_sql_of_the_documentation_gives_typed_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckdb = pytest.importorskip("duckdb")
    parquet = pytest.importorskip("dctafd.batch.parquet")
    monkeypatch.chdir(tmp_path)
    results = [GOOD, BAD]
    (tmp_path / "labels.csv").write_text(written("csv", results))
    (tmp_path / "labels.jsonl").write_text(written("jsonl", results))
    with (tmp_path / "labels.parquet").open("wb") as file:
        file.write(parquet.parquet_bytes([result.to_record() for result in results]))
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text()
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    with duckdb.connect() as connection:
        for statement in filter(str.strip, sql.split(";")):
            connection.execute(statement)
        rows = connection.execute("SELECT subsampling, predictions, error FROM labels").fetchall()
        columns = {row[0] for row in connection.execute("DESCRIBE labels").fetchall()}
    assert rows[0][0] == "4:2:0"
    assert rows[0][1][0] == {"index": 2, "label": 'cat "tabby"', "score": 0.75}
    assert rows[1][2] == {"type": "NotAJpegError", "message": "starts with GIF89a"}
    assert columns == set(RECORD_KEYS)


DAMAGED = replace(
    GOOD, warnings=("component Y: 43 % of its blocks missing", "component Cb: 7 % of its blocks missing")
)


def test_a_damaged_photo_is_marked_with_how_much_is_missing() -> None:
    assert "damaged, 43 % missing" in written("table", [DAMAGED])
    heading, good, damaged = written("table", [GOOD, DAMAGED]).splitlines()
    assert "missing" in heading
    assert "43 %" in damaged
    assert "%" not in good.split("cat")[0]
    assert "missing" not in written("table", [GOOD, GOOD])


@pytest.mark.parametrize(
    ("warnings", "missing"),
    [
        (["component Y: less than 1 % of its blocks missing"], "< 1 %"),
        (["component 0: the last 30 % of its blocks are empty", "3 invalid Huffman codes"], "30 %"),
        (["component Cb: coefficients 1 to 63 never came"], "detail"),
        (["component Cr: no scan"], "detail"),
        (["the file ends without an EOI marker"], None),
        ([], None),
    ],
)
def test_what_is_missing_is_told_from_the_warnings(warnings: list[str], missing: str | None) -> None:
    assert what_is_missing(warnings) == missing


@pytest.mark.parametrize("width", range(20, 61, 5))
def test_a_narrow_table_tells_long_names_apart_and_fits(width: int) -> None:
    names = [f"photos/2026-11-30/a-rather-long-name-of-a-photo-{n}.jpg" for n in (1, 2)]
    results = [replace(GOOD, source=name, member=None) for name in names]
    layout = text_format("table", 2, Page(width))
    lines = (layout.batch(results) + layout.end()).splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[1] != lines[2]
    assert lines[1].split()[0].endswith("1.jpg")
    assert "cat" in lines[1]


UNSURE = replace(GOOD, unsure=True)
SURE = replace(GOOD, unsure=False)


def test_unsure_results_say_so_and_keep_their_predictions() -> None:
    assert (UNSURE.best_label, SURE.best_label, GOOD.best_label, BAD.best_label) == (
        "unsure",
        'cat "tabby"',
        'cat "tabby"',
        None,
    )
    record = UNSURE.to_record()
    assert list(record) == [*RECORD_KEYS, "unsure"]
    assert record["predictions"] == GOOD.to_record()["predictions"]
    assert Result.from_record(json.loads(json.dumps(record))) == UNSURE
    assert SURE.to_record()["unsure"] is False
    assert "unsure" not in GOOD.to_record()


def test_unsure_results_in_tables_and_csv() -> None:
    rows = written("table", [UNSURE, SURE]).splitlines()
    assert "unsure" in rows[1]
    assert 'cat "tabby" 75%, ant 25%' in rows[1]
    assert "unsure" not in rows[2]
    single = written("table", [UNSURE]).splitlines()
    assert single[1].startswith("  unsure")
    assert single[2].endswith('cat "tabby"')
    unsure, sure = csv.DictReader(io.StringIO(written("csv", [UNSURE, SURE])))
    assert (unsure["label"], unsure["score"], unsure["label_1"]) == ("unsure", "0.75", 'cat "tabby"')
    assert sure["label"] == 'cat "tabby"'


def test_unsure_results_in_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    from dctafd.batch.parquet import parquet_bytes

    path = tmp_path / "o.parquet"
    with path.open("wb") as file:
        file.write(parquet_bytes([UNSURE.to_record(), SURE.to_record(), BAD.to_record()]))
    rows = parquet.read_table(path).to_pylist()
    assert [row["label"] for row in rows] == ["unsure", 'cat "tabby"', None]
    assert rows[0]["predictions"][0]["label"] == 'cat "tabby"'
