import gzip
import importlib.util
import io
import random
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dctafd.batch import archives
from dctafd.batch.archives import iter_members
from dctafd.batch.sources import iter_sources
from dctafd.errors import ArchiveError, LimitExceededError, MissingExtraError
from dctafd.inputs.file_names import is_archive
from dctafd.inputs.source_items import Skipped
from tests.support.archive_files import (
    add_file,
    add_header,
    members_of,
    tar_bytes,
    until_error,
    write_packed,
    write_tar,
    write_zip,
)
from tests.support.archive_mutations import mutated_archive

needs_zstd = pytest.mark.skipif(
    importlib.util.find_spec("zstandard") is None, reason="needs the extra zstd (zstandard)"
)
MEMBERS = [(f"d/{i}.jpg", bytes([i]) * (i * 500)) for i in range(5)]
ZSTD_NAME = pytest.param("a.tar.zst", marks=needs_zstd)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "A.TAR", ZSTD_NAME])
def test_tar_members_come_in_order(tmp_path: Path, name: str) -> None:
    assert members_of(write_tar(tmp_path / name, MEMBERS)) == MEMBERS


def test_zip_members_come_in_order(tmp_path: Path) -> None:
    assert members_of(write_zip(tmp_path / "a.zip", MEMBERS)) == MEMBERS


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_members_need_not_be_read(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / name, MEMBERS)
    assert [member.name for member in iter_members(str(path))] == [name for name, _ in MEMBERS]


@pytest.mark.parametrize(
    ("name", "expected"), [("a.tar", True), ("b.TGZ", True), ("c.tar.zst", True), ("d.gz", False)]
)
def test_archives_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_archive(name) is expected


def test_directories_and_devices_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add_header(archive, "dir.jpg", tarfile.DIRTYPE)
        add_header(archive, "device.jpg", tarfile.CHRTYPE)
        add_header(archive, "pipe.jpg", tarfile.FIFOTYPE)
        add_file(archive, "../../photo.jpg", b"abc")
    skipped = Skipped()
    assert [(m.name, m.read()) for m in iter_members(str(path), skipped)] == [("../../photo.jpg", b"abc")]
    assert skipped == Skipped(not_files=2)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", ZSTD_NAME])
def test_truncated_tar_gives_what_is_whole_and_an_error(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / name, [(f"{i}.jpg", bytes(range(256)) * 40) for i in range(4)])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    names, _ = until_error(path)
    assert names == [f"{i}.jpg" for i in range(len(names))]


def test_truncated_tar_member_is_an_error_when_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.jpg", b"x" * 2000)])
    path.write_bytes(path.read_bytes()[:1500])
    members = iter_members(str(path))
    member = next(members)
    with pytest.raises(ArchiveError, match="unexpected end"):
        member.read()


def test_damaged_tar_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([("0.jpg", b"a"), ("1.jpg", b"b"), ("2.jpg", b"c")]))
    data[1024 + 20] ^= 0xFF  # the name of the second member: its checksum no longer fits
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    names, message = until_error(path)
    assert names == ["0.jpg"]
    assert "header" in message


def test_tar_without_end_marker_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes([("0.jpg", b"a")])[:1024])
    names, message = until_error(path)
    assert names == ["0.jpg"]
    assert "end marker" in message


def test_huge_extended_header_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 2**33
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "extended header claims" in until_error(path)[1]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip", ZSTD_NAME])
def test_noise_is_a_named_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(range(1, 256)) * 10)
    assert until_error(path)[0] == []


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_empty_file_is_a_named_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert until_error(path)[0] == []


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_member_larger_than_the_limit_is_refused_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 100)
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, [("big.jpg", b"x" * 101), ("small.jpg", b"y" * 100)])
    members = iter_members(str(path))
    with pytest.raises(LimitExceededError):
        next(members).read()
    assert next(members).read() == b"y" * 100


def test_damaged_zip_member_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [("0.jpg", b"first"), ("1.jpg", b"second")])
    path.write_bytes(path.read_bytes().replace(b"first", b"fjrst"))
    members = iter_members(str(path))
    with pytest.raises(ArchiveError, match="CRC"):
        next(members).read()
    assert next(members).read() == b"second"


