"""What lies beside photos in WebDataset shards, archives and directories."""

import json
from pathlib import Path
from typing import Any

import pytest

from dctafd.batch.kept import MAX_SIDECAR_BYTES, Keep, parse_keep
from dctafd.batch.run import run_to_file
from dctafd.batch.sources import plan_sources
from dctafd.batch.units import Reading
from dctafd.inputs.file_names import sample_extension, sample_key
from dctafd.inputs.source_items import Skipped
from tests.batch.test_run import KilledError, killed_after, options
from tests.support.archive_files import write_tar, write_zip
from tests.support.tiny_classifier import photo, tiny_classifier

KEEP = Keep(("key", "cls", "json.url", "json", "txt", "caption.txt"))


def sample(number: int, before: bool = True) -> list[tuple[str, bytes]]:
    """Return a sample's members, some of them before the photo."""
    beside = [
        (f"d/{number}.cls", f"{number}\n".encode()),
        (f"d/{number}.JSON", json.dumps({"url": f"u{number}", "n": [number]}).encode()),
        (f"d/{number}.caption.txt", b"a \xff caption"),
    ]
    one = [(f"d/{number}.jpg", photo(number % 5))]
    return [*beside, *one] if before else [*one, *beside]


def wanted(number: int) -> dict[str, Any]:
    return {
        "key": f"d/{number}",
        "cls": str(number),
        "json.url": f"u{number}",
        "json": {"url": f"u{number}", "n": [number]},
        "txt": None,
        "caption.txt": "a � caption",
    }


def kept(path: Path, keep: Any = KEEP, skipped: Any = None) -> list[Any]:
    plan = plan_sources([str(path)], reading=Reading(keep))
    skipped = Skipped() if skipped is None else skipped
    return [item.kept for unit in plan.units for item in unit.items(skipped)]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
@pytest.mark.parametrize("before", [True, False])
def test_sidecars_before_and_after_a_photo(tmp_path: Path, name: str, before: bool) -> None:
    members = [member for number in range(4) for member in sample(number, before)]
    path = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, members)
    skipped = Skipped()
    assert kept(path, skipped=skipped) == [wanted(number) for number in range(4)]
    assert skipped == Skipped()
    kept(path, Keep(("cls",)), skipped)
    assert skipped == Skipped(sidecars=8)
    assert [value["key"] for value in kept(path, Keep(("key",)))] == ["d/0", "d/1", "d/2", "d/3"]


def test_zip_in_any_order(tmp_path: Path) -> None:
    members = [member for number in range(4) for member in sample(number)]
    path = write_zip(tmp_path / "a.zip", sorted(members, key=lambda member: sample_extension(member[0])))
    assert kept(path) == [wanted(number) for number in range(4)]


def test_directory_gives_what_the_archive_gives(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, data in [member for number in range(4) for member in sample(number)]:
        (tmp_path / name.replace("JSON", "json")).write_bytes(data)
    found = kept(tmp_path / "d")
    assert [{**values, "key": values["key"][-3:]} for values in found] == [wanted(n) for n in range(4)]


@pytest.mark.parametrize("name", ["a/b.c/d.x.jpg", "d.x.jpg", "a/.hidden"])
def test_key_and_extension_are_webdatasets(name: str) -> None:
    """The rule of webdataset.tariterators.base_plus_ext, with its regular expression."""
    import re

    match = re.match(r"^((?:.*/|)[^.]*)[.]([^/]*)$", name)
    assert match is not None
    assert (sample_key(name), sample_extension(name)) == (match[1], match[2].lower())


def test_photos_of_one_sample_share_what_lies_beside(tmp_path: Path) -> None:
    members = [("a.left.jpg", photo(1)), ("a.cls", b"1"), ("a.right.jpg", photo(2)), ("b.jpg", photo(3))]
    found = kept(write_tar(tmp_path / "a.tar", members), Keep(("cls",)))
    assert [values["cls"] for values in found] == ["1", "1", None]


def test_endless_sample_is_cut_and_not_held(tmp_path: Path) -> None:
    members = [("a.cls", b"1"), *((f"a.{n}.jpg", photo(n % 3)) for n in range(30)), ("a.txt", b"late")]
    found = kept(write_tar(tmp_path / "a.tar", members), Keep(("cls", "txt")))
    assert [values["cls"] for values in found] == ["1"] * 30
    assert [values["txt"] for values in found] == [None] * 24 + ["late"] * 6


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b"1", b"\xff", b'{"url": NaN}', b""])
def test_what_is_no_json_is_null(tmp_path: Path, data: bytes) -> None:
    (values,) = kept(
        write_tar(tmp_path / "a.tar", [("a.json", data), ("a.jpg", photo(1))]), Keep(("json.url",))
    )
    assert values == {"json.url": None}


def test_huge_sidecar_is_null(tmp_path: Path) -> None:
    members = [("a.txt", b"x" * (MAX_SIDECAR_BYTES + 1)), ("a.jpg", photo(1))]
    assert kept(write_tar(tmp_path / "a.tar", members), Keep(("txt",))) == [{"txt": None}]


def test_damaged_archive_has_the_columns_too(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", sample(1) + sample(2))
    path.write_bytes(path.read_bytes()[:-12_000])
    found = kept(path)
    assert found[-1] == dict.fromkeys(KEEP.names)


@pytest.mark.parametrize("text", ["", "a,,b", "a,a"])
def test_names_to_keep_are_checked(text: str) -> None:
    with pytest.raises(ValueError, match="no list of different names"):
        parse_keep(text)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_resumed_shard_has_the_same_sidecars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, steps: int
) -> None:
    monkeypatch.setattr("dctafd.batch.run._SECONDS_BETWEEN_CHECKPOINTS", {"jsonl": 0.0})
    members = [member for number in range(5) for member in sample(number, number % 2 == 0)]
    members += [("x.cls", b"9"), *((f"x.{n}.jpg", photo(n % 3)) for n in range(11)), ("x.txt", b"end")]
    source = str((write_zip if name.endswith("zip") else write_tar)(tmp_path / name, members))
    reading = Reading(KEEP)
    plan = plan_sources([source], reading=reading)
    run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "whole.jsonl")
    path = tmp_path / "o.jsonl"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("jsonl"), path, on_step=killed_after(steps))
    run_to_file(tiny_classifier(), plan, options("jsonl"), path, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
