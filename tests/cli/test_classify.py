import csv
import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dctafd.cli.main import cli
from dctafd.inference.classifier import Classifier
from dctafd.inference.results import RECORD_KEYS
from tests.support.archive_files import write_tar
from tests.support.tiny_classifier import photo, tiny_classifier
from tools.places import SHARED, shared_checkpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, one of them bad, in the working directory; the tiny network answers."""
    monkeypatch.setattr("dctafd.inference.loading.load_classifier", lambda *_, **options: tiny_classifier())
    monkeypatch.chdir(tmp_path)
    for name, data in [("1.jpg", photo(1)), ("2.jpg", b"GIF89a"), ("10.jpg", photo(10))]:
        (tmp_path / name).write_bytes(data)
    return tmp_path


def classify(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cli, ["classify", *arguments], **options)


def test_jsonl_has_one_contract_record_an_input_in_order(folder: Path) -> None:
    result = classify(".", "--format", "jsonl", "--top-k", "2")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["source"] for record in records] == ["./1.jpg", "./2.jpg", "./10.jpg"]
    assert all(tuple(record) == RECORD_KEYS for record in records)
    assert [len(record["predictions"]) for record in records] == [2, 0, 2]
    assert result.exit_code == 1
    assert "1 failed: 1 NotAJpegError" in result.stderr


def test_all_well_is_exit_code_0_and_names_the_model(folder: Path) -> None:
    result = classify("1.jpg")
    assert result.exit_code == 0
    assert "model: tiny" in result.stderr
    assert "--model chooses another" in result.stderr
    assert result.stdout.startswith("1.jpg  (40x33, baseline, 4:2:0, quality 75)")


def test_quiet_leaves_stderr_empty(folder: Path) -> None:
    assert classify("1.jpg", "--quiet").stderr == ""


def test_stdin(folder: Path) -> None:
    result = classify("-", "--format", "jsonl", input=photo(1))
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (record["source"], record["error"]) == ("-", None)


def test_no_source_is_wrong_usage(folder: Path) -> None:
    assert classify().exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("1.jpg", "--resume"),
        ("1.jpg", "--resume", "-o", "o.json"),
        ("-", "--resume", "-o", "o.jsonl"),
        ("1.jpg", "--format", "parquet"),
        ("1.jpg", "--afd", "no-such-file"),
        ("1.jpg", "--weights", "no-such-file"),
        ("1.jpg", "--top-k", "0"),
        ("1.jpg", "--address", "auto"),
        ("1.jpg", "-o", "s3://bucket/o.jsonl"),
    ],
)
def test_wrong_usage(folder: Path, arguments: tuple[str, ...]) -> None:
    result = classify(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_files_from_a_list_and_from_stdin(folder: Path) -> None:
    (folder / "list.txt").write_text("10.jpg\n\n1.jpg\n")
    from_file = classify("--files-from", "list.txt", "--format", "csv")
    from_stdin = classify("--files-from", "-", "--format", "csv", input="10.jpg\n1.jpg\n")
    assert from_file.stdout == from_stdin.stdout
    assert [row["source"] for row in csv.DictReader(io.StringIO(from_file.stdout))] == ["10.jpg", "1.jpg"]


def test_output_file_by_suffix_and_nothing_on_stdout(folder: Path) -> None:
    result = classify("1.jpg", "10.jpg", "-o", "o.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert len(list(csv.DictReader(io.StringIO((folder / "o.csv").read_text())))) == 2


def test_stop_on_error_names_the_file_and_resume_goes_on(folder: Path) -> None:
    result = classify(".", "-o", "o.jsonl", "--on-error", "stop")
    assert result.exit_code == 1
    assert "stopped at ./2.jpg: NotAJpegError" in result.stderr
    assert not (folder / "o.jsonl").exists()
    assert classify(".", "-o", "o.jsonl", "--resume").exit_code == 1
    assert len((folder / "o.jsonl").read_text().splitlines()) == 3


def test_interrupt_ends_with_130_and_can_be_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:

        def interrupt(self: object, inputs: object) -> None:
            raise KeyboardInterrupt

        context.setattr("dctafd.inference.runner.Runner.submit", interrupt)
        result = classify(".", "-o", "o.jsonl")
    assert result.exit_code == 130
    assert "--resume" in result.stderr
    assert classify(".", "-o", "o.jsonl", "--resume").exit_code == 1
    assert len((folder / "o.jsonl").read_text().splitlines()) == 3


def test_resume_of_another_run_is_refused(folder: Path) -> None:
    classify(".", "-o", "o.jsonl", "--on-error", "stop")
    result = classify("1.jpg", "-o", "o.jsonl", "--resume")
    assert result.exit_code == 2
    assert "other inputs" in result.stderr


def test_archive_with_damaged_and_foreign_members_finishes_with_each_named(folder: Path) -> None:
    """1 % damaged and 1 % that are no JPEG files, in a tar of 200."""
    members = [(f"{i:03d}.jpg", photo(i % 5)) for i in range(200)]
    for i in (17, 120):
        members[i] = (members[i][0], members[i][1][:100])
    for i in (60, 61):
        members[i] = (members[i][0], b"\x89PNG\r\n\x1a\n")
    write_tar(folder / "a.tar", members)
    result = classify("a.tar", "--format", "jsonl", "--batch-size", "64")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["member"] for record in records] == [name for name, _ in members]
    failed = {record["member"]: record["error"]["type"] for record in records if record["error"]}
    assert failed == {
        "017.jpg": "CorruptJpegError",
        "120.jpg": "CorruptJpegError",
        "060.jpg": "NotAJpegError",
        "061.jpg": "NotAJpegError",
    }
    assert "4 failed" in result.stderr
    assert result.exit_code == 1


def test_warning_about_weights_is_a_note(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: Any, **options: Any) -> Classifier:
        warnings.warn("trained against another stem", UserWarning, stacklevel=2)
        return tiny_classifier()

    monkeypatch.setattr("dctafd.inference.loading.load_classifier", load)
    assert "warning: trained against another stem" in classify("1.jpg").stderr


def test_models_lists_licence_and_where_weights_are() -> None:
    result = CliRunner().invoke(cli, ["models", "--format", "json"])
    records = {record["model"]: record for record in json.loads(result.stdout)}
    assert records["resnet50_pqf"]["licence"] == "Uber non-commercial"
    assert {"efficientnet_lite0", "resnet50"} <= set(records)


@pytest.mark.shared("weights", "images/eval")
def test_top1_without_correction_is_that_of_torchvision_on_pillows_pixels(tmp_path: Path) -> None:
    import torch
    from PIL import Image
    from torchvision import models, transforms

    state = shared_checkpoint("resnet50_pqf")
    torch.save(state, tmp_path / "resnet50.pth")
    paths = [str(path) for path in sorted((SHARED / "images" / "eval").glob("*.JPEG"))[:1000:100]]
    options = ["--model", "resnet50", "--weights", str(tmp_path / "resnet50.pth"), "--afd", "off"]
    result = classify(*paths, *options, "--format", "jsonl")
    ours = [json.loads(line)["predictions"][0]["index"] for line in result.stdout.splitlines()]

    net = models.resnet50(weights=None)
    net.load_state_dict(state, strict=False)
    transform = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
        theirs = net.eval()(pixels).argmax(1).tolist()
    assert len(ours) == 10
    assert ours == theirs


def test_real_process_reads_a_pipe_and_leaves_no_thread_behind(folder: Path) -> None:
    """Ctrl-C while stdin is open and silent ends the process."""
    import signal
    import subprocess
    import sys
    import time

    read_end, write_end = os.pipe()
    code = (
        # A shell's background jobs, and with them these tests, may have been started with SIGINT ignored.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from tests.support.tiny_classifier import tiny_classifier;"
        "import dctafd.inference.loading as l; l.load_classifier = lambda *a, **o: tiny_classifier();"
        "from dctafd.cli.main import main; sys.argv = ['dctafd', 'classify', '-']; main()"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=read_end, stderr=subprocess.PIPE, cwd=root, text=True
    )
    assert "model: tiny" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    os.close(read_end)
    os.close(write_end)
    assert process.returncode == 130
    assert "interrupted" in rest


def gallery_rows(path: Path) -> list:
    return json.loads(path.read_text().split('id="data">')[1].split("</script>")[0])


def test_a_gallery_beside_the_results(folder: Path) -> None:
    done = classify(".", "--format", "jsonl", "--html", "g.html")
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == [
        "./1.jpg",
        "./2.jpg",
        "./10.jpg",
    ]
    *photos, run = gallery_rows(folder / "g.html")
    assert [row[0] for row in photos] == ["./1.jpg", "./2.jpg", "./10.jpg"]
    assert run["photos"] == 3
    assert [row[-1][:4] for row in photos] == ["/9j/", "", "/9j/"]  # JPEG files, as base64


def test_a_gallery_is_resumed_with_its_results(folder: Path) -> None:
    classify(".", "-o", "whole.csv", "--html", "whole.html")
    assert classify(".", "-o", "o.csv", "--html", "g.html", "--on-error", "stop").exit_code == 1
    assert not (folder / "g.html").exists()
    assert classify(".", "-o", "o.csv", "--html", "g.html", "--resume").exit_code == 1
    assert (folder / "g.html").read_bytes() == (folder / "whole.html").read_bytes()
    assert (folder / "o.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert {path.name for path in folder.glob("*g.html*")} == {"g.html"}


def test_a_run_with_a_gallery_is_not_resumed_without(folder: Path) -> None:
    classify(".", "-o", "o.csv", "--html", "g.html", "--on-error", "stop")
    done = classify(".", "-o", "o.csv", "--resume")
    assert done.exit_code == 2
    assert "--html" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--html", "g.txt"), ("-o", "g.html", "--html", "g.html"), ("--html", "no/g.html")]
)
def test_a_gallery_that_cannot_be_is_wrong_usage(folder: Path, arguments: tuple[str, ...]) -> None:
    done = classify("1.jpg", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_gallery_without_jinja_is_one_line_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = classify("1.jpg", "--html", "g.html")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "jinja2 is not installed" in done.stderr
    assert "model:" not in done.stderr
