"""Photos behind URLs for evaluations and data sets: the same as on the disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import dctafd
from dctafd.analysis.labelled_photos import find_photos
from dctafd.batch import store_failures
from dctafd.cli.main import cli
from dctafd.errors import DctafdError
from dctafd.inputs.class_names import ClassNames
from tests.support.archive_files import write_tar, write_zip
from tests.support.http_server import Behaviour, http_server
from tests.support.tiny_classifier import photo

fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")
pytest.importorskip("aiohttp", reason="needs the extra remote")

NAMES = ClassNames(("ant", "bee", "cat", "dog"))
MEMBERS = [(f"{name}/{number}.jpg", photo(number)) for name in ("ant", "bee") for number in range(3)]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_failures, "PAUSES", (0.0, 0.0))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The photos in a folder, a tar and a zip."""
    for name, data in MEMBERS:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    write_tar(tmp_path / "a.tar", MEMBERS)
    write_zip(tmp_path / "a.zip", MEMBERS)
    return tmp_path


@pytest.fixture
def store(disk: Path) -> Iterator[str]:
    """A store that lists, with the same."""
    system = fsspec.filesystem("memory")
    system.put(str(disk), "/bucket", recursive=True)
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


def found(source: Any) -> tuple[list[Any], list[bytes], str]:
    photos = find_photos(source, NAMES)
    data = []
    for number, container in enumerate(photos.containers):
        keys = [photo.key for photo in photos.photos if photo.container == number]
        data += [read() for _, read in container.contents(keys)]
    return [(photo.name, photo.label, photo.folder) for photo in photos.photos], data, photos.fingerprint()


@pytest.mark.parametrize("name", ["photos", "a.tar", "a.zip", "photos/ant", "{a.tar,a.zip}"])
def test_a_store_gives_what_the_disk_gives(disk: Path, store: str, name: str) -> None:
    names = [disk / "a.tar", disk / "a.zip"] if name.startswith("{") else disk / name
    remote = found(f"{store}/{name}")
    assert remote[:2] == found(names)[:2] or name.startswith("{")
    assert remote[1] == found(names)[1]
    assert remote[2] == found(f"{store}/{name}")[2]


def test_folder_of_shards_in_a_store(store: str) -> None:
    system = fsspec.filesystem("memory")
    system.rm("/bucket/photos", recursive=True)
    assert [name for name, _, _ in found(store)[0]] == [name for name, _ in MEMBERS * 2]
    system.rm("/bucket/a.tar")
    system.rm("/bucket/a.zip")
    system.pipe("/bucket/notes.txt", b"")
    with pytest.raises(DctafdError, match="no photos, archives or Parquet files in memory://bucket"):
        find_photos(store, NAMES)


def test_archive_that_has_changed_is_noticed(disk: Path) -> None:
    behaviour = Behaviour({"a.tar": (disk / "a.tar").read_bytes()})
    with http_server(behaviour) as url:
        before = found(f"{url}a.tar?sig=1")
        assert found(f"{url}a.tar?sig=2")[2] == before[2]
        behaviour.files["a.tar"] = behaviour.files["a.tar"] + bytes(512)
        assert found(f"{url}a.tar")[2] != before[2]


def test_secrets_are_in_no_message(disk: Path) -> None:
    behaviour = Behaviour({"a.tar": (disk / "a.tar").read_bytes()[:-3000]}, refuse={"b.tar"})
    with http_server(behaviour) as url:
        photos = find_photos(f"{url}a.tar?sig=hunter2", NAMES)
        assert photos.failures[0].type == "ArchiveError"
        texts = [str(failure) for failure in photos.failures]
        for name in ("b.tar", "c.tar", "d.txt"):
            with pytest.raises((OSError, DctafdError)) as refusal:
                find_photos(f"{url.replace('//', '//u:hunter2@')}{name}?sig=hunter2", NAMES)
            texts.append(str(refusal.value))
    assert not [text for text in texts if "hunter2" in text]


@pytest.mark.parametrize("name", ["photos", "a.tar"])
def test_data_set_over_urls(disk: Path, store: str, name: str) -> None:
    remote: Any = dctafd.JpegDataset(f"{store}/{name}")
    local: Any = dctafd.JpegDataset(disk / name)
    assert (remote.names, remote.labels, remote.classes) == (local.names, local.labels, local.classes)
    samples = [remote[number] for number in range(6)] if name == "photos" else list(remote)
    others = [local[number] for number in range(6)] if name == "photos" else list(local)
    assert [sample.label for sample in samples] == [sample.label for sample in others]
    assert all((a.photo.pixels == b.photo.pixels).all() for a, b in zip(samples, others, strict=True))


@pytest.mark.parametrize("kind", ["fork", "spawn"])
def test_data_set_over_urls_in_worker_processes(disk: Path, kind: str) -> None:
    from torch.utils.data import DataLoader

    with http_server(Behaviour({"a.tar": (disk / "a.tar").read_bytes()})) as url:
        dataset: Any = dctafd.JpegDataset(f"{url}a.tar")
        loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=3, num_workers=1, collate_fn=dataset.collate, multiprocessing_context=kind
        )
        assert [len(batch.labels) for batch in loader] == [3, 3]


def test_statistics_of_a_store_are_those_of_the_disk(disk: Path, store: str) -> None:
    records = []
    for place in (disk / "photos", f"{store}/photos", f"{store}/a.tar", disk / "a.zip"):
        result = CliRunner().invoke(cli, ["dataset-stats", "--dir", str(place), "--format", "json"])
        assert result.exit_code == 0, result.output
        records.append(json.loads(result.stdout))
    assert all(record == records[0] for record in records[1:])
    assert [entry["files"] for entry in records[0]] == [3, 3, 6]
