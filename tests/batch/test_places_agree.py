"""The same photos in a directory, archives and a table, on disk and behind URLs, give the same records."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dctafd.batch.run import run_to_stream
from dctafd.batch.sources import plan_sources
from tests.batch.test_run import options
from tests.support.archive_files import write_zip
from tests.support.http_server import Behaviour, http_server
from tests.support.s3_server import forget_stores, made_bucket, s3_server
from tests.support.tiny_classifier import photo, tiny_classifier

pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
pytest.importorskip("aiohttp", reason="needs the extra remote")


def records(source: str) -> list[dict[str, Any]]:
    stream = io.StringIO()
    run_to_stream(tiny_classifier(), plan_sources([source], 8), options("jsonl", batch_size=4), stream)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    names = [(record["member"] or record["source"]).rpartition("/")[2] for record in found]
    return [{**record, "source": None, "member": name} for record, name in zip(found, names, strict=True)]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_six_places_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    members = [(f"{number:02d}.jpg", photo(number % 7, 20 + 3 * number)) for number in range(20)]
    members[5], members[11] = ("05.jpg", b"GIF89a"), ("11.jpg", members[11][1][:100])
    directory = tmp_path / "d"
    directory.mkdir()
    for name, data in members:
        (directory / name).write_bytes(data)
    (directory / "03-hard.jpg").hardlink_to(directory / "03.jpg")
    (directory / "04-soft.jpg").symlink_to("04.jpg")
    members = [(path.name, path.read_bytes()) for path in sorted(directory.iterdir())]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:  # which has links as links
        for name, _ in members:
            archive.add(directory / name, name)
    tar = (tmp_path / "a.tar").read_bytes()
    write_zip(tmp_path / "a.zip", members)
    rows = [{"bytes": data, "path": name} for name, data in members]
    parquet.write_table(pa.table({"image": rows}), tmp_path / "a.parquet", row_group_size=8)
    with http_server(Behaviour({"a.tar": tar})) as url, s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        made_bucket("photos").pipe("photos/a.tar", tar)
        local = [str(tmp_path / name) for name in ("d", "a.tar", "a.zip", "a.parquet")]
        first, *others = (records(place) for place in (*local, f"{url}a.tar", "s3://photos/a.tar"))
    forget_stores()
    assert sorted(record["member"] for record in first) == [name for name, _ in members]
    assert sum(record["error"] is not None for record in first) == 2
    assert all(found == first for found in others)