def test_encrypted_zip_member_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", [("0.jpg", b"data")])
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.index(signature) + offset
        struct.pack_into("<H", data, position, 1)
    path.write_bytes(data)
    members = iter_members(str(path))
    member = next(members)
    with pytest.raises(ArchiveError, match="encrypted") as caught:
        member.read()
    assert "<" not in str(caught.value)  # no repr


def test_zip_bomb_is_read_no_further_than_it_claims(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.jpg", bytes(100_000))
    data = path.read_bytes().replace(struct.pack("<I", 100_000), struct.pack("<I", 10))
    path.write_bytes(data)
    members = iter_members(str(path))
    member = next(members)
    with pytest.raises(ArchiveError, match="CRC"):
        member.read()


def test_missing_zstandard_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    path = tmp_path / "a.tar.zst"
    path.write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"\[zstd\]"):
        next(iter_members(str(path)))


# What the libraries raise beyond their documentation -------------------------------------------------------


def tar_with_headers(pax: Any = None, **fields: Any) -> bytes:
    """Return a tar with a good member, and one with pax records and header fields of its own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add_file(archive, "good.jpg", b"good")
        add_file(archive, "odd.jpg", b"x" * 600, pax_headers=pax or {}, **fields)
    return buffer.getvalue()


def with_size_field(data: bytes, text: bytes) -> bytes:
    """Put other bytes into the size field of the last member's header and mend its checksum."""
    changed = bytearray(data)
    start = changed.rindex(b"odd.jpg")
    changed[start + 124 : start + 136] = text
    changed[start + 148 : start + 156] = b" " * 8
    changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])
    return bytes(changed)


