import io
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from dctafd.batch import run as run_module
from dctafd.batch.output_folders import partial_path
from dctafd.batch.output_places import LocalPlace, finished_path, manifest_path
from dctafd.batch.run import StoppedError, run_to_file, run_to_stream
from dctafd.batch.run_options import RunOptions
from dctafd.batch.sources import Plan, plan_sources
from dctafd.config import Limits
from dctafd.errors import ResumeError
from tests.support.archive_files import write_tar, write_zip
from tests.support.tiny_classifier import photo, tiny_classifier

FORMATS = ["jsonl", "csv", "parquet"]


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoint after every batch."""
    monkeypatch.setattr(run_module, "_SECONDS_BETWEEN_CHECKPOINTS", dict.fromkeys(FORMATS, 0.0))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two units of work: a tar with a bad member, and files."""
    members = [(f"{i}.jpg", photo(i)) for i in range(7)]
    members[3] = ("3.jpg", b"GIF89a")
    archive = write_tar(tmp_path / "a.tar", members)
    files = tmp_path / "files"
    files.mkdir()
    for i in range(4):
        (files / f"{i}.jpg").write_bytes(photo(i, 50))
    (files / "notes.txt").touch()
    return plan_sources([str(archive), str(files)])


def options(name: str, **changes: Any) -> RunOptions:
    values = {"top_k": 2, "batch_size": 2, "jobs": 2, "limits": Limits(), "stop_on_error": False}
    return RunOptions(**{**values, **changes}, output_format=name)


def whole_run(plan: Plan, path: Path, name: str) -> bytes:
    run_to_file(tiny_classifier(), plan, options(name), path)
    return path.read_bytes()


def killed_after(steps: int) -> Callable[[object], None]:
    """Return an `on_step` that ends the run after so many batches."""
    left = iter(range(steps))

    def on_step(step: object) -> None:
        if next(left, None) is None:
            raise KilledError

    return on_step


@pytest.mark.parametrize("name", FORMATS)
def test_finished_run_leaves_output_and_manifest_only(plan: Plan, tmp_path: Path, name: str) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / f"o.{name}"
    summary = run_to_file(tiny_classifier(), plan, options(name), path)
    assert sorted(os.listdir(path.parent)) == [f".{path.name}.run.json", path.name]
    assert (summary.images, dict(summary.failures), summary.skipped.sidecars) == (11, {"NotAJpegError": 1}, 1)
    assert json.loads(finished_path(path).read_text())["complete"] is True


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("steps", [0, 1, 3, 5, 6])
def test_resumed_run_gives_the_same_file(plan: Plan, tmp_path: Path, name: str, steps: int) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    expected = whole_run(plan, tmp_path / f"whole.{name}", name)
    path = tmp_path / f"cut.{name}"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options(name), path, on_step=killed_after(steps))
    assert partial_path(path).exists()
    assert not path.exists()
    summary = run_to_file(tiny_classifier(), plan, options(name), path, resume=True)
    assert path.read_bytes() == expected
    assert (summary.images, summary.failed, summary.skipped.sidecars) == (11, 1, 1)
    assert not partial_path(path).exists()


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_what_was_written_after_the_checkpoint_is_cut_off(plan: Plan, tmp_path: Path, name: str) -> None:
    expected = whole_run(plan, tmp_path / f"whole.{name}", name)
    path = tmp_path / f"cut.{name}"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options(name), path, on_step=killed_after(2))
    with partial_path(path).open("ab") as file:
        file.write(b'{"source": "half a rec')
    run_to_file(tiny_classifier(), plan, options(name), path, resume=True)
    assert path.read_bytes() == expected


def test_parquet_part_after_the_checkpoint_is_dropped(plan: Plan, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    expected = whole_run(plan, tmp_path / "whole.parquet", "parquet")
    path = tmp_path / "cut.parquet"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("parquet"), path, on_step=killed_after(3))
    (partial_path(path) / "000099.parquet").write_bytes(b"half a file")
    run_to_file(tiny_classifier(), plan, options("parquet"), path, resume=True)
    assert path.read_bytes() == expected


