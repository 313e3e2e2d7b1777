"""Sources behind URLs: a server on the loopback interface, and fsspec's memory."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dctafd.batch import remote_files, shown_urls, store_failures
from dctafd.batch.run import run_to_file
from dctafd.batch.sources import iter_sources, plan_sources
from dctafd.cli.main import cli
from dctafd.errors import ArchiveError, ResumeError
from dctafd.inputs.source_items import Skipped
from tests.batch.test_run import KilledError, killed_after, options
from tests.support.archive_files import write_tar, write_zip
from tests.support.http_server import Behaviour, http_server
from tests.support.s3_server import forget_stores, made_bucket, s3_server
from tests.support.tiny_classifier import photo, tiny_classifier

pytest.importorskip("aiohttp", reason="needs the extra remote")

MEMBERS = [(f"{i:03d}.jpg", bytes([i]) * 30_000) for i in range(40)] + [("notes.txt", b"notes")]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_failures, "PAUSES", (0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A server with the same photos as tar, compressed tar, zip and files."""
    files = {f"photos/{name}": data for name, data in MEMBERS}
    for name, write in (("a.tar", write_tar), ("a.tar.gz", write_tar), ("a.zip", write_zip)):
        files[name] = write(tmp_path / name, MEMBERS).read_bytes()
    behaviour = Behaviour(files)
    with http_server(behaviour) as url:
        yield url, behaviour


def contents(*sources: str) -> list[bytes]:
    return [item.read() for item in iter_sources(sources)]


PHOTOS = [data for _, data in MEMBERS[:-1]]
KINDS = ["a.tar", "a.tar.gz", "a.zip", "photos/{000..039}.jpg"]


@pytest.mark.parametrize("name", KINDS)
def test_sources_behind_urls_are_those_of_the_disk(server: tuple[str, Any], name: str) -> None:
    url, _ = server
    skipped = Skipped()
    items = list(iter_sources([url + name], skipped))
    assert [item.read() for item in items] == PHOTOS
    assert skipped.sidecars == (0 if name.startswith("photos") else 1)
    if name == "a.tar":
        assert (items[3].source, items[3].member) == (url + "a.tar", "003.jpg")


def test_tar_is_read_once_from_front_to_back(server: tuple[str, Any]) -> None:
    url, behaviour = server
    assert contents(url + "a.tar") == PHOTOS
    assert [request for request in behaviour.requests if request[0] == "GET"] == [("GET", "/a.tar", None)]


