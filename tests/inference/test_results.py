import csv
import io
import json

import pytest

from dctafd.batch.writers import text_format
from dctafd.errors import NotAJpegError
from dctafd.inference.results import RECORD_KEYS, Prediction, Result, failed

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
BAD = failed("b\n.jpg", None, "tiny", NotAJpegError("starts with GIF89a"))


def written(name, *batches, top_k=2):
    layout = text_format(name, top_k)
    return layout.begin() + "".join(layout.batch(batch) for batch in batches) + layout.end()


def test_record_has_the_contract_keys_in_order():
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
        "predictions",
        "warnings",
        "error",
    ]
    assert GOOD.to_record()["predictions"][0] == {"index": 2, "label": 'cat "tabby"', "score": 0.75}
    assert BAD.to_record()["error"] == {"type": "NotAJpegError", "message": "starts with GIF89a"}


@pytest.mark.parametrize("result", [GOOD, BAD])
def test_result_survives_its_record(result):
    assert Result.from_record(json.loads(json.dumps(result.to_record()))) == result


def test_jsonl_is_a_record_a_line():
    lines = written("jsonl", [GOOD], [BAD]).splitlines()
    assert [json.loads(line) for line in lines] == [GOOD.to_record(), BAD.to_record()]


def test_json_is_one_array_however_the_batches_fall():
    assert json.loads(written("json", [GOOD, BAD], [], [GOOD])) == [r.to_record() for r in (GOOD, BAD, GOOD)]
    assert json.loads(written("json")) == []


def test_csv_has_the_same_columns_for_every_row():
    rows = list(csv.DictReader(io.StringIO(written("csv", [GOOD], [BAD], top_k=3))))
    assert rows[0]["member"] == "x, y.jpg"
    assert (rows[0]["label_1"], rows[0]["score_2"], rows[0]["label_3"]) == ('cat "tabby"', "0.25", "")
    assert rows[0]["warnings"] == "3 of 9 blocks are missing; junk before a marker"
    assert (rows[1]["source"], rows[1]["error_type"], rows[1]["label_1"]) == ("b\n.jpg", "NotAJpegError", "")


def test_table_shows_one_photo_in_detail():
    text = written("table", [GOOD])
    assert "quality 75" in text
    assert ' 75.0%  cat "tabby"' in text
    assert "warning: junk before a marker" in text


def test_table_shows_many_photos_as_rows_and_its_heading_once():
    text = written("table", *[[GOOD, BAD]] * 150)
    assert len(text.splitlines()) == 301
    assert text.count("quality") == 1
    assert "b\\n.jpg" in text
    assert "NotAJpegError: starts with GIF89a" in text