@pytest.mark.parametrize("name", FORMATS)
def test_end_of_the_process_while_the_file_is_put_in_place(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    expected = whole_run(plan, tmp_path / f"whole.{name}", name)
    path = tmp_path / f"cut.{name}"

    def killed(output: object) -> None:
        raise KilledError

    with monkeypatch.context() as context:
        context.setattr(LocalPlace, "publish", killed)
        with pytest.raises(KilledError):
            run_to_file(tiny_classifier(), plan, options(name), path)
    assert not path.exists()
    summary = run_to_file(tiny_classifier(), plan, options(name), path, resume=True)
    assert path.read_bytes() == expected
    assert not partial_path(path).exists()
    assert summary.images == 11


def test_full_disk_can_be_resumed(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole_run(plan, tmp_path / "whole.jsonl", "jsonl")
    path = tmp_path / "cut.jsonl"

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("dctafd.batch.partial_output.sync", full)
        with pytest.raises(OSError, match="No space"):
            run_to_file(tiny_classifier(), plan, options("jsonl"), path)
    run_to_file(tiny_classifier(), plan, options("jsonl"), path, resume=True)
    assert path.read_bytes() == expected


def test_resume_of_a_finished_run_does_nothing(plan: Plan, tmp_path: Path) -> None:
    expected = whole_run(plan, tmp_path / "o.jsonl", "jsonl")

    def no_step(step: object) -> None:
        raise AssertionError("nothing is left to do")

    summary = run_to_file(
        tiny_classifier(), plan, options("jsonl"), tmp_path / "o.jsonl", resume=True, on_step=no_step
    )
    assert (tmp_path / "o.jsonl").read_bytes() == expected
    assert summary.images == 11
    assert summary.lines()[0].startswith("already complete: 11 images")
    summary.skipped.files, summary.skipped.not_files, summary.skipped.archive_count = 1, 1, 2
    told = summary.lines()
    assert "1 file skipped that is not named like a JPEG" in told
    assert "1 link to a directory, pipe or device not followed" in told
    assert any(line.startswith("2 archives and tables found inside others") for line in told)


def test_resume_of_a_finished_run_with_other_inputs_is_refused(plan: Plan, tmp_path: Path) -> None:
    whole_run(plan, tmp_path / "o.jsonl", "jsonl")
    other = plan_sources([str(tmp_path / "a.tar")])
    with pytest.raises(ResumeError, match="other inputs"):
        run_to_file(tiny_classifier(), other, options("jsonl"), tmp_path / "o.jsonl", resume=True)


def test_output_that_was_taken_away_is_made_again(plan: Plan, tmp_path: Path) -> None:
    expected = whole_run(plan, tmp_path / "o.jsonl", "jsonl")
    (tmp_path / "o.jsonl").unlink()
    run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "o.jsonl", resume=True)
    assert (tmp_path / "o.jsonl").read_bytes() == expected


def test_resume_with_nothing_to_resume_starts(plan: Plan, tmp_path: Path) -> None:
    summary = run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "o.jsonl", resume=True)
    assert summary.images == 11


def interrupted(plan: Plan, path: Path) -> None:
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("jsonl"), path, on_step=killed_after(2))


