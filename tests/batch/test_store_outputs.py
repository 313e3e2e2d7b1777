"""Results that go to URLs, and outputs that are extended."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dctafd.batch import store_failures
from dctafd.batch.output_places import finished_path
from dctafd.batch.run import run_to_file
from dctafd.batch.sources import Plan, plan_sources
from dctafd.batch.store_writing import OutputUrl, check_output_url
from dctafd.cli.main import cli
from dctafd.errors import ResumeError
from tests.batch.test_run import FORMATS, KilledError, killed_after, options
from tests.support.archive_files import write_tar
from tests.support.s3_server import KEY_ID, SECRET_KEY, forget_stores, made_bucket, s3_server
from tests.support.tiny_classifier import photo, tiny_classifier

fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dctafd.batch.run._SECONDS_BETWEEN_CHECKPOINTS", dict.fromkeys(FORMATS, 0.0))
    monkeypatch.setattr(store_failures, "PAUSES", (0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.pipe("/out/keep.txt", b"other people's")
    yield system
    system.rm("/out", recursive=True)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Four shards with a few photos each."""
    for number in range(4):
        members = [(f"{number}-{i}.jpg", photo(5 * number + i)) for i in range(5)]
        members[2] = (members[2][0], b"GIF89a")
        write_tar(tmp_path / f"s{number}.tar", members)
    return tmp_path


def plan_of(folder: Path, *numbers: int) -> Plan:
    return plan_sources([str(folder / f"s{number}.tar") for number in numbers])


def names(system: Any, folder: str = "/out") -> list[str]:
    return sorted(name.rpartition("/")[2] for name in system.find(folder))


def needs(name: str) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("steps", [0, 2, 5, 8])
def test_killed_run_to_a_url_is_resumed_to_the_byte(shards: Path, memory: Any, name: str, steps: int) -> None:
    needs(name)
    plan, output = plan_of(shards, 0, 1, 2), OutputUrl(f"memory://out/o.{name}")
    whole = shards / f"whole.{name}"
    run_to_file(tiny_classifier(), plan, options(name), whole)
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options(name), output, on_step=killed_after(steps))
    assert f"o.{name}" not in names(memory)
    if steps:
        with pytest.raises(ResumeError, match="add --resume"):
            run_to_file(tiny_classifier(), plan, options(name), output)
    summary = run_to_file(tiny_classifier(), plan, options(name), output, resume=True)
    assert memory.cat(f"/out/o.{name}") == whole.read_bytes()
    assert names(memory) == [f".o.{name}.run.json", "keep.txt", f"o.{name}"]
    assert (summary.images, summary.failed) == (15, 3)
    again = run_to_file(tiny_classifier(), plan, options(name), output, resume=True)
    assert again.session_images == 0


def test_leftovers_of_a_kill_after_the_checkpoint_are_dropped(shards: Path, memory: Any) -> None:
    plan, output = plan_of(shards, 0, 1), OutputUrl("memory://out/o.jsonl")
    run_to_file(tiny_classifier(), plan, options("jsonl"), shards / "whole.jsonl")
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("jsonl"), output, on_step=killed_after(3))
    memory.pipe("/out/o.jsonl.partial/000009.jsonl", b"half")
    run_to_file(tiny_classifier(), plan, options("jsonl"), output, resume=True)
    assert memory.cat("/out/o.jsonl") == (shards / "whole.jsonl").read_bytes()


def test_second_run_that_writes_the_same_url_is_noticed(shards: Path, memory: Any) -> None:
    plan, output = plan_of(shards, 0, 1), OutputUrl("memory://out/o.jsonl")

    def another(step: object) -> None:
        memory.pipe("/out/o.jsonl.run.json", b"{}")

    with pytest.raises(ResumeError, match="another run is writing memory"):
        run_to_file(tiny_classifier(), plan, options("jsonl"), output, on_step=another)