def test_zip_is_read_by_ranges(server: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_BLOCK", 50_000)
    url, behaviour = server
    items = iter_sources([url + "a.zip"])
    assert next(items).read() == PHOTOS[0]
    assert all(wanted for method, _, wanted in behaviour.requests if method == "GET")
    assert behaviour.sent < 300_000


@pytest.mark.parametrize("name", KINDS)
def test_cut_connections_are_taken_up_where_they_broke(server: tuple[str, Any], name: str) -> None:
    url, behaviour = server
    behaviour.cut_after, behaviour.cuts = len(behaviour.files.get(name, PHOTOS[0])) // 5, 3
    assert contents(url + name) == PHOTOS
    assert behaviour.cuts == 0


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_server_that_ignores_ranges_still_serves(server: tuple[str, Any], name: str) -> None:
    url, behaviour = server
    behaviour.ranges = False
    behaviour.cut_after, behaviour.cuts = 600_000, 2
    assert contents(url + name) == PHOTOS


def test_busy_server_is_asked_again(server: tuple[str, Any]) -> None:
    url, behaviour = server
    behaviour.busy = 3
    assert contents(url + "photos/001.jpg") == [PHOTOS[1]]


def test_server_that_stays_busy_is_given_up_with_an_error_that_says_so(server: tuple[str, Any]) -> None:
    url, behaviour = server
    behaviour.busy = 1000
    (item,) = iter_sources([url + "photos/001.jpg"])
    assert isinstance(item.error, ConnectionError)
    assert "busy (503)" in str(item.error)


def test_server_without_head_is_asked_by_get(server: tuple[str, Any]) -> None:
    url, behaviour = server
    behaviour.head = False
    assert contents(url + "a.tar") == PHOTOS


def test_what_does_not_pass_is_named_and_not_tried_again(server: tuple[str, Any]) -> None:
    url, behaviour = server
    behaviour.refuse.add("photos/001.jpg")
    refused, missing, good = iter_sources([url + "photos/001.jpg", url + "none.tar", url + "photos/002.jpg"])
    assert isinstance(refused.error, PermissionError)
    assert isinstance(missing.error, FileNotFoundError)
    assert good.read() == PHOTOS[2]
    assert sum(path == "/none.tar" for _, path, _ in behaviour.requests) == 2  # HEAD, GET


def test_nobody_listens(server: tuple[str, Any]) -> None:
    (item,) = iter_sources(["http://127.0.0.1:9/a.tar"])
    assert isinstance(item.error, ConnectionError)


def test_archive_that_is_cut_off_for_good_is_a_record(server: tuple[str, Any]) -> None:
    url, behaviour = server
    whole = behaviour.files["a.tar"]
    behaviour.files["a.tar"] = whole[:700_000]
    *good, last = iter_sources([url + "a.tar"])
    assert [item.read() for item in good[:-1]] == PHOTOS[: len(good) - 1]
    assert isinstance(last.error, ArchiveError)


def test_file_that_changes_while_it_is_read_is_an_error(server: tuple[str, Any]) -> None:
    url, behaviour = server
    plan = plan_sources([url + "a.tar"])
    behaviour.files["a.tar"] = behaviour.files["a.tar"][:-1] + b"\1"
    (item,) = plan.units[0].items(Skipped())
    assert "changed" in str(item.error)


# Secrets -------------------------------------------------------------------------------------------------

SECRETS = ("hunter2", "AKIAEXAMPLE", "5ecretsignature", "frag-secret")
QUERY = "?id=7&X-Amz-Credential=AKIAEXAMPLE&X-Amz-Signature=5ecretsignature&t=hunter2#frag-secret"


def with_secrets(url: str, name: str) -> str:
    return url.replace("http://", "http://user:hunter2@") + name + QUERY


def test_no_secret_is_shown_anywhere(
    server: tuple[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url, behaviour = server
    behaviour.files["photo.jpg"] = photo(1)
    behaviour.refuse.add("secret.jpg")
    names = ("photo.jpg", "secret.jpg", "none.zip", "a.tar", "photos/000.jpg")
    dead = "http://user:hunter2@127.0.0.1:9/a.jpg" + QUERY
    strange = "odd://user:hunter2@host/a.jpg", "s3::http://user:hunter2@host/a.jpg", "http://u:hunter2@[::1/a"
    sources = [with_secrets(url, name) for name in names] + [dead, *strange]
    plan = plan_sources(sources)
    output = tmp_path / "o.jsonl"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("jsonl"), output, on_step=killed_after(2))
    texts = [path.read_text() for path in tmp_path.glob("o.jsonl.*")]
    run_to_file(tiny_classifier(), plan, options("jsonl"), output, resume=True)
    texts += [path.read_text() for path in tmp_path.glob("*o.jsonl*")]
    with pytest.raises(ResumeError) as refusal:
        run_to_file(tiny_classifier(), plan_sources(sources[:1]), options("jsonl"), output, resume=True)
    texts += [str(refusal.value), *capfd.readouterr()]
    assert len(texts) > 5
    for secret in SECRETS:
        assert not [text for text in texts if secret in text]
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert records[0]["source"] == f"{url}photo.jpg?id=7&X-Amz-Credential=...&X-Amz-Signature=...&t=..."
    assert records[0]["error"] is None
    assert records[1]["error"]["type"] == "PermissionError"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a b?c.jpg", "s3://bucket/a b?c.jpg"),
        ("s3://key:word@bucket/a@b.jpg", "s3://bucket/a@b.jpg"),
        ("https://h/a.tar?versionId=3&sig=x", "https://h/a.tar?versionId=3&sig=..."),
        ("https://u:p@h:8/a.tar#x", "https://h:8/a.tar"),
        ("photos/a@b?c.jpg", "photos/a@b?c.jpg"),
    ],
)
def test_urls_as_they_are_shown(url: str, expected: str) -> None:
    assert shown_urls.shown(url) == expected


def test_messages_of_libraries_lose_what_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    text = shown_urls.scrubbed("bad key wJalrXUtnFEMI for https://u:pw-pw@h/x?sig=abc")
    assert text == "bad key ... for https://h/x?sig=..."


# Resuming ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A server with 40 photos that can be classified, in a tar with other members, and as files."""
    members = [(f"{i}.jpg", photo(i % 7)) for i in range(40)]
    members[3] = ("3.jpg", b"GIF89a")
    for place in (30, 20, 10):
        members.insert(place, (f"{place}.txt", b"x" * 10_000))
    files = dict(members)
    files["a.tar"] = write_tar(tmp_path / "a.tar", members).read_bytes()
    behaviour = Behaviour(files)
    with http_server(behaviour) as url:
        yield url, behaviour