def test_interrupted_run_is_not_overwritten_by_accident(plan: Plan, tmp_path: Path) -> None:
    interrupted(plan, tmp_path / "o.jsonl")
    with pytest.raises(ResumeError, match="--resume"):
        run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "o.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 3}, r"--top-k 2 \(now 3\): choose"),
        ({"batch_size": 3, "top_k": 3}, r"--top-k 2 \(now 3\), --batch-size 2 \(now 3\): choose"),
        ({"limits": Limits(max_pixels=5)}, r"--max-pixels \d+ \(now 5\): choose"),
    ],
)
def test_resume_with_other_options_is_refused(
    plan: Plan, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    interrupted(plan, tmp_path / "o.jsonl")
    with pytest.raises(ResumeError, match=message):
        run_to_file(tiny_classifier(), plan, options("jsonl", **change), tmp_path / "o.jsonl", resume=True)


def test_resume_with_other_weights_is_refused(plan: Plan, tmp_path: Path) -> None:
    interrupted(plan, tmp_path / "o.jsonl")
    classifier = tiny_classifier()
    cast(Any, classifier.network).module.backbone[0].bias.data[0] += 1
    with pytest.raises(ResumeError, match="other weights"):
        run_to_file(classifier, plan, options("jsonl"), tmp_path / "o.jsonl", resume=True)


def test_resume_with_changed_inputs_is_refused(plan: Plan, tmp_path: Path) -> None:
    interrupted(plan, tmp_path / "o.jsonl")
    os.utime(tmp_path / "a.tar", ns=(1, 1))
    changed = plan_sources([str(tmp_path / "a.tar"), str(tmp_path / "files")])
    with pytest.raises(ResumeError, match="inputs"):
        run_to_file(tiny_classifier(), changed, options("jsonl"), tmp_path / "o.jsonl", resume=True)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"identity": 3}'])
def test_damaged_manifest_is_refused(plan: Plan, tmp_path: Path, text: str) -> None:
    interrupted(plan, tmp_path / "o.jsonl")
    manifest_path(tmp_path / "o.jsonl").write_text(text)
    with pytest.raises(ResumeError, match="damaged"):
        run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "o.jsonl", resume=True)


def test_partial_file_that_lost_bytes_is_refused(plan: Plan, tmp_path: Path) -> None:
    interrupted(plan, tmp_path / "o.jsonl")
    with partial_path(tmp_path / "o.jsonl").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(ResumeError, match="shorter"):
        run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "o.jsonl", resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_second_run_of_the_same_output_is_refused_while_the_first_is_alive(
    plan: Plan, tmp_path: Path, resume: bool
) -> None:
    expected = whole_run(plan, tmp_path / "whole.jsonl", "jsonl")
    path = tmp_path / "o.jsonl"
    refusals = []

    def start_another(step: object) -> None:
        with pytest.raises(ResumeError, match="another run is writing") as refusal:
            run_to_file(tiny_classifier(), plan, options("jsonl"), path, resume=resume)
        refusals.append(refusal)

    run_to_file(tiny_classifier(), plan, options("jsonl"), path, on_step=start_another)
    assert refusals
    assert path.read_bytes() == expected


