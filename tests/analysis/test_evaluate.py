"""Evaluation: protocols, figures, intervals, and the command's record."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torchvision.transforms import functional

from dctafd.analysis.evaluate import (
    LabelledPhoto,
    evaluate,
    gain_interval,
    read_labels,
)
from dctafd.analysis.protocols import PROTOCOLS, Condition, compressed_input, protocol_conditions
from dctafd.cli import evaluate as evaluate_command
from dctafd.errors import DctafdError
from dctafd.jpeg.quality import estimate_quality
from dctafd.nets.attach import attach
from dctafd.nets.registry import Backbone
from tests.support.small_nets import CLASSES, CROP, small_backbone, small_spec, trained_afd

SPEC = small_spec()


def photo(seed: int, size: tuple[int, int] = (48, 64)) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def stored(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["file,label"]
    for index in range(7):
        (tmp_path / f"{index}.jpg").write_bytes(stored(photo(index)))
        lines.append(f"{index}.jpg,{index % CLASSES}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def labelled(folder: Path) -> list[LabelledPhoto]:
    return read_labels(folder / "labels.csv", folder)


# Protocols --------------------------------------------------------------------------------------------


def reference_crop(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return functional.center_crop(functional.resize(image, [SPEC.resize]), [SPEC.crop])


def normalised(image: Image.Image) -> np.ndarray:
    tensor = functional.normalize(functional.to_tensor(image), SPEC.mean, SPEC.std)
    return tensor.numpy()


def one_level() -> float:
    return 1.01 / 255 / min(SPEC.std)


def recompressed(image: Image.Image, *qualities: int) -> Image.Image:
    for quality in qualities:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer).convert("RGB")
    return image


def test_single_resizes_crops_and_compresses() -> None:
    data = stored(photo(0))
    (condition,) = protocol_conditions("single", [10])
    result = compressed_input(data, condition, SPEC, np.random.default_rng(0))
    expected = normalised(recompressed(reference_crop(data), 10))
    np.testing.assert_allclose(result.pixels, expected, atol=one_level())
    assert estimate_quality(result.header).value == 10
    assert result.header.subsampling == "4:2:0"
    assert (result.header.width, result.header.height) == (CROP, CROP)


def test_imagenet_c_is_saved_again_at_quality_85() -> None:
    data = stored(photo(0))
    (condition,) = protocol_conditions("imagenet-c", [10])
    result = compressed_input(data, condition, SPEC, np.random.default_rng(0))
    expected = normalised(recompressed(reference_crop(data), 10, 85))
    np.testing.assert_allclose(result.pixels, expected, atol=one_level())
    assert estimate_quality(result.header).value == 85


def test_native_compresses_first() -> None:
    data = stored(photo(0))
    (condition,) = protocol_conditions("native", [10])
    result = compressed_input(data, condition, SPEC, np.random.default_rng(0))
    whole = recompressed(Image.open(io.BytesIO(data)).convert("RGB"), 10)
    expected = functional.center_crop(functional.resize(whole, [SPEC.resize]), [SPEC.crop])
    np.testing.assert_allclose(result.pixels, normalised(expected), atol=one_level())
    assert (result.header.width, result.header.height) == (64, 48)


def test_stored_takes_files_as_they_are() -> None:
    data = stored(photo(0), quality=31)
    (condition,) = protocol_conditions("stored")
    result = compressed_input(data, condition, SPEC, np.random.default_rng(0))
    np.testing.assert_allclose(result.pixels, normalised(reference_crop(data)), atol=one_level())
    assert estimate_quality(result.header).value == 31


def test_repeated_draws_its_qualities_from_the_list() -> None:
    data = stored(photo(0))
    conditions = protocol_conditions("repeated", [12, 30], [1, 3])
    assert [condition.times for condition in conditions] == [1, 3]
    drawn = np.random.default_rng(5).choice([12, 30], 3)
    result = compressed_input(data, conditions[1], SPEC, np.random.default_rng(5))
    expected = normalised(recompressed(reference_crop(data), *map(int, drawn)))
    np.testing.assert_allclose(result.pixels, expected, atol=one_level())


# Figures ----------------------------------------------------------------------------------------------


def expected_top(backbone: Backbone, photos: list[LabelledPhoto], k: int) -> float:
    right = 0
    for item in photos:
        pixels = torch.from_numpy(normalised(reference_crop(item.path.read_bytes())))
        best = backbone.module(pixels[None]).topk(k).indices[0].tolist()
        right += item.label in best
    return 100 * right / len(photos)


def test_clean_accuracy_is_that_of_torchvisions_preprocessing(folder: Path) -> None:
    backbone, photos = small_backbone(), labelled(folder)
    result = evaluate(
        backbone, None, photos, "stored", protocol_conditions("stored"), batch_size=3, threads=1
    )
    assert result.images == 7
    assert result.clean.direct_top1 == pytest.approx(expected_top(backbone, photos, 1), abs=1e-3)
    assert result.clean.direct_top5 == pytest.approx(expected_top(backbone, photos, 5), abs=1e-3)
    (row,) = result.rows
    assert (row.quality, row.direct_top1) == (None, result.clean.direct_top1)
    assert row.afd_top1 is row.afd_top5 is row.top1_gain is None


def test_gain_and_share_regained(folder: Path) -> None:
    backbone = small_backbone()
    classifier = attach(backbone.module, trained_afd(backbone.module, "deep").reparameterize())
    seen: list[int] = []
    result = evaluate(
        backbone,
        classifier,
        labelled(folder),
        "single",
        protocol_conditions("single", [5, 95]),
        batch_size=4,
        threads=1,
        advance=seen.append,
    )
    assert seen == [4, 3]
    assert [row.quality for row in result.rows] == [5, 95]
    for row in result.rows:
        assert row.afd_top1 is not None
        assert row.top1_gain == pytest.approx(row.afd_top1 - row.direct_top1, abs=1e-3)
        assert row.top1_gain_low <= row.top1_gain <= row.top1_gain_high  # type: ignore[operator]
        taken = result.clean.direct_top1 - row.direct_top1
        if taken > 0:
            assert row.regained == pytest.approx(100 * row.top1_gain / taken, abs=0.01)
        else:
            assert row.regained is None


def test_unreadable_photos_are_named_and_left_out(folder: Path) -> None:
    (folder / "1.jpg").write_bytes(b"not a photo")
    (folder / "2.jpg").unlink()
    result = evaluate(
        small_backbone(), None, labelled(folder), "single", protocol_conditions("single", [10]), threads=1
    )
    assert result.images == 5
    assert [file for file, _ in result.failures] == ["1.jpg", "2.jpg"]


def test_nothing_readable_and_labels_out_of_range_are_errors(folder: Path) -> None:
    photos = labelled(folder)
    missing = [replace(item, path=folder / "missing.jpg") for item in photos]
    conditions = protocol_conditions("stored")
    with pytest.raises(DctafdError, match=r"none of 7 photos could be read.*missing\.jpg"):
        evaluate(small_backbone(), None, missing, "stored", conditions, threads=1)
    high = [replace(item, label=CLASSES) for item in photos]
    with pytest.raises(DctafdError, match=f"label {CLASSES}; the model has {CLASSES} classes"):
        evaluate(small_backbone(), None, high, "stored", conditions, threads=1)


def test_interval_of_the_gain() -> None:
    direct = np.array([True] * 50 + [False] * 50)
    assert gain_interval(direct, direct) == (0, 0)
    corrected = direct.copy()
    corrected[50:70] = True
    low, high = gain_interval(direct, corrected)
    assert 11 <= low <= 14  # binomial(100, 0.2): 20 points, deviation 4
    assert 26 <= high <= 29


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.jpg\n", "no column label"),
        ("file,label\na.jpg,cat\n", "no class index"),
        ("file,label\n", "no photos"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labels(path, tmp_path)


# Command ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    backbone = small_backbone()
    monkeypatch.setattr("dctafd.nets.registry.load_backbone", lambda model, weights: backbone)
    afd = trained_afd(backbone.module, "stem")
    monkeypatch.setattr(
        "dctafd.nets.afd_weights.select_afd", lambda choice, _: None if choice == "off" else afd
    )
    return backbone


def run(folder: Path, *options: str) -> Result:
    arguments = [
        "--images",
        str(folder),
        "--labels",
        str(folder / "labels.csv"),
        "--device",
        "cpu",
        "-j",
        "1",
    ]
    return CliRunner().invoke(evaluate_command.command, [*arguments, *options])


def test_json_record_has_the_contracts_keys(folder: Path, small_model: Backbone) -> None:
    result = run(folder, "--qualities", "7,30", "--limit", "5", "--format", "json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["model"], record["images"], record["protocol"]) == ("small", 5, "single")
    assert {"top1", "top5"} <= set(record["clean"])
    assert [row["quality"] for row in record["rows"]] == [7, 30]
    wanted = {"quality", "direct_top1", "direct_top5", "afd_top1", "afd_top5"}
    assert all(wanted <= set(row) for row in record["rows"])
    assert all(0 <= row[name] <= 100 for row in record["rows"] for name in wanted - {"quality"})


def test_csv_and_figure(folder: Path, small_model: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output, figure = tmp_path / "out.csv", tmp_path / "out.png"
    result = run(
        folder, "--protocol", "repeated", "--times", "1..2", "-o", str(output), "--plot", str(figure)
    )
    assert result.exit_code == 0, result.output
    lines = output.read_text().splitlines()
    assert len(lines) == 4  # names, clean, two numbers of compressions
    assert "times" in lines[0]
    with Image.open(figure) as image:
        assert image.size[0] > 100


def test_failures_end_in_exit_code_1(folder: Path, small_model: Backbone) -> None:
    (folder / "1.jpg").write_bytes(b"not a photo")
    result = run(folder, "--afd", "off", "--protocol", "stored")
    assert result.exit_code == 1
    assert "1.jpg" in result.stderr


@pytest.mark.parametrize(
    "options", [("--qualities", "0"), ("--qualities", "low"), ("--times", "3..1"), ("--times", "many")]
)
def test_usage_errors(folder: Path, small_model: Backbone, options: tuple[str, str]) -> None:
    assert run(folder, *options).exit_code == 2


def test_the_command_offers_every_protocol() -> None:
    assert evaluate_command.PROTOCOLS == PROTOCOLS


def test_condition_is_a_plain_value() -> None:
    assert protocol_conditions("single", [7]) == (Condition(7),)
    assert protocol_conditions("native", [7]) == (Condition(7, full_size=True),)
    assert protocol_conditions("imagenet-c", [7]) == (Condition(7, again=85),)
