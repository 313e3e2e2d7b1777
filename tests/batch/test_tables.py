"""Photos in Parquet files as sources, and what is carried over from them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dctafd.batch.appended_columns import check_appendable
from dctafd.batch.kept import Keep
from dctafd.batch.photo_table import NoColumnError
from dctafd.batch.run import run_to_file, run_to_stream
from dctafd.batch.sources import plan_sources
from dctafd.batch.units import Reading
from dctafd.cli.main import cli
from dctafd.inputs.source_items import Skipped
from tests.batch.test_run import FORMATS, KilledError, killed_after, options
from tests.support.archive_files import write_tar, write_zip
from tests.support.tiny_classifier import photo, tiny_classifier

pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
from pyarrow import parquet  # noqa: E402

PHOTOS = [photo(number % 7, 30 + number) for number in range(20)]
PHOTOS[3] = b"GIF89a"


def write_table(path: Path, columns: Any, rows: Any = 4, metadata: Any = None) -> str:
    table = pa.table(columns).replace_schema_metadata(metadata)
    parquet.write_table(table, path, row_group_size=rows)
    return str(path)


def hugging_face(path: Path, rows: int = 4) -> str:
    features = {"picture": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    return write_table(
        path,
        {
            "id": range(20),
            "picture": [{"bytes": data, "path": f"{number:03d}.jpg"} for number, data in enumerate(PHOTOS)],
            "label": [number % 2 for number in range(20)],
            "meta": [{"url": f"u{number}", "size": number / 4} for number in range(20)],
        },
        rows,
        {"huggingface": json.dumps({"info": {"features": features}})},
    )


def records(source: Any, reading: Any = Reading(), rows: Any = 8, **changes: Any) -> list[dict[str, Any]]:  # noqa: B008
    stream = io.StringIO()
    plan = plan_sources([str(source)], rows, reading)
    run_to_stream(tiny_classifier(), plan, options("jsonl", batch_size=4, **changes), stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def without_place(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if key not in ("source", "member")} for record in found
    ]


def test_directory_tar_zip_and_table_give_the_same_records(tmp_path: Path) -> None:
    members = [(f"{number:03d}.jpg", data) for number, data in enumerate(PHOTOS)]
    (tmp_path / "d").mkdir()
    for name, data in members:
        (tmp_path / "d" / name).write_bytes(data)
    places = [
        tmp_path / "d",
        write_tar(tmp_path / "a.tar", members),
        write_zip(tmp_path / "a.zip", members),
        hugging_face(tmp_path / "a.parquet"),
    ]
    directory, *others = (records(place) for place in places)
    assert len(directory) == 20
    assert all(without_place(found) == without_place(directory) for found in others)
    assert [record["member"] for record in others[-1]] == [name for name, _ in members]
    assert directory[3]["error"]["type"] == "NotAJpegError"


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"image": PHOTOS}, ["0", "1"]),
        ({"key": [f"k{n}" for n in range(20)], "jpg": PHOTOS, "url": ["u"] * 20}, ["k0", "k1"]),
        ({"path": [f"s3://u:hunter2@b/{n}.jpg" for n in range(20)], "content": PHOTOS}, ["s3://b/0.jpg"]),
        ({"image": [{"bytes": data} for data in PHOTOS]}, ["0", "1"]),
        ({"image": pa.array(PHOTOS, pa.large_binary()), "label": range(20)}, ["0", "1"]),
    ],
    ids=["bytes", "img2dataset", "spark", "struct without path", "large binary"],
)
def test_layouts_are_recognised(tmp_path: Path, columns: dict[str, Any], names: list[str]) -> None:
    (unit,) = plan_sources([write_table(tmp_path / "a.parquet", columns)]).units
    items = list(unit.items(Skipped()))
    assert [item.read() for item in items] == PHOTOS
    assert [item.member for item in items][: len(names)] == names


def test_row_groups_come_together_as_units(tmp_path: Path) -> None:
    plan = plan_sources([hugging_face(tmp_path / "a.parquet")], 10)
    assert [(unit.rows.groups, unit.rows.first_row) for unit in plan.units] == [
        (range(3), 0),
        (range(3, 5), 12),
    ]
    assert sum(unit.size for unit in plan.units) <= (tmp_path / "a.parquet").stat().st_size
    everything = [item.read() for unit in plan.units for item in unit.items(Skipped())]
    assert everything == PHOTOS
    assert [item.read() for item in plan.units[1].items(Skipped(), start=5)] == PHOTOS[17:]


def test_column_and_columns_to_keep_by_name(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "a.parquet")
    reading = Reading(Keep(("id", "meta.url", "key", "meta")), "picture")
    plan = plan_sources([source], 8, reading)
    assert plan.kinds == (("id", "int"), ("meta.url", "text"), ("key", "text"), ("meta", "text"))
    found = records(source, reading)
    assert [record["kept"]["id"] for record in found] == list(range(20))
    assert found[3]["error"]["type"] == "NotAJpegError"
    assert found[3]["kept"] == {
        "id": 3,
        "meta.url": "u3",
        "key": "003.jpg",
        "meta": {"url": "u3", "size": 0.75},
    }


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Reading(column="photo"), "no column 'photo'; it has id, picture"),
        (Reading(column="label"), "'label' holds no pictures"),
        (Reading(Keep(("nothing",))), "no column 'nothing'"),
        (Reading(Keep(("meta.nothing",))), "no column 'meta.nothing'"),
        (Reading(Keep(("picture.bytes",))), "holds bytes"),
    ],
)
def test_columns_that_are_not_there_are_said_before_the_work(
    tmp_path: Path, reading: Reading, message: str
) -> None:
    with pytest.raises(NoColumnError, match=message):
        plan_sources([hugging_face(tmp_path / "a.parquet")], reading=reading)


def test_table_without_photos_and_damaged_ones_are_records(tmp_path: Path) -> None:
    metadata = write_table(tmp_path / "00000.parquet", {"key": ["0"], "url": ["u"]})
    (tmp_path / "empty.parquet").touch()
    whole = hugging_face(tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[len(data) // 2 - 2000 : len(data) // 2] = bytes(2000)
    (tmp_path / "a.parquet").write_bytes(data)
    found = [record for source in (metadata, tmp_path / "empty.parquet", whole) for record in records(source)]
    assert [record["error"]["type"] for record in found[:2]] == ["NoColumnError", "ArchiveError"]
    assert "has no column of photos" in found[0]["error"]["message"]
    assert any(record["error"] for record in found[2:])


def test_rows_without_a_picture_are_records_and_paths_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(photo(1))
    rows = [{"bytes": None, "path": str(tmp_path / "secret.jpg")}, None, {"bytes": photo(2), "path": None}]
    found = records(write_table(tmp_path / "a.parquet", {"image": rows}))
    assert [record["error"] and record["error"]["message"] for record in found] == [
        "the row names a file and does not hold it",
        "the row holds no picture",
        None,
    ]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_resumed_table_gives_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, steps: int
) -> None:
    monkeypatch.setattr("dctafd.batch.run._SECONDS_BETWEEN_CHECKPOINTS", dict.fromkeys(FORMATS, 0.0))
    source = hugging_face(tmp_path / "a.parquet", rows=5)
    reading = Reading(Keep(("id", "label")))
    plan = plan_sources([source], 8, reading)
    run_to_file(tiny_classifier(), plan, options(name), tmp_path / f"whole.{name}")
    path = tmp_path / f"o.{name}"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options(name), path, on_step=killed_after(steps))
    run_to_file(tiny_classifier(), plan_sources([source], 8, reading), options(name), path, resume=True)
    assert path.read_bytes() == (tmp_path / f"whole.{name}").read_bytes()


def test_kept_values_in_every_format(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="reads what we write")
    plan = plan_sources([hugging_face(tmp_path / "a.parquet")], 8, Reading(Keep(("id", "meta.size", "meta"))))
    for name in FORMATS:
        run_to_file(tiny_classifier(), plan, options(name), tmp_path / f"o.{name}")
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["kept.id"] for row in rows] == [str(number) for number in range(20)]
    assert json.loads(rows[1]["kept.meta"]) == {"url": "u1", "size": 0.25}
    table = parquet.read_table(tmp_path / "o.parquet")
    kept = table.schema.field("kept").type
    assert [kept.field(name).type for name in ("id", "meta.size", "meta")] == [
        pa.int64(),
        pa.float64(),
        pa.string(),
    ]
    query = f"SELECT kept.id, kept.\"meta.size\", label FROM '{tmp_path / 'o.parquet'}' ORDER BY kept.id"
    found = duckdb.sql(query).fetchall()
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    best = [record["predictions"][0]["label"] if record["predictions"] else None for record in lines]
    assert found == [(number, number / 4, best[number]) for number in range(20)]


def test_classify_reads_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dctafd.inference.loading.load_classifier", lambda *_, **options: tiny_classifier())
    source = hugging_face(tmp_path / "a.parquet")
    arguments = ["classify", source, "--column", "picture", "--keep", "id,label", "--format", "jsonl"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1  # one is a GIF
    assert [json.loads(line)["kept"]["id"] for line in result.stdout.splitlines()] == list(range(20))
    for wrong in (["--keep", "id,nothing"], ["--keep", "id,id"], ["--column", "nothing"]):
        assert CliRunner().invoke(cli, ["classify", source, *wrong]).exit_code == 2


def test_table_in_a_directory_is_named_and_not_opened(tmp_path: Path) -> None:
    hugging_face(tmp_path / "a.parquet")
    (tmp_path / "1.jpg").write_bytes(photo(1))
    plan = plan_sources([str(tmp_path)])
    assert (plan.skipped.archive_count, len(plan.units)) == (1, 1)


# Appended columns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [None, 1, 4])
def test_results_are_appended_to_a_copy_of_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None
) -> None:
    duckdb = pytest.importorskip("duckdb", reason="reads what we write")
    monkeypatch.setattr("dctafd.batch.run._SECONDS_BETWEEN_CHECKPOINTS", dict.fromkeys(FORMATS, 0.0))
    sources = [hugging_face(tmp_path / "a.parquet", rows=6), hugging_face(tmp_path / "b.parquet", rows=4)]
    plan = plan_sources(sources, 8)
    check_appendable(plan, None)
    path = tmp_path / "o.parquet"
    if steps is not None:
        with pytest.raises(KilledError):
            run_to_file(
                tiny_classifier(),
                plan,
                options("parquet", append_columns=True),
                path,
                on_step=killed_after(steps),
            )
    run_to_file(
        tiny_classifier(), plan, options("parquet", append_columns=True), path, resume=steps is not None
    )
    run_to_file(tiny_classifier(), plan, options("parquet"), tmp_path / "results.parquet")
    whole, results = parquet.read_table(path), parquet.read_table(tmp_path / "results.parquet")
    inputs = pa.concat_tables([parquet.read_table(source) for source in sources])
    assert whole.select(inputs.schema.names).equals(inputs)
    assert b"huggingface" in whole.schema.metadata
    for name in ("label", "score", "predictions", "error", "quality"):
        assert whole.column(f"dctafd_{name}").equals(results.column(name))
    assert not {"dctafd_source", "dctafd_member"} & set(whole.schema.names)
    metadata = parquet.ParquetFile(path).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [6, 6, 6, 2, *[4] * 5]
    query = f"SELECT count(*) FROM '{path}' WHERE dctafd_label IS NOT NULL"
    assert duckdb.sql(query).fetchall() == [(38,)]
    with pytest.raises(ValueError, match="'dctafd_width' already"):
        check_appendable(plan_sources([str(path)]), None)


def test_what_nothing_can_be_appended_to_is_wrong_usage(tmp_path: Path) -> None:
    table = hugging_face(tmp_path / "a.parquet")
    other = write_table(tmp_path / "b.parquet", {"image": PHOTOS})
    tar = str(write_tar(tmp_path / "a.tar", [("1.jpg", photo(1))]))
    for arguments in ([table, tar], [table, other], [table, "--keep", "id"], [table, "--format", "csv"]):
        output = str(tmp_path / "o.parquet")
        result = CliRunner().invoke(cli, ["classify", *arguments, "-o", output, "--append-columns"])
        assert result.exit_code == 2, result.output
        assert "append" in result.output