@pytest.mark.parametrize("name", ["json", "table"])
def test_formats_that_cannot_be_resumed_appear_whole_or_not_at_all(
    shards: Path, memory: Any, name: str
) -> None:
    plan, output = plan_of(shards, 0), OutputUrl("memory://out/o.json")
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options(name), output, on_step=killed_after(1))
    assert names(memory) == ["keep.txt"]
    run_to_file(tiny_classifier(), plan, options(name), output)
    run_to_file(tiny_classifier(), plan, options(name), shards / "o")
    assert memory.cat("/out/o.json") == (shards / "o").read_bytes()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://u:hunter2@host/o.csv?sig=hunter2", "https://host/o.csv.*read, not written"),
        ("memory://out/", "name a file in it"),
        ("odd://u:hunter2@host/o.csv", "odd://host/o.csv"),
    ],
)
def test_urls_that_cannot_be_written_are_wrong_usage_without_secrets(
    shards: Path, url: str, message: str
) -> None:
    result = CliRunner().invoke(cli, ["classify", str(shards / "s0.tar"), "-o", url])
    assert result.exit_code == 2
    assert "hunter2" not in result.output
    with pytest.raises(OSError, match=r"host|name a file"):
        check_output_url(url)


def test_results_of_other_commands_go_to_urls(shards: Path, memory: Any) -> None:
    (shards / "1.jpg").write_bytes(photo(1))
    for command in (["inspect", str(shards / "1.jpg")], ["dataset-stats", "--dir", str(shards)]):
        result = CliRunner().invoke(cli, [*command, "-o", "memory://out/found.json"])
        assert result.exit_code == 0, result.output
        assert json.loads(memory.cat("/out/found.json"))
    assert names(memory) == ["found.json", "keep.txt"]


def test_file_url_is_a_path_to_write_to(shards: Path) -> None:
    (shards / "1.jpg").write_bytes(photo(1))
    CliRunner().invoke(cli, ["inspect", str(shards / "1.jpg"), "-o", f"file://{shards}/found.json"])
    assert json.loads((shards / "found.json").read_text())


# Extending -----------------------------------------------------------------------------------------------


def output_of(where: str, folder: Path, name: str) -> Path | OutputUrl:
    return folder / f"o.{name}" if where == "disk" else OutputUrl(f"memory://out/o.{name}")


def read(output: Path | OutputUrl, memory: Any) -> bytes:
    return (
        memory.cat(output.url.removeprefix("memory:/"))
        if isinstance(output, OutputUrl)
        else output.read_bytes()
    )


# When the run is killed matters to what is kept of it, which disk and URL do differently; how what is there
# already becomes part of the new file is each format's own matter.
@pytest.mark.parametrize("where", ["disk", "url"])
@pytest.mark.parametrize(
    ("name", "steps"),
    [*(("jsonl", steps) for steps in (None, 0, 1, 4)), *((name, 1) for name in FORMATS if name != "jsonl")],
)
def test_extended_output_is_that_of_one_run(
    shards: Path, memory: Any, where: str, name: str, steps: int | None
) -> None:
    needs(name)
    output = output_of(where, shards, name)
    run_to_file(tiny_classifier(), plan_of(shards, 0, 1, 2, 3), options(name), shards / f"whole.{name}")
    run_to_file(tiny_classifier(), plan_of(shards, 0, 1), options(name), output)
    first = read(output, memory)
    everything = plan_of(shards, 0, 1, 2, 3)
    if steps is not None:
        with pytest.raises(KilledError):
            run_to_file(
                tiny_classifier(), everything, options(name), output, on_step=killed_after(steps), extend=True
            )
        assert read(output, memory) == first
    sizes = []
    summary = run_to_file(
        tiny_classifier(),
        everything,
        options(name),
        output,
        resume=steps is not None,
        extend=True,
        on_step=lambda step: sizes.append(len(step.results)),
    )
    assert read(output, memory) == (shards / f"whole.{name}").read_bytes()
    assert sum(sizes) <= 10
    assert (summary.images, summary.failed) == (20, 4)
    again = run_to_file(tiny_classifier(), everything, options(name), output, extend=True)
    assert (again.images, again.session_images) == (20, 0)
    resumed = run_to_file(tiny_classifier(), everything, options(name), output, resume=True)
    assert (resumed.images, resumed.session_images) == (20, 0)


