import importlib.util
import io
import struct
import tarfile
import zipfile

import pytest

from dctafd.batch import archives
from dctafd.batch.archives import is_archive, iter_members
from dctafd.errors import ArchiveError, LimitExceededError, MissingExtraError
from tests.support.archive_files import tar_bytes, write_tar, write_zip

needs_zstd = pytest.mark.skipif(
    importlib.util.find_spec("zstandard") is None, reason="needs the extra zstd (zstandard)"
)
MEMBERS = [(f"d/{i}.jpg", bytes([i]) * (i * 500)) for i in range(5)]
ZSTD_NAME = pytest.param("a.tar.zst", marks=needs_zstd)


def members_of(path):
    return [(member.name, member.read()) for member in iter_members(str(path))]


def until_error(path):
    """Return the names that come before the archive's error, and the error."""
    names = []
    with pytest.raises(ArchiveError) as caught:
        names.extend(member.name for member in iter_members(str(path)))
    return names, str(caught.value)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "A.TAR", ZSTD_NAME])
def test_tar_members_come_in_order(tmp_path, name):
    assert members_of(write_tar(tmp_path / name, MEMBERS)) == MEMBERS


def test_zip_members_come_in_order(tmp_path):
    assert members_of(write_zip(tmp_path / "a.zip", MEMBERS)) == MEMBERS


def test_members_need_not_be_read(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", MEMBERS)
    assert [member.size for member in iter_members(str(path))] == [len(data) for _, data in MEMBERS]


@pytest.mark.parametrize(
    ("name", "expected"), [("a.tar", True), ("b.TGZ", True), ("c.tar.zst", True), ("d.gz", False)]
)
def test_archives_are_known_by_their_names(name, expected):
    assert is_archive(name) is expected


def test_only_regular_files_are_members(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in [("dir.jpg", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE)]:
            header = tarfile.TarInfo(name)
            header.type = kind
            header.linkname = "/etc/passwd"
            archive.addfile(header)
        header = tarfile.TarInfo("device.jpg")
        header.type = tarfile.CHRTYPE
        archive.addfile(header)
        header = tarfile.TarInfo("../../photo.jpg")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"abc"))
    assert members_of(path) == [("../../photo.jpg", b"abc")]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", ZSTD_NAME])
def test_truncated_tar_gives_what_is_whole_and_an_error(tmp_path, name):
    path = write_tar(tmp_path / name, [(f"{i}.jpg", bytes(range(256)) * 40) for i in range(4)])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    names, _ = until_error(path)
    assert names == [f"{i}.jpg" for i in range(len(names))]


def test_truncated_tar_member_is_an_error_when_read(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("0.jpg", b"x" * 2000)])
    path.write_bytes(path.read_bytes()[:1500])
    members = iter_members(str(path))
    member = next(members)
    with pytest.raises(ArchiveError, match="unexpected end"):
        member.read()


def test_damaged_tar_header_is_not_taken_for_the_end(tmp_path):
    data = bytearray(tar_bytes([("0.jpg", b"a"), ("1.jpg", b"b"), ("2.jpg", b"c")]))
    data[1024 + 20] ^= 0xFF  # the name of the second member: its checksum no longer fits
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    names, message = until_error(path)
    assert names == ["0.jpg"]
    assert "header" in message


def test_tar_without_end_marker_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes([("0.jpg", b"a")])[:1024])
    names, message = until_error(path)
    assert names == ["0.jpg"]
    assert "end marker" in message


def test_huge_extended_header_is_refused(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 2**33
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "extended header claims" in until_error(path)[1]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip", ZSTD_NAME])
def test_noise_is_a_named_error(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(bytes(range(1, 256)) * 10)
    assert until_error(path)[0] == []


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_empty_file_is_a_named_error(tmp_path, name):
    path = tmp_path / name
    path.touch()
    assert until_error(path)[0] == []


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_member_larger_than_the_limit_is_refused_and_the_next_is_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 100)
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, [("big.jpg", b"x" * 101), ("small.jpg", b"y" * 100)])
    members = iter_members(str(path))
    with pytest.raises(LimitExceededError):
        next(members).read()
    assert next(members).read() == b"y" * 100


def test_damaged_zip_member_is_an_error_and_the_next_is_read(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("0.jpg", b"first"), ("1.jpg", b"second")])
    path.write_bytes(path.read_bytes().replace(b"first", b"fjrst"))
    members = iter_members(str(path))
    with pytest.raises(ArchiveError, match="CRC"):
        next(members).read()
    assert next(members).read() == b"second"


def test_encrypted_zip_member_is_an_error(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("0.jpg", b"data")])
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.index(signature) + offset
        struct.pack_into("<H", data, position, 1)
    path.write_bytes(data)
    members = iter_members(str(path))
    member = next(members)
    with pytest.raises(ArchiveError, match="password"):
        member.read()


def test_zip_bomb_is_read_no_further_than_it_claims(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.jpg", bytes(100_000))
    data = path.read_bytes().replace(struct.pack("<I", 100_000), struct.pack("<I", 10))
    path.write_bytes(data)
    members = iter_members(str(path))
    member = next(members)
    with pytest.raises(ArchiveError, match="CRC"):
        member.read()


def test_missing_zstandard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    path = tmp_path / "a.tar.zst"
    path.write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"dctafd\[zstd\]"):
        next(iter_members(str(path)))
