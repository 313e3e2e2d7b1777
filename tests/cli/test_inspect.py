"""`dctafd inspect` on the command line."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dctafd.cli.main import cli
from dctafd.config import Limits
from dctafd.jpeg import reader
from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.jpeg.reader import read_within


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.radial_gradient("L").convert("RGB").save(path, quality=60)
    return path


def run(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)], **options)


def test_table_shows_quality_and_tables(photo: Path) -> None:
    result = run(photo)
    assert result.exit_code == 0
    assert "quality     60, exactly IJG's tables" in result.stdout
    assert "quantisation table of Cb, Cr" in result.stdout
    assert "   13   9   8" in result.stdout.replace("    ", "   ")
    assert "(0, 1)  step" in result.stdout


def test_json_of_several_files_keeps_their_order(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jpg"
    Image.new("L", (24, 16)).save(other)
    records = json.loads(run(photo, other, "--format", "json").stdout)
    assert [record["source"] for record in records] == [str(photo), str(other)]
    assert [record["color_space"] for record in records] == ["ycbcr", "gray"]


def test_several_threads_keep_the_order_and_draw_the_same(photo: Path, tmp_path: Path) -> None:
    others = []
    for number in range(2):
        others.append(tmp_path / f"{number}.jpg")
        Image.new("L", (8 * number + 8, 16)).save(others[-1])
    one, three = (
        run(*others, photo, "--format", "jsonl", "--plot", tmp_path / f"{jobs}.png", "--jobs", jobs)
        for jobs in (1, 3)
    )
    assert one.exit_code == three.exit_code == 0
    assert one.stdout == three.stdout
    assert [json.loads(line)["width"] for line in three.stdout.splitlines()] == [8, 16, 256]
    for number in (1, 2, 3):
        assert (tmp_path / f"1-{number}.png").read_bytes() == (tmp_path / f"3-{number}.png").read_bytes()


def test_cpus_are_shared_among_the_files(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def noted(data: bytes, limits: Limits) -> JpegCoefficients:
        seen.append(limits.threads)
        return read_within(data, limits)

    monkeypatch.setattr(reader, "read_within", noted)
    for files, threads in (([photo], 5), ([photo, photo], 2), ([photo] * 6, 1)):
        seen.clear()
        assert run(*files, "--jobs", "5").exit_code == 0
        assert seen == [threads] * len(files)


def test_standard_input(photo: Path) -> None:
    result = run("-", "--format", "jsonl", input=photo.read_bytes())
    assert json.loads(result.stdout)["quality"]["value"] == 60


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    result = run(bad, photo, tmp_path / "missing.jpg")
    assert result.exit_code == 1
    assert "bad.jpg: NotAJpegError" in result.stderr
    assert "missing.jpg: FileNotFoundError" in result.stderr
    assert str(photo) in result.stdout
    record = json.loads(run(bad, "--format", "jsonl").stdout)
    assert record["error"]["type"] == "NotAJpegError"


def test_plots_of_several_files_are_numbered(photo: Path, tmp_path: Path) -> None:
    assert run(photo, photo, "--plot", tmp_path / "plot.png").exit_code == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"plot-1.png", "plot-2.png"}


def test_a_model_adds_its_predictions(photo: Path) -> None:
    pytest.importorskip("torch")
    result = run(photo, "--model", "efficientnet_lite0", "--format", "jsonl")
    drift = json.loads(result.stdout)["drift"]
    assert len(drift["direct_predictions"]) == 3
    assert 0 < drift["direct_predictions"][0]["score"] <= 1


def test_a_two_fold_compression_shows_both(tmp_path: Path) -> None:
    noise = Image.effect_noise((240, 240), 60).resize((480, 480), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=20)
    path = tmp_path / "twice.jpg"
    Image.open(buffer).save(path, quality=90)
    record = json.loads(run(path, "--format", "jsonl").stdout)
    assert record["quality"]["value"] == 90
    assert record["history"]["primary_quality"] in (19, 20, 21)
    assert "steps of the earlier compression" in run(path).stdout
