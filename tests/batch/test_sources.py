import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dctafd.batch.sources import iter_sources, plan_sources, read_list
from dctafd.errors import ArchiveError, LimitExceededError
from dctafd.inputs import source_items
from dctafd.inputs.file_names import expand_braces, is_jpeg_name, natural_key
from dctafd.inputs.source_items import Skipped, readable
from tests.support.archive_files import write_tar, write_zip


def names_of(*arguments: Any, skipped: Skipped | None = None) -> list[tuple[str, str | None]]:
    return [(item.source, item.member) for item in iter_sources(map(str, arguments), skipped)]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small directory, and the process in its parent."""
    for name in ["d/2.jpg", "d/10.JPG", "d/1/x.jpeg", "d/1/y.jfif", "d/readme.txt", "d/old.zip", "d/z.jpe"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_directory_is_walked_in_natural_order_and_what_is_no_jpeg_is_counted(tree: Path) -> None:
    skipped = Skipped()
    assert [source for source, _ in names_of("d", skipped=skipped)] == [
        "d/1/x.jpeg",
        "d/1/y.jfif",
        "d/2.jpg",
        "d/10.JPG",
        "d/z.jpe",
    ]
    assert skipped == Skipped(sidecars=1, archives=["d/old.zip"], archive_count=1)


def test_brace_pattern_over_directories_is_that_of_a_glob(tree: Path) -> None:
    (tree / "e1").mkdir()
    (tree / "e2").symlink_to(tree / "d" / "1")
    (tree / "e1" / "a.jpg").write_bytes(b"a")
    expected = [("e1/a.jpg", None), ("e2/x.jpeg", None), ("e2/y.jfif", None)]
    assert names_of("e{1..2}") == names_of("e{1,2}") == names_of("e*") == expected
    assert names_of("e{1,2}/*.j*") == expected


def test_links_to_directories_are_not_followed_whatever_they_are_called(tree: Path) -> None:
    (tree / "d" / "loop").symlink_to(tree / "d")
    (tree / "d" / "loop.jpg").symlink_to(tree / "d")
    skipped = Skipped()
    assert len(names_of("d", skipped=skipped)) == 5
    assert skipped.not_files == 2


@pytest.mark.parametrize("source", ["d", "d/*.jpg"])
def test_pipe_that_nobody_named_is_passed_over(tree: Path, source: str) -> None:
    before = names_of(source)
    os.mkfifo(tree / "d" / "pipe.jpg")
    (tree / "d" / "link.jpg").symlink_to(tree / "d" / "pipe.jpg")
    skipped = Skipped()
    assert names_of(source, skipped=skipped) == before
    assert skipped.not_files == 2


def test_pipe_given_by_name_is_read(tree: Path) -> None:
    os.mkfifo(tree / "pipe.jpg")
    (item,) = iter_sources(["pipe.jpg"])
    writer = threading.Thread(target=(tree / "pipe.jpg").write_bytes, args=[b"data"])
    writer.start()
    assert item.read() == b"data"
    writer.join()


def test_link_in_a_circle_is_an_input_that_fails(tree: Path) -> None:
    (tree / "d" / "circle.jpg").symlink_to("circle.jpg")
    (item,) = [item for item in iter_sources(["d"]) if "circle" in item.source]
    with pytest.raises(OSError, match="symbolic links"):
        item.read()


def test_folder_that_cannot_be_listed_is_an_input_that_fails(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("d/1"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    items = list(iter_sources(["d"]))
    assert [item.source for item in items] == ["d/1", "d/2.jpg", "d/10.JPG", "d/z.jpe"]
    with pytest.raises(PermissionError):
        items[0].read()


@pytest.mark.parametrize("name", ["a\0.jpg", "a\ud800.jpg", "x" * 5000 + ".jpg", "a\0*.jpg", "a\0.tar"])
def test_name_that_the_system_refuses_is_an_input_that_fails(tree: Path, name: str) -> None:
    item, good = iter_sources([name, "d/2.jpg"])
    with pytest.raises((OSError, ValueError, ArchiveError)):
        item.read()
    assert good.read() == b"d/2.jpg"


def test_link_to_nothing_is_an_input_that_fails(tree: Path) -> None:
    (tree / "d" / "gone.jpg").symlink_to(tree / "nothing")
    (item,) = [item for item in iter_sources(["d"]) if "gone" in item.source]
    with pytest.raises(FileNotFoundError):
        item.read()


def test_glob_and_recursive_glob(tree: Path) -> None:
    assert names_of("d/*.[jJ][pP]*") == [("d/2.jpg", None), ("d/10.JPG", None), ("d/z.jpe", None)]
    assert names_of("d/**/*.j*") == [
        ("d/1/x.jpeg", None),
        ("d/1/y.jfif", None),
        ("d/2.jpg", None),
        ("d/z.jpe", None),
    ]


def test_name_with_glob_characters_that_exists_is_that_file(tree: Path) -> None:
    (tree / "[1]{a,b}.jpg").write_bytes(b"data")
    (item,) = iter_sources(["[1]{a,b}.jpg"])
    assert (item.source, item.read()) == ("[1]{a,b}.jpg", b"data")


def test_file_given_by_name_is_tried_whatever_it_is_called(tree: Path) -> None:
    (item,) = iter_sources(["d/readme.txt"])
    assert item.read() == b"d/readme.txt"


@pytest.mark.parametrize("name", ["missing.jpg", "missing*.jpg", "missing.tar"])
def test_what_does_not_exist_is_an_input_that_fails(tree: Path, name: str) -> None:
    (item,) = iter_sources([name])
    assert item.source == name
    with pytest.raises(FileNotFoundError):
        item.read()


def test_braces_count_with_leading_zeros() -> None:
    assert list(expand_braces("s-{008..010}.tar")) == ["s-008.tar", "s-009.tar", "s-010.tar"]
    assert list(expand_braces("{a,b}{1..2}")) == ["a1", "a2", "b1", "b2"]
    assert list(expand_braces("{only}")) == ["{only}"]


@pytest.mark.parametrize("pattern", ["{0..999999}{0..9}.tar", "{1..1}" * 2000, "{a,{a,b}" * 30 + "}" * 30])
def test_braces_that_stand_for_too_many_names_are_an_input_that_fails(tree: Path, pattern: str) -> None:
    item, good = iter_sources([pattern, "d/2.jpg"])
    assert item.source == pattern
    assert isinstance(item.error, LimitExceededError)
    assert good.read() == b"d/2.jpg"


def test_brace_pattern_names_shards(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"s-{number:02d}.tar", [(f"{number}.jpg", b"data")])
    items = names_of(tmp_path / "s-{00..02}.tar")
    assert [member for _, member in items] == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize(("name", "write"), [("a.tar", write_tar), ("a.zip", write_zip)])
def test_archive_members_by_name(tmp_path: Path, name: str, write: Callable[..., Any]) -> None:
    members = [("../x.JPG", b"1"), ("x.txt", b"2"), ("in.tar", b"3"), ("d/photo.jpeg", b"4")]
    skipped = Skipped()
    path = write(tmp_path / name, members)
    items = list(iter_sources([str(path)], skipped))
    assert [(item.source, item.member, item.read()) for item in items] == [
        (str(path), "../x.JPG", b"1"),
        (str(path), "d/photo.jpeg", b"4"),
    ]
    assert skipped == Skipped(archives=[f"{path}: in.tar"], archive_count=1, sidecars=1)
    assert sorted(os.listdir(tmp_path)) == [name]


def test_damaged_archive_is_an_item_that_fails_and_the_next_source_follows(tmp_path: Path) -> None:
    bad = write_tar(tmp_path / "bad.tar", [("0.jpg", b"x" * 600), ("1.jpg", b"y" * 600)])
    bad.write_bytes(bad.read_bytes()[:2100])
    good = write_tar(tmp_path / "good.tar", [("2.jpg", b"z")])
    items = list(iter_sources([str(bad), str(good)]))
    assert [item.member for item in items] == ["0.jpg", "1.jpg", None, "2.jpg"]
    assert items[0].read() == b"x" * 600
    assert isinstance(items[1].error, ArchiveError)
    assert isinstance(items[2].error, ArchiveError)


def test_items_from_the_middle_are_the_same_items(tmp_path: Path, tree: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", [(f"{i}.jpg", b"data") for i in range(5)])
    for unit in plan_sources([str(archive), "d"]).units:
        everything = list(unit.items(Skipped()))
        assert list(unit.items(Skipped(), start=3)) == everything[3:]


def test_units_are_archives_and_runs_of_files(tree: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", [("0.jpg", b"data")])
    plan = plan_sources(["d", str(archive), "d/2.jpg"], files_per_unit=2)
    assert [(unit.kind, len(unit.entries)) for unit in plan.units] == [
        ("files", 2),
        ("files", 2),
        ("files", 1),
        ("archive", 1),
        ("files", 1),
    ]
    assert not plan.single_file
    assert not plan_sources([str(archive)]).single_file
    assert not plan_sources(["d"]).single_file
    assert plan_sources(["d/2.jpg"]).single_file


def test_fingerprint_notices_a_changed_file(tree: Path) -> None:
    before = plan_sources(["d"]).fingerprint
    assert plan_sources(["d"]).fingerprint == before
    os.utime(tree / "d" / "2.jpg", ns=(1, 1))
    assert plan_sources(["d"]).fingerprint != before


def test_file_larger_than_the_limit_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_items, "MAX_FILE_BYTES", 3)
    (item,) = iter_sources(["d/2.jpg"])
    with pytest.raises(LimitExceededError):
        item.read()


def test_file_name_that_is_no_utf8_is_read_and_named_with_an_escape(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"data")
    (item,) = iter_sources([str(tmp_path)])
    assert item.source.endswith("caf\\udce9.jpg")
    assert item.read() == b"data"


def test_natural_order_and_names() -> None:
    assert sorted(["b10", "b9", "a", "10", "9"], key=natural_key) == ["9", "10", "a", "b9", "b10"]
    assert [name for name in ("a.JPG", "b.png", "c.jfif", "jpg") if is_jpeg_name(name)] == ["a.JPG", "c.jfif"]
    assert readable("фото") == "фото"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.jpg\n\nb.jpg", ["a.jpg", "b.jpg"]),
        (b"a.jpg\r\n#b.jpg\r\n", ["a.jpg", "#b.jpg"]),
        (b"caf\xe9.jpg\nb.jpg\n", [os.fsdecode(b"caf\xe9.jpg"), "b.jpg"]),
        ("\ufeffcafé.jpg\nb.jpg\n".encode(), [os.fsdecode("café.jpg".encode()), "b.jpg"]),
        ("\ufeffcafé.jpg\r\nb.jpg\r\n".encode("utf-16-le"), ["café.jpg", "b.jpg"]),
        ("\ufeffcafé.jpg\nb.jpg\n".encode("utf-16-be"), ["café.jpg", "b.jpg"]),
        (b"\xff\xfea\0.", ["a\ufffd"]),
        (b"", []),
    ],
)
def test_a_list_is_bytes_unless_a_byte_order_mark_says_otherwise(data: bytes, names: list[str]) -> None:
    assert list(read_list(io.BytesIO(data))) == names