ODD_TARS = {
    "sparse map of words": tar_with_headers({"GNU.sparse.map": "a,b"}),
    "sparse map of one number": tar_with_headers({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    "sparse size of words": tar_with_headers({"GNU.sparse.realsize": "big"}),
    "size of words": tar_with_headers({"size": "many"}),
    "negative size": tar_with_headers({"size": "-1200"}),
    "size of 70 bits": tar_with_headers({"size": str(2**70)}),
    "GNU size of 90 bits": with_size_field(tar_with_headers(), b"\x80" + b"\x7f" * 11),
    "negative GNU size": with_size_field(tar_with_headers(), b"\xff" * 12),
    "digits of other scripts": with_size_field(tar_with_headers(), "٣".encode() * 6),
    "a name of 300 links": b"".join(
        tarfile.TarInfo("././@LongLink").tobuf(tarfile.GNU_FORMAT)[:156] + b"L" + bytes(355)
        for _ in range(300)
    ),
}


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("name", ODD_TARS)
def test_odd_tar_header_is_an_archive_error(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(ODD_TARS[name]) if suffix.endswith("gz") else ODD_TARS[name])
    errors = []
    try:
        for member in iter_members(str(path)):
            try:
                member.read()
            except (ArchiveError, LimitExceededError) as error:
                errors.append(error)
    except ArchiveError as error:
        errors.append(error)
    assert errors or name == "size of words"  # tarfile takes what is no number for 0: the member is empty


def test_header_that_leads_back_does_not_go_round_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(ODD_TARS["negative size"])
    assert until_error(path)[0] == ["good.jpg"]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", ZSTD_NAME])
def test_headers_are_bounded_whatever_they_expand_to(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map of holes with very many entries, which compresses to nothing."""
    monkeypatch.setattr("dctafd.batch.tar_archive._MAX_HEADERS", 10_000)
    header = tarfile.TarInfo("odd.jpg")
    header.size = 200_000
    header.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "odd.jpg"}
    data = header.tobuf(tarfile.PAX_FORMAT) + b"99999\n" + b"1\n" * 100_000
    path = write_packed(tmp_path / name, data)
    assert "headers" in until_error(path)[1]


def test_only_a_global_header_is_an_empty_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "0123abc"}):
        pass
    assert members_of(path) == []


def test_less_than_an_end_marker_is_no_empty_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(1023))
    assert "within its end marker" in until_error(path)[1]
    path.write_bytes(bytes(1024))
    assert members_of(path) == []


def test_extended_header_without_a_member_is_an_error(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x" * 200)
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.PAX_FORMAT)[:1024] + bytes(10240))
    assert "before the member" in until_error(path)[1]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", ZSTD_NAME])
@pytest.mark.parametrize("zeros", [512, 10240])
def test_members_after_an_end_marker_are_not_passed_over_in_silence(
    tmp_path: Path, name: str, zeros: int
) -> None:
    one, two = tar_bytes([("0.jpg", b"a")])[:1024], tar_bytes([("1.jpg", b"b")])
    path = write_packed(tmp_path / name, one + bytes(zeros) + two)
    names, message = until_error(path)
    assert names == ["0.jpg"]
    assert "end marker" in message


def test_wrong_sum_at_the_end_of_a_gzip_file_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", MEMBERS)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    names, message = until_error(path)
    assert len(names) == 5
    assert "CRC" in message


def zip_with(name: bytes = b"photo.jpg", **patches: Any) -> bytes:
    """Return a zip with two members; bytes at offsets of the second one's headers replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("good.jpg", b"good")
        archive.writestr("photo.jpg", b"data")
    data = bytearray(buffer.getvalue())
    for kind, signature in (("local", b"PK\x03\x04"), ("central", b"PK\x01\x02")):
        start = data.rindex(signature)
        for offset, value in patches.get(kind, {}).items():
            data[start + offset : start + offset + len(value)] = value
    return bytes(data)


UTF8_FLAG = b"\x00\x08"
ODD_ZIPS = {
    "central name is no UTF-8": (zip_with(central={8: UTF8_FLAG, 46: b"\xff\xfe"}), True),
    "local name is no UTF-8": (zip_with(local={6: UTF8_FLAG, 30: b"\xff\xfe"}), False),
    "needs version 9.9": (zip_with(central={6: b"\x63\x00"}), True),
    "unknown compression": (zip_with(local={8: b"\x58\x00"}, central={10: b"\x58\x00"}), False),
    "local header beyond the end": (zip_with(central={42: b"\xff\xff\xff\x7f"}), False),
    "patched data": (zip_with(central={8: b"\x20\x00"}), False),
    "strong encryption": (zip_with(central={8: b"\x40\x00"}), False),
}


@pytest.mark.parametrize("name", ODD_ZIPS)
def test_odd_zip_is_an_archive_error(tmp_path: Path, name: str) -> None:
    data, whole = ODD_ZIPS[name]
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    if whole:
        assert until_error(path)[0] == []
        return
    members = iter_members(str(path))
    assert next(members).read() == b"good"
    odd = next(members)
    with pytest.raises(ArchiveError):
        odd.read()


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("deep"),
        MemoryError(),
        OverflowError("long"),
        struct.error("short"),
        KeyError("odd"),
        OSError(22, "Invalid argument"),
        AttributeError("none"),
    ],
)
def test_whatever_a_library_raises_is_an_archive_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    path = write_zip(tmp_path / "a.zip", MEMBERS)

    def broken(self: object, *arguments: Any) -> None:
        raise error

    with monkeypatch.context() as context:
        context.setattr(zipfile.ZipFile, "infolist", broken)
        assert until_error(path)[0] == []
    monkeypatch.setattr(zipfile.ZipFile, "open", broken)
    with pytest.raises(ArchiveError):
        next(iter_members(str(path))).read()


def test_what_the_machine_refuses_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(iter_members(str(tmp_path / "missing.tar")))
    (tmp_path / "d.zip").mkdir()
    with pytest.raises(IsADirectoryError):
        next(iter_members(str(tmp_path / "d.zip")))


# Spoiled at random; tools/checks/check_archives.py does it by the thousand ----------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", pytest.param("tar.zst", marks=needs_zstd)])
def test_spoiled_archive_leaves_a_record_and_ends_nothing(tmp_path: Path, kind: str) -> None:
    rng = random.Random(f"{kind} 1")
    good = write_tar(tmp_path / "good.tar", [("last.jpg", b"last")])
    members = [("photos/a.jpg", b"a" * 700), ("photos/b.jpg", rng.randbytes(900)), ("x" * 90 + ".jpg", b"c")]
    kinds: Counter[str] = Counter()
    for number in range(150):
        path = tmp_path / f"{number}.{kind}"
        path.write_bytes(mutated_archive(kind, members, rng))
        skipped = Skipped()
        *items, last = iter_sources([str(path), str(good)], skipped)
        assert last.read() == b"last"
        assert items or skipped != Skipped(), path
        kinds.update(type(item.error).__name__ for item in items)
    assert kinds["ArchiveError"] > 50
    assert kinds["NoneType"] > 50
    assert set(kinds) <= {"ArchiveError", "LimitExceededError", "NoneType"}