def test_lock_that_a_killed_run_left_is_no_hindrance(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    interrupted(plan, path)
    (tmp_path / "o.jsonl.lock").touch()
    run_to_file(tiny_classifier(), plan, options("jsonl"), path, resume=True)
    assert sorted(file.name for file in tmp_path.glob("o.jsonl*")) == ["o.jsonl"]


def test_stop_on_error_names_the_input_and_can_go_on(plan: Plan, tmp_path: Path) -> None:
    expected = whole_run(plan, tmp_path / "whole.jsonl", "jsonl")
    path = tmp_path / "o.jsonl"
    with pytest.raises(StoppedError, match=r"a\.tar: 3\.jpg: NotAJpegError"):
        run_to_file(tiny_classifier(), plan, options("jsonl", stop_on_error=True), path)
    run_to_file(tiny_classifier(), plan, options("jsonl"), path, resume=True)
    assert path.read_bytes() == expected


def test_stop_on_error_prints_what_came_before(plan: Plan) -> None:
    stream = io.StringIO()
    with pytest.raises(StoppedError):
        run_to_stream(tiny_classifier(), plan, options("jsonl", stop_on_error=True), stream)
    members = [json.loads(line)["member"] for line in stream.getvalue().splitlines()]
    assert members == ["0.jpg", "1.jpg", "2.jpg"]


def test_json_file_appears_whole_or_not_at_all(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "o.json"
    with pytest.raises(KilledError):
        run_to_file(tiny_classifier(), plan, options("json"), path, on_step=killed_after(2))
    assert not path.exists()
    run_to_file(tiny_classifier(), plan, options("json"), path)
    assert len(json.loads(path.read_text())) == 11


def test_parquet_holds_the_records(plan: Plan, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    lines = whole_run(plan, tmp_path / "o.jsonl", "jsonl").splitlines()
    whole_run(plan, tmp_path / "o.parquet", "parquet")
    rows = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    best = [(row.pop("label"), row.pop("score")) for row in rows]
    records = [json.loads(line) for line in lines]
    assert rows == records
    first = [record["predictions"][0] if record["predictions"] else {} for record in records]
    assert best == [(prediction.get("label"), prediction.get("score")) for prediction in first]


def test_row_groups_are_cut_by_rows_not_by_checkpoints(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    monkeypatch.setattr("dctafd.batch.parquet.ROW_GROUP", 4)
    whole_run(plan, tmp_path / "o.parquet", "parquet")
    metadata = parquet.ParquetFile(tmp_path / "o.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 4, 3]


def test_tar_zip_and_directory_give_the_same_records(tmp_path: Path) -> None:
    members = [(f"{i:03d}.jpg", photo(i, 20 + i)) for i in range(25)]
    members[7] = ("007.jpg", b"nothing")
    (tmp_path / "d").mkdir()
    for name, data in members:
        (tmp_path / "d" / name).write_bytes(data)
    places = [tmp_path / "d", write_tar(tmp_path / "a.tar", members), write_zip(tmp_path / "a.zip", members)]
    texts = []
    for place in places:
        stream = io.StringIO()
        run_to_stream(
            tiny_classifier(), plan_sources([str(place)], 64), options("jsonl", batch_size=8), stream
        )
        records = [json.loads(line) for line in stream.getvalue().splitlines()]
        texts.append([{k: v for k, v in r.items() if k not in ("source", "member")} for r in records])
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[0]) == 25


@pytest.mark.parametrize("name", [*FORMATS, "json", "table"])
def test_fifo_is_written_straight_through(plan: Plan, tmp_path: Path, name: str) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    run_to_file(tiny_classifier(), plan, options(name), tmp_path / "whole")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    run_to_file(tiny_classifier(), plan, options(name), fifo)
    reader.join(30)
    assert received == [(tmp_path / "whole").read_bytes()]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert sorted(path.name for path in tmp_path.glob("*fifo*")) == ["fifo"]


@pytest.mark.parametrize("name", [*FORMATS, "json"])
def test_pipe_without_a_name_is_written_straight_through(plan: Plan, tmp_path: Path, name: str) -> None:
    """What a shell makes of `-o >(command)`."""
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    run_to_file(tiny_classifier(), plan, options(name), tmp_path / "whole")
    read_end, write_end = os.pipe()
    run_to_file(tiny_classifier(), plan, options(name), Path(f"/dev/fd/{write_end}"))
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == (tmp_path / "whole").read_bytes()


def test_what_went_into_a_pipe_cannot_be_resumed(plan: Plan, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ResumeError, match="pipe"):
        run_to_file(tiny_classifier(), plan, options("jsonl"), tmp_path / "fifo", resume=True)


@pytest.mark.parametrize("name", FORMATS)
def test_link_stays_and_what_it_leads_to_is_written(plan: Plan, tmp_path: Path, name: str) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    (tmp_path / "far").mkdir()
    (tmp_path / "o").symlink_to("far/real")
    run_to_file(tiny_classifier(), plan, options(name), tmp_path / "o")
    assert (tmp_path / "o").is_symlink()
    assert (tmp_path / "far" / "real").stat().st_size > 0


@pytest.mark.parametrize("place", ["missing/o", "a.tar/o"])
@pytest.mark.parametrize("name", [*FORMATS, "json"])
def test_place_that_cannot_be_written_is_said_before_any_work(
    plan: Plan, tmp_path: Path, name: str, place: str
) -> None:
    def no_work(*arguments: object) -> Any:
        raise AssertionError("nothing may be begun")

    with pytest.raises(OSError, match="does not exist"):
        run_to_file(tiny_classifier(), plan, options(name), tmp_path / place, engine=no_work)