@pytest.mark.parametrize("where", ["url", "disk"])
@pytest.mark.parametrize("steps", [1, 6, 13, 19])
def test_resumed_tar_is_read_on_from_its_offset(
    small_server: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, where: str
) -> None:
    url, behaviour = small_server
    monkeypatch.setattr("dctafd.batch.run._SECONDS_BETWEEN_CHECKPOINTS", {"jsonl": 0.0})
    source = url + "a.tar" if where == "url" else str(tmp_path / "a.tar")
    plan = plan_sources([source])
    whole = run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "whole.jsonl")
    path = tmp_path / "cut.jsonl"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("jsonl"), path, on_step=killed_after(steps))
    behaviour.requests.clear()
    summary = run_to_file(tiny_classifier(), plan_sources([source]), options("jsonl"), path, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert summary.skipped == whole.skipped == Skipped(sidecars=3)
    assert summary.images == whole.images == 40
    if where == "url":
        ((_, _, wanted),) = [request for request in behaviour.requests if request[0] == "GET"]
        first = int(wanted.removeprefix("bytes=").split("-")[0])
        assert first >= 1500 * steps  # each step is two members of some 1,500 bytes


def test_changed_source_is_refused(small_server: tuple[str, Any], tmp_path: Path) -> None:
    url, behaviour = small_server
    path = tmp_path / "o.jsonl"
    with pytest.raises(KilledError):
        run_to_file(
            tiny_classifier(), plan_sources([url + "a.tar"]), options("jsonl"), path, on_step=killed_after(2)
        )
    behaviour.files["a.tar"] = behaviour.files["a.tar"].replace(b"GIF89a", b"GIF87a")
    with pytest.raises(ResumeError, match="changed"):
        run_to_file(tiny_classifier(), plan_sources([url + "a.tar"]), options("jsonl"), path, resume=True)


def test_signature_that_is_new_is_the_same_source(small_server: tuple[str, Any]) -> None:
    url, _ = small_server
    assert (
        plan_sources([f"{url}a.tar?X-Amz-Signature=1"]).fingerprint
        == plan_sources([f"{url}a.tar?X-Amz-Signature=2"]).fingerprint
    )


def test_units_travel_to_workers(small_server: tuple[str, Any]) -> None:
    url, _ = small_server
    (unit,) = pickle.loads(pickle.dumps(plan_sources([url + "a.tar"]).units))
    assert len(list(unit.items(Skipped()))) == 40


# Stores that list ----------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[None]:
    import fsspec

    system = fsspec.filesystem("memory")
    for name in ("p/2.jpg", "p/10.jpg", "p/deep/1.jpeg", "p/notes.txt"):
        system.pipe(f"/bucket/{name}", name.encode())
    yield
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("memory://bucket/p", ["2.jpg", "10.jpg", "deep/1.jpeg"]),
        ("memory://bucket/p/*.jpg", ["2.jpg", "10.jpg"]),
        ("memory://bucket/p/{10,2}.jpg", ["10.jpg", "2.jpg"]),
    ],
)
def test_folders_and_globs_of_a_store(memory: None, source: str, expected: list[str]) -> None:
    skipped = Skipped()
    items = list(iter_sources([source], skipped))
    assert [item.read().decode().removeprefix("p/") for item in items] == expected
    assert skipped.sidecars == (source == "memory://bucket/p")


def test_file_url_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").write_bytes(b"data")
    (item,) = iter_sources([f"file://{tmp_path}/a%20b.jpg"])
    assert (item.source, item.read()) == (str(tmp_path / "a b.jpg"), b"data")


def test_inspect_looks_at_a_url_and_shows_no_secret(small_server: tuple[str, Any]) -> None:
    url, _ = small_server
    place = with_secrets(url, "1.jpg")
    result = CliRunner().invoke(cli, ["inspect", place, url + "none.jpg", url + "a.tar", "--format", "json"])
    good, missing, archive = json.loads(result.stdout)
    assert (good["width"], good["error"]) == (40, None)
    assert missing["error"]["type"] == "FileNotFoundError"
    assert "single files" in archive["error"]["message"]
    assert not [secret for secret in SECRETS if secret in result.output]


# S3 ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of moto's server on the loopback interface; its keys stand in the environment, as usual."""
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield made_bucket("photos")
    forget_stores()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_bucket_is_read_listed_and_resumed_from(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dctafd.batch.run._SECONDS_BETWEEN_CHECKPOINTS", {"jsonl": 0.0})
    members = [(f"{i}.jpg", photo(i)) for i in range(12)]
    bucket.pipe("photos/a.tar", write_tar(tmp_path / "a.tar", members).read_bytes())
    bucket.pipe("photos/a.zip", write_zip(tmp_path / "a.zip", members).read_bytes())
    for name, data in members:
        bucket.pipe(f"photos/d/{name}", data)
    wanted = [data for _, data in members]
    for source in ("s3://photos/a.tar", "s3://photos/a.zip", "s3://photos/d", "s3://photos/d/*.jpg"):
        assert contents(source) == wanted
    (missing,) = iter_sources(["s3://photos/none.tar"])
    assert isinstance(missing.error, FileNotFoundError)
    sources = ["s3://photos/a.tar", "s3://photos/d"]
    run_to_file(tiny_classifier(), plan_sources(sources), options("jsonl"), tmp_path / "whole.jsonl")
    path = tmp_path / "o.jsonl"
    for steps in (2, 4):
        with pytest.raises(KilledError):
            run_to_file(
                tiny_classifier(),
                plan_sources(sources),
                options("jsonl"),
                path,
                resume=steps > 2,
                on_step=killed_after(steps),
            )
    run_to_file(tiny_classifier(), plan_sources(sources), options("jsonl"), path, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not [secret for secret in SECRETS if secret in path.read_text()]
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan_sources(sources), options("jsonl"), path, on_step=killed_after(2))
    bucket.pipe("photos/d/3.jpg", b"other")
    with pytest.raises(ResumeError, match="changed"):
        run_to_file(tiny_classifier(), plan_sources(sources), options("jsonl"), path, resume=True)