def test_new_shards_alone_may_be_named(shards: Path) -> None:
    run_to_file(tiny_classifier(), plan_of(shards, 0, 1, 2), options("jsonl"), shards / "whole.jsonl")
    run_to_file(tiny_classifier(), plan_of(shards, 0, 1), options("jsonl"), shards / "o.jsonl")
    run_to_file(tiny_classifier(), plan_of(shards, 2), options("jsonl"), shards / "o.jsonl", extend=True)
    assert (shards / "o.jsonl").read_bytes() == (shards / "whole.jsonl").read_bytes()


def test_kill_while_an_extended_file_is_put_in_place(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dctafd.batch.output_places import LocalPlace

    run_to_file(tiny_classifier(), plan_of(shards, 0, 1), options("jsonl"), shards / "whole.jsonl")
    run_to_file(tiny_classifier(), plan_of(shards, 0), options("jsonl"), shards / "o.jsonl")

    def killed(place: object) -> None:
        raise KilledError

    for step in ("publish", "keep_finished"):
        with monkeypatch.context() as context:
            context.setattr(LocalPlace, step, killed)
            with pytest.raises(KilledError):
                run_to_file(
                    tiny_classifier(),
                    plan_of(shards, 0, 1),
                    options("jsonl"),
                    shards / "o.jsonl",
                    extend=True,
                )
        summary = run_to_file(
            tiny_classifier(), plan_of(shards, 0, 1), options("jsonl"), shards / "o.jsonl", extend=True
        )
        assert summary.images == 10
        assert (shards / "o.jsonl").read_bytes() == (shards / "whole.jsonl").read_bytes()
        (shards / "o.jsonl").unlink()
        run_to_file(tiny_classifier(), plan_of(shards, 0), options("jsonl"), shards / "o.jsonl")


def test_what_cannot_be_extended_is_refused(shards: Path) -> None:
    output = shards / "o.jsonl"

    def extended(plan: Plan, **changes: Any) -> None:
        run_to_file(tiny_classifier(), plan, options("jsonl", **changes), output, extend=True)

    with pytest.raises(ResumeError, match="no finished run"):
        extended(plan_of(shards, 0, 1))
    run_to_file(tiny_classifier(), plan_of(shards, 0, 1), options("jsonl"), output)
    (shards / "1.jpg").write_bytes(photo(1))
    with pytest.raises(ResumeError, match="archives and tables"):
        extended(plan_sources([str(shards / "1.jpg")]))
    with pytest.raises(ResumeError, match=r"none\.tar"):
        extended(plan_sources([str(shards / "none.tar")]))
    with pytest.raises(ResumeError, match="--top-k 2"):
        extended(plan_of(shards, 0, 2), top_k=3)
    os.utime(shards / "s1.tar", ns=(1, 1))
    with pytest.raises(ResumeError, match=r"s1\.tar has changed"):
        extended(plan_of(shards, 0, 1, 2))
    assert finished_path(output).exists()
    with output.open("a") as file:
        file.write("\n")
    with pytest.raises(ResumeError, match="not what the run has written"):
        extended(plan_of(shards, 0, 2))


# S3 ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_s3_output_is_resumed_extended_and_read_by_others(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    run_to_file(tiny_classifier(), plan_of(shards, 0, 1), options("parquet"), shards / "whole.parquet")
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        system = made_bucket("results")
        output = OutputUrl("s3://results/deep/o.parquet")
        check_output_url(output.url)
        with pytest.raises(OSError, match="nowhere"):
            check_output_url("s3://nowhere/o.parquet")
        with pytest.raises(KilledError):
            run_to_file(
                tiny_classifier(), plan_of(shards, 0), options("parquet"), output, on_step=killed_after(2)
            )
        seen = [system.cat(name) for name in system.find("results") if name.endswith("json")]
        run_to_file(tiny_classifier(), plan_of(shards, 0), options("parquet"), output, resume=True)
        run_to_file(tiny_classifier(), plan_of(shards, 1), options("parquet"), output, extend=True)
        assert sorted(system.find("results")) == [
            "results/deep/.o.parquet.run.json",
            "results/deep/o.parquet",
        ]
        assert system.cat("results/deep/o.parquet") == (shards / "whole.parquet").read_bytes()
        with system.open("results/deep/o.parquet") as file:
            assert parquet.read_table(file).num_rows == 10
        seen += [system.cat(name) for name in system.find("results")]
    assert not [text for text in seen if KEY_ID.encode() in text or SECRET_KEY.encode() in text]
    forget_stores()
