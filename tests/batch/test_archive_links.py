"""Links in tars: those to members are photos, the others are passed over, and none leads outside."""

import importlib.util
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from dctafd.batch.archives import iter_members
from dctafd.batch.sources import iter_sources
from dctafd.errors import ArchiveError
from dctafd.inputs.source_items import Skipped
from tests.support.archive_files import add_file, add_header, members_of, write_packed

needs_zstd = pytest.mark.skipif(
    importlib.util.find_spec("zstandard") is None, reason="needs the extra zstd (zstandard)"
)


def linked_folder(folder: Path) -> Path:
    """Make a folder with every kind of link in it."""
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1.jpg").write_bytes(b"one")
    (folder / "a" / "2.jpg").write_bytes(b"two")
    (folder / "a" / "notes.txt").write_bytes(b"notes")
    os.link(folder / "a" / "1.jpg", folder / "hard.jpg")
    os.link(folder / "a" / "2.jpg", folder / "a" / "hard.jpg")
    (folder / "soft.jpg").symlink_to("a/2.jpg")
    (folder / "a" / "up.jpg").symlink_to("../hard.jpg")
    (folder / "chain.jpg").symlink_to("soft.jpg")
    (folder / "text.jpg").symlink_to("a/notes.txt")
    (folder / "b").symlink_to("a")
    (folder / "through.jpg").symlink_to("b/1.jpg")
    (folder / "folder.jpg").symlink_to("a")
    (folder / "gone.jpg").symlink_to("a/9.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "out.jpg").symlink_to("../../../nowhere/photo.jpg")
    return folder


def pack(folder: Path, path: Path) -> Path:
    """Pack a folder as `tar c` and `zip -y` do."""
    entries = sorted(folder.rglob("*"), key=str)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for entry in entries:
                name = str(entry.relative_to(folder))
                if entry.is_symlink():
                    info = zipfile.ZipInfo(name)
                    info.create_system, info.external_attr = 3, 0o120777 << 16
                    archive.writestr(info, os.readlink(entry))
                else:
                    archive.write(entry, name)
        return path
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            archive.add(entry, f"./{entry.relative_to(folder)}", recursive=False)
    return write_packed(path, buffer.getvalue())


def photos_in(source: Path, prefix: str) -> tuple[dict[str, bytes | None], Skipped]:
    """Return what a source's photos hold or that they fail, by name, and what was passed over."""
    skipped = Skipped()
    found: dict[str, bytes | None] = {}
    for item in iter_sources([str(source)], skipped):
        name = item.member.removeprefix("./") if item.member else item.source.removeprefix(prefix)
        try:
            found[name] = item.read()
        except (ArchiveError, OSError):
            found[name] = None
    return found, skipped


@pytest.mark.parametrize("name", ["l.tar", "l.tar.gz", "l.zip", pytest.param("l.tar.zst", marks=needs_zstd)])
def test_archive_of_a_folder_with_links_gives_what_the_folder_gives(tmp_path: Path, name: str) -> None:
    folder = linked_folder(tmp_path / "folder")
    wanted, passed_over = photos_in(folder, f"{folder}/")
    assert wanted == {
        "a/1.jpg": b"one",
        "a/2.jpg": b"two",
        "a/hard.jpg": b"two",
        "a/up.jpg": b"one",
        "chain.jpg": b"two",
        "circle.jpg": None,
        "gone.jpg": None,
        "hard.jpg": b"one",
        "out.jpg": None,
        "soft.jpg": b"two",
        "text.jpg": b"notes",
        "through.jpg": b"one",
    }
    found, skipped = photos_in(pack(folder, tmp_path / name), "")
    assert found == wanted
    assert passed_over.not_files == 2  # folder.jpg, and b, which in an archive is counted by its name
    assert (skipped.sidecars, skipped.files, skipped.not_files) == (1, 1, 1)


def test_link_leaves_the_archive_under_no_circumstances(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for number, target in enumerate(["../secret.jpg", "secret.jpg", str(tmp_path / "secret.jpg")]):
            add_header(archive, f"s{number}.jpg", tarfile.SYMTYPE, target)
            add_header(archive, f"h{number}.jpg", tarfile.LNKTYPE, target)
    for member in iter_members(str(path)):
        with pytest.raises(ArchiveError, match="links to"):
            member.read()


def test_hard_link_to_its_own_name_is_the_file(tmp_path: Path) -> None:
    """`tar cf t.tar a.jpg a.jpg` stores the second one so."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add_file(archive, "a.jpg", b"data")
        add_header(archive, "a.jpg", tarfile.LNKTYPE, "a.jpg")
    assert members_of(path) == [("a.jpg", b"data")] * 2


def test_links_before_the_damage_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add_file(archive, "a.jpg", b"data")
        add_header(archive, "b.jpg", tarfile.LNKTYPE, "a.jpg")
        add_file(archive, "c.jpg", b"more")
    data = bytearray(path.read_bytes())
    data[data.index(b"c.jpg")] ^= 1
    path.write_bytes(data)
    members = iter_members(str(path))
    assert [next(members).read() for _ in range(2)] == [b"data", b"data"]
    with pytest.raises(ArchiveError):
        next(members)


def test_links_of_a_compressed_tar_are_not_read_again_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dctafd.batch.tar_archive._MAX_REREAD", 10_000)
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        add_file(archive, "a.jpg", b"x" * 4000)
        add_file(archive, "b.jpg", b"y" * 4000)
        for number in range(20):
            add_header(archive, f"{number}.jpg", tarfile.LNKTYPE, "ba"[number % 2] + ".jpg")
    read, refused = [], []
    for link in iter_members(str(path)):
        try:
            read.append(link.read()[:1])
        except ArchiveError as error:
            refused.append(str(error))
    assert read[:4] == [b"x", b"y", b"y", b"x"]
    assert len(read) + len(refused) == 22
    assert all("unpack it" in message for message in refused)
    assert len(refused) > 10
