"""What a newcomer, a shell or a script does to the commands: one line and an exit code, never a traceback."""

import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from dctafd.cli.main import cli
from tests.support.jpeg_files import encode, photo_like
from tests.support.small_nets import small_backbone
from tests.support.tiny_classifier import photo, tiny_classifier

ROOT = Path(__file__).parents[2]
FILES = {
    "classify": ["classify", "1.jpg"],
    "inspect": ["inspect", "1.jpg"],
    "dataset-stats": ["dataset-stats", "--dir", "."],
    "drift": ["drift", "--images", "."],
    "models": ["models"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos in the working directory."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(photo(number))
    return tmp_path


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything that works fail: what is wrong with a command is to be said before."""

    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("this is work")

    for name in (
        "dctafd.inference.loading.load_classifier",
        "dctafd.nets.registry.load_backbone",
        "dctafd.analysis.dataset_stats.dataset_statistics",
        "dctafd.analysis.inspection.inspect_jpeg",
    ):
        monkeypatch.setattr(name, work)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def shell(line: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a shell's line in which `dctafd` is this package's command."""
    command = f"{shlex.quote(sys.executable)} -m dctafd"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", line.replace("dctafd", command, 1)],
        cwd=folder, capture_output=True, text=True, env=environment, **options,
    )  # fmt: skip


# Before the work --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classify", "inspect", "dataset-stats", "drift"])
@pytest.mark.parametrize("place", ["no/such/folder/out.jsonl", "a-file/out.jsonl", "a-folder"])
def test_an_output_that_cannot_be_written_is_said_first(
    folder: Path, no_work: None, name: str, place: str
) -> None:
    (folder / "a-file").touch()
    (folder / "a-folder").mkdir()
    result = run(*FILES[name], "--format", "jsonl", "-o", place)
    assert result.exit_code == 2, result.output
    assert "this is work" not in repr(result.exception)
    assert ".out." not in result.stderr  # no hidden temporary file


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (["inspect", "1.jpg", "--plot", "x.png"], ["matplotlib"]),
        (["drift", "--images", ".", "--plot", "x.svg"], ["matplotlib"]),
        (["drift", "--images", ".", "--blocks", "x.parquet"], ["pyarrow"]),
        (["dataset-stats", "--dir", ".", "--html", "x.html"], ["jinja2", "matplotlib"]),
        (["dataset-stats", "--dir", ".", "-o", "x.parquet"], ["pyarrow"]),
        (["classify", "1.jpg", "-o", "x.parquet"], ["pyarrow"]),
        (["classify", "1.jpg", "--engine", "ray"], ["ray"]),
        (["export", "-o", "x.onnx"], ["onnx", "onnxscript"]),
    ],
)
def test_what_is_not_installed_is_said_first_with_a_command_that_helps(
    folder: Path, no_work: None, monkeypatch: pytest.MonkeyPatch, arguments: list[str], modules: list[str]
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    text = " ".join(result.stderr.split())
    assert f"{' and '.join(modules)}" in text.replace("ray[data]", "ray")
    assert "pip install " in text
    assert "dctafd[" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "1.jpg", "--plot", "x.bmp"],
        ["inspect", "1.jpg", "--plot", "x.bmpx"],
        ["inspect", "1.jpg", "--plot", "no/x.png"],
        ["drift", "--images", ".", "--plot", "x.jpg"],
        ["drift", "--images", ".", "--blocks", "x.txt"],
        ["dataset-stats", "--dir", ".", "--html", "no/x.html"],
        ["dataset-stats", "--dir", ".", "--cache", "no/cache.db"],
        ["export", "-o", "no/x.pt2"],
        ["export", "-o", "x.tflite"],
        ["inspect", "1.jpg", "--weights", "1.jpg"],
        ["classify", "1.jpg", "--device", "toaster"],
        ["drift", "--images", ".", "--device", "toaster"],
        ["classify", "1.jpg", "--afd", "no-such-module"],
        ["drift", "--images", ".", "--afd", "no-such-module"],
        ["export", "-o", "x.pt2", "--afd", "no-such-module"],
        ["inspect", "1.jpg", "--model", "resnet18", "--afd", "no-such-module"],
    ],
)
def test_wrong_usage_is_2_and_said_first(folder: Path, no_work: None, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert not [path for path in folder.iterdir() if path.suffix != ".jpg"]


@pytest.mark.parametrize(
    "arguments",
    [["classify", "1.jpg"], ["inspect", "1.jpg"], ["drift", "--images", "."], ["export", "-o", "x.pt2"]],
)
def test_an_unknown_model_is_2_with_names_like_it(folder: Path, arguments: list[str]) -> None:
    result = run(*arguments, "--model", "resnet51")
    assert result.exit_code == 2
    assert "there is no model 'resnet51'; did you mean resnet50" in result.stderr


# Streams ----------------------------------------------------------------------------------------------


def test_a_closed_stdout_is_said_first(folder: Path) -> None:
    for name in ("inspect", "dataset-stats", "classify"):
        done = shell(f"dctafd {shlex.join(FILES[name][0:])} >&-", folder)
        assert done.returncode == 2, done.stderr
        assert "stdout is closed" in done.stderr
        assert "Traceback" not in done.stderr


def test_with_stdout_closed_a_file_gets_the_results(folder: Path) -> None:
    done = shell("dctafd inspect 1.jpg -o out.json >&- 2>&- <&-", folder)
    assert done.returncode == 0
    assert json.loads((folder / "out.json").read_text())[0]["source"] == "1.jpg"


def test_a_full_disk_is_one_line(folder: Path) -> None:
    done = shell("dctafd inspect 1.jpg > /dev/full", folder)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_ends_the_command_quietly(folder: Path) -> None:
    names = " ".join(["1.jpg"] * 40)
    done = shell(f"set -o pipefail; dctafd inspect {names} --format json | head -c 1", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[", "")


# Interrupts -------------------------------------------------------------------------------------------


def test_ctrl_c_on_a_terminal_is_told_on_a_line_of_its_own(folder: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from tests.support.tiny_classifier import tiny_classifier;"
        "import dctafd.inference.loading as c; c.load_classifier = lambda *a, **k: tiny_classifier();"
        "from dctafd.cli.main import main; sys.argv = ['dctafd', 'classify', '-']; main()"
    )
    ours, theirs = pty.openpty()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT, stdin=read_end, stdout=subprocess.DEVNULL, stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"classify" not in shown:  # the bar
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # Linux ends a terminal so
        pass
    for descriptor in (ours, read_end, write_end):
        os.close(descriptor)
    assert process.wait(30) == 130
    *_, last = shown.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    # The bar is erased, and the cursor back at its beginning, when the line is written.
    assert re.search(r"\r(\x1b\[1A)?\x1b\[2Kinterrupted$", last), last


# Names and texts --------------------------------------------------------------------------------------

NAMES = [r"a$x_{$b.jpg", "[bold red]x[b].jpg", "\x1b[31mred\x1b[0m.jpg", "<b>&amp;.jpg", "\u202egpj.exe.jpg"]


def test_a_file_name_is_never_markup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dctafd.inference.loading.load_classifier", lambda *a, **k: tiny_classifier())
    (folder / "d").mkdir()
    for name in NAMES:
        (folder / "d" / name).write_bytes(photo(1))
        (folder / "d" / f"bad-{name}").write_bytes(b"GIF89a")
    shown = [name if name.isprintable() else name.encode("unicode_escape").decode() for name in NAMES]
    files = [f"d/{start}{name}" for start in ("", "bad-") for name in NAMES]
    for arguments in (
        ["classify", "d"],
        ["inspect", *files, "--plot", "x.svg"],
        ["dataset-stats", "--dir", "d", "--html", "x.html"],
    ):
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert "\x1b" not in result.output
        assert "\u202e" not in result.output
        output = result.output.replace("\\\\", "\\")
        assert arguments[0] == "dataset-stats" or all(name in output for name in shown)
    page = (folder / "x.html").read_text()
    assert "<b>&amp;.jpg" not in page
    assert "\x1b" not in page
    assert len(list(folder.glob("x*.svg"))) == len(NAMES)


def test_a_photo_that_is_none_is_told_what_it_is(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "png.jpg", "PNG")
    (folder / "empty.jpg").touch()
    result = run("inspect", "png.jpg", "empty.jpg", "missing.jpg")
    assert result.exit_code == 1
    assert "png.jpg: NotAJpegError: this is a PNG; dctafd reads JPEG" in result.stderr
    assert "empty.jpg: NotAJpegError: the file is empty" in result.stderr
    assert "missing.jpg: FileNotFoundError: No such file or directory" in result.stderr
    assert "Errno" not in result.stderr


def test_a_folder_without_jpegs_is_told(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    result = run("dataset-stats", "--dir", "empty")
    assert result.exit_code == 2
    assert "there are no JPEG files (.jpg, .jpeg, .jpe, .jfif) in empty" in result.stderr


# Weights ----------------------------------------------------------------------------------------------


def state_of(**changes: Any) -> dict[str, Any]:
    state = small_backbone().module.state_dict()
    return {**state, **changes}


def pickled_network(path: Path) -> None:
    torch.save(small_backbone().module, path)


def wrong_shape(path: Path) -> None:
    state = state_of()
    first = next(iter(state))
    torch.save({**state, first: torch.zeros(3, 3)}, path)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (pickled_network, "holds a whole network"),
        (lambda path: path.write_bytes(encode(photo_like(16, 16), 75)), "but a JPEG"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("<html>"), "but an HTML page"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        (lambda path: torch.save({"fc.weight": torch.zeros(10, 5)}, path), "does not fit"),
    ],
)
def test_weights_that_are_none_are_2_and_one_sentence(
    folder: Path, write: Callable[..., Any], text: str
) -> None:
    write(folder / "weights.pth")
    result = run("classify", "1.jpg", "--model", "resnet18", "--weights", "weights.pth")
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if "Error" in line]
    assert text in line
    assert len(line) < 400
    for internal in ("weights_only", "please file an issue", "Traceback", "size mismatch for", "zipfile"):
        assert internal not in result.stderr


def test_weights_of_another_architecture_name_the_first_layer_that_differs(folder: Path) -> None:
    from torchvision import models

    torch.save(models.resnet50(weights=None).state_dict(), folder / "weights.pth")
    result = run("classify", "1.jpg", "--model", "resnet18", "--weights", "weights.pth")
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if "Error" in line]
    assert (
        "weights.pth does not fit resnet18: layer1.0.conv1.weight is 64x64x1x1 in the file, 64x64x3x3" in line
    )
    save_file({"head.weight": torch.zeros(10, 5)}, folder / "weights.safetensors")
    result = run("classify", "1.jpg", "--model", "resnet18", "--weights", "weights.safetensors")
    assert "it lacks conv1.weight; its first is head.weight" in result.stderr


# Narrow terminals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_tables_fit_narrow_terminals_and_tell_names_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("dctafd.inference.loading.load_classifier", lambda *a, **k: tiny_classifier())
    monkeypatch.setenv("COLUMNS", str(width))
    long = folder / "a-folder-with-a-long-name"
    for number in (1, 2):
        below = long / f"and-another-one-below-it-{number}"
        below.mkdir(parents=True)
        (below / f"some-photo-of-the-holidays-{number}.jpg").write_bytes(photo(number))
    for arguments in (["classify", str(long)], ["dataset-stats", "--dir", "."], ["models"]):
        lines = run(*arguments).stdout.splitlines()
        assert all(len(line) <= width for line in lines)
        assert len(set(lines)) == len(lines)


def test_models_fit_80_columns_and_json_has_the_rest() -> None:
    lines = run("models").stdout.splitlines()
    assert lines[0].split() == ["model", "classes", "weights", "module", "licence"]
    assert all(len(line) <= 80 for line in lines)
    records = {record["model"]: record for record in json.loads(run("models", "--format", "json").stdout)}
    assert "resnet50_pqf" in records["resnet50_pqf"]["modules"]
    assert {"origin", "weights_file", "crop", "architecture", "labels"} <= set(records["resnet18"])


def test_csv_of_dataset_stats_holds_objects(folder: Path) -> None:
    import csv

    row = next(csv.DictReader(io.StringIO(run("dataset-stats", "--dir", ".", "--format", "csv").stdout)))
    for column in ("process", "subsampling", "color_space", "quality_histogram", "failure_kinds"):
        assert isinstance(json.loads(row[column]), dict)
    assert json.loads(row["subsampling"]) == {"4:2:0": 2}
