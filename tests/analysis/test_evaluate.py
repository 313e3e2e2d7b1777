"""Evaluation: figures, agreement, trees, resuming, intervals."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.evaluate import evaluate
from dctafd.analysis.evaluation_journal import journal_path
from dctafd.analysis.evaluation_rows import gain_interval, mean_interval, share_interval
from dctafd.analysis.evaluation_task import EvaluationTask
from dctafd.analysis.photo_scores import MeasuredPhoto, NetworkScore, PhotoScore
from dctafd.analysis.protocols import Condition
from dctafd.analysis.published import published_top1
from dctafd.errors import DctafdError, ResumeError
from dctafd.inputs.model_input import collate
from dctafd.nets.registry import Backbone
from tests.support.evaluations import (
    afd_task,
    labelled_photos,
    normalised,
    photo,
    plain_task,
    recompressed,
    reference_crop,
)
from tests.support.small_nets import CLASSES, small_backbone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return labelled_photos(tmp_path)


# Figures ----------------------------------------------------------------------------------------------


def expected_top(backbone: Backbone, photos: list[tuple[Path, int]], k: int) -> float:
    right = 0
    for path, label in photos:
        pixels = torch.from_numpy(normalised(reference_crop(path.read_bytes())))
        best = backbone.module(pixels[None]).topk(k).indices[0].tolist()
        right += label in best
    return 100 * right / len(photos)


def test_clean_accuracy_is_that_of_torchvisions_preprocessing(folder: Path) -> None:
    task = plain_task(folder, labels=folder / "labels.csv", qualities=[50], batch_size=3)
    result = task.run()
    assert (result.images, result.measure, result.labels) == (7, "accuracy", "labels.csv")
    assert result.clean is not None
    paths = [(folder / f"{n}.jpg", n % CLASSES) for n in range(7)]
    assert result.clean.direct_top1 == pytest.approx(expected_top(task.backbone, paths, 1), abs=1e-3)
    assert result.clean.direct_top5 == pytest.approx(expected_top(task.backbone, paths, 5), abs=1e-3)
    (row,) = result.rows
    assert row.afd_top1 is row.afd_top5 is row.top1_gain is None


def test_gain_and_share_regained(folder: Path) -> None:
    seen: list[int] = []
    task = afd_task(folder, labels=folder / "labels.csv", qualities=[5, 95], batch_size=4)
    result = task.run(seen.append)
    assert seen == [0, 4, 3]
    assert [row.quality for row in result.rows] == [5, 95]
    assert result.clean is not None
    for row in result.rows:
        assert row.afd_top1 is not None
        assert row.direct_top1 is not None
        assert row.top1_gain == pytest.approx(row.afd_top1 - row.direct_top1, abs=1e-3)
        assert row.top1_gain_low <= row.top1_gain <= row.top1_gain_high  # type: ignore[operator]
        assert row.direct_top1_low <= row.direct_top1 <= row.direct_top1_high  # type: ignore[operator]
        taken = result.clean.direct_top1 - row.direct_top1  # type: ignore[operator]
        assert row.top1_gain is not None
        if taken > 0:
            assert row.regained == pytest.approx(100 * row.top1_gain / taken, abs=0.01)
        else:
            assert row.regained is None
    (mean,) = result.means
    assert mean.mean_of == 2
    for name in ("direct_top1", "afd_top1", "direct_top5", "afd_top5", "top1_gain"):
        assert getattr(mean, name) == pytest.approx(
            np.mean([getattr(r, name) for r in result.rows]), abs=1e-3
        )


def test_photos_that_cannot_be_read_are_named_and_left_out(folder: Path) -> None:
    (folder / "1.jpg").write_bytes(b"not a photo")
    (folder / "2.jpg").unlink()
    result = plain_task(folder, labels=folder / "labels.csv", qualities=[10], batch_size=2).run()
    assert result.images == 5
    assert [failure.file for failure in result.failures] == ["1.jpg", "2.jpg"]
    assert result.failures[1].type == "FileNotFoundError"


def test_nothing_readable_is_an_error(folder: Path) -> None:
    for number in range(7):
        (folder / f"{number}.jpg").write_bytes(b"no photo")
    with pytest.raises(DctafdError, match=r"none of 7 photos could be read; the first: 0\.jpg"):
        plain_task(folder, labels=folder / "labels.csv").run()


# Agreement --------------------------------------------------------------------------------------------


def logits_of(task: EvaluationTask, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities (photos, classes) without and with the module, computed one photo at a time."""
    rows = []
    for index in range(7):
        data = Path(str(task.photos.photos[index].key)).read_bytes()
        item = compressed_inputs(data, [task.conditions[number]], task.backbone.spec, (0, index))[0]
        batch = collate([item]).tensors()
        with torch.no_grad():
            rows.append((task.backbone.module(batch[0])[0], task.classifier(*batch).logits[0]))
    direct, corrected = (torch.stack(part).log_softmax(1) for part in zip(*rows, strict=True))
    return direct, corrected


def test_without_labels_it_is_agreement_that_is_measured(folder: Path) -> None:
    task = afd_task(folder, qualities=[5, 40], batch_size=3)
    result = task.run()
    assert (result.measure, result.labels) == ("agreement", None)
    clean, _ = logits_of(task, 0)
    assert result.clean is not None
    assert (result.clean.direct_top1, result.clean.direct_top5, result.clean.direct_kl) == (100, 100, 0)
    for number, row in enumerate(result.rows, 1):
        for name, logits in zip(("direct", "afd"), logits_of(task, number), strict=True):
            same = (logits.argmax(1) == clean.argmax(1)).float().mean() * 100
            assert getattr(row, f"{name}_top1") == pytest.approx(float(same), abs=1e-3)
            best = [set(scores.topk(5).indices.tolist()) for scores in clean]
            shares = [len(best[n] & set(logits[n].topk(5).indices.tolist())) / 5 for n in range(7)]
            assert getattr(row, f"{name}_top5") == pytest.approx(100 * np.mean(shares), abs=1e-3)
            kl = torch.nn.functional.kl_div(logits, clean, reduction="batchmean", log_target=True)
            assert getattr(row, f"{name}_kl") == pytest.approx(float(kl), abs=1e-3)
        assert row.kl_gain == pytest.approx(row.direct_kl - row.afd_kl, abs=1e-3)  # type: ignore[operator]
        assert row.kl_gain_low <= row.kl_gain <= row.kl_gain_high  # type: ignore[operator]
    record = result.to_dict()
    assert record["measure"] == "agreement"
    assert {"quality", "direct_top1", "direct_top5", "afd_top1", "afd_top5", "kl_gain_low"} <= set(
        record["rows"][0]
    )


def test_labels_can_be_left_aside(folder: Path) -> None:
    result = plain_task(folder, labels=folder / "labels.csv", measure="agreement", qualities=[50]).run()
    assert result.measure == "agreement"
    with pytest.raises(ValueError, match="no labels"):
        plain_task(folder, measure="accuracy")
    with pytest.raises(ValueError, match="no uncompressed photo to agree with"):
        plain_task(folder, protocol="stored")
    with pytest.raises(ValueError, match="needs labels"):
        plain_task(folder, compare="paper")


# Stored trees -----------------------------------------------------------------------------------------


def imagenet_c_tree(root: Path, severities: int = 3) -> Path:
    """Write corruption/severity/class/photo, compressed at falling quality and again at 85."""
    for severity in range(1, severities + 1):
        for index in range(6):
            label = f"class_{index % 3}"
            folder = root / "jpeg_compression" / str(severity) / label
            folder.mkdir(parents=True, exist_ok=True)
            image = recompressed(photo(index, (64, 64)), 40 // severity)
            image.save(folder / f"{index}.jpg", quality=85)
    return root


def test_a_tree_gives_a_row_a_folder_and_a_mean(tmp_path: Path) -> None:
    result = afd_task(imagenet_c_tree(tmp_path), protocol="stored").run()
    assert result.clean is None
    assert [row.folder for row in result.rows] == [f"jpeg_compression/{s}" for s in (1, 2, 3)]
    assert all(row.photos == 6 and row.table_quality == 85 for row in result.rows)
    (mean,) = result.means
    assert (mean.folder, mean.mean_of, mean.photos) == ("jpeg_compression", 3, 18)
    assert mean.direct_top1 == pytest.approx(np.mean([row.direct_top1 for row in result.rows]), abs=1e-3)
    record = result.to_dict()
    assert record["clean"] == {"top1": None, "top5": None, "afd_top1": None, "afd_top5": None}
    assert [row["folder"] for row in record["rows"]] == [row.folder for row in result.rows]
    assert json.loads(json.dumps(record)) == record


def test_rows_are_those_of_each_folder_alone(tmp_path: Path) -> None:
    imagenet_c_tree(tmp_path)
    whole = afd_task(tmp_path, protocol="stored").run()
    for row in whole.rows:
        (alone,) = afd_task(tmp_path / str(row.folder), protocol="stored").run().rows
        assert replace(alone, folder=row.folder) == row


def test_two_corruptions_have_means_of_their_own_and_one_of_all(tmp_path: Path) -> None:
    imagenet_c_tree(tmp_path, 2)
    (tmp_path / "blur").mkdir()
    (tmp_path / "jpeg_compression" / "2").rename(tmp_path / "blur" / "1")
    (tmp_path / "jpeg_compression" / "1").rename(tmp_path / "blur" / "2")
    imagenet_c_tree(tmp_path, 2)
    result = plain_task(tmp_path, protocol="stored").run()
    assert [(mean.folder, mean.mean_of) for mean in result.means] == [
        ("blur", 2), ("jpeg_compression", 2), (None, 4),
    ]  # fmt: skip


def test_a_table_and_a_shard_give_the_trees_numbers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import tarfile

    from pyarrow import parquet

    root = imagenet_c_tree(tmp_path / "tree")
    paths = sorted(root.rglob("*.jpg"))
    names = [path.relative_to(root).as_posix() for path in paths]
    labels = [int(path.parent.name.removeprefix("class_")) for path in paths]
    images = [{"bytes": path.read_bytes(), "path": name} for path, name in zip(paths, names, strict=True)]
    parquet.write_table(pa.table({"image": images, "label": labels}), tmp_path / "c.parquet")
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        for path, name, label in zip(paths, names, labels, strict=True):
            archive.add(path, name)
            data = str(label).encode()
            info = tarfile.TarInfo(name.removesuffix(".jpg") + ".cls")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    expected, table, shard = (
        afd_task(place, protocol="stored", batch_size=4).run()
        for place in (root, tmp_path / "c.parquet", tmp_path / "c.tar")
    )
    assert table.rows == shard.rows == expected.rows
    assert table.means == shard.means == expected.means


def test_the_papers_figures_stand_beside(tmp_path: Path) -> None:
    result = plain_task(imagenet_c_tree(tmp_path, 5), protocol="stored", compare="paper").run()
    assert [row.paper_direct_top1 for row in result.rows] == [66.16, 62.47, 59.28, 47.50, 31.65]
    (mean,) = result.means
    assert (mean.paper_direct_top1, mean.paper_afd_top1) == (
        pytest.approx(53.41, abs=0.01),
        pytest.approx(60.21, abs=0.01),
    )
    paper = published_top1("repvgg_a2")
    assert np.mean([with_afd for _, with_afd in paper.by_quality.values()]) == pytest.approx(59.18, abs=0.01)
    assert np.mean([with_afd for _, with_afd in paper.by_times.values()]) == pytest.approx(51.78, abs=0.01)


# Resuming ---------------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


def stopped_after(batches: int) -> Any:
    calls = iter(range(batches + 1))

    def advance(count: int) -> None:
        if next(calls, None) is None:
            raise KilledError

    return advance


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_killed_evaluation_goes_on_and_equals_an_undisturbed_one(folder: Path, batches: int) -> None:
    (folder / "4.jpg").write_bytes(b"no photo")
    options: dict[str, Any] = {"qualities": [5, 40], "batch_size": 2}
    output = folder / "scores.jsonl"
    undisturbed = afd_task(folder, **options).run()
    with pytest.raises(KilledError):
        afd_task(folder, **options).run(stopped_after(batches), output)
    journal = journal_path(output)
    assert journal.is_file()
    journal.write_bytes(journal.read_bytes()[:-3])  # the kill came in the middle of a line
    with pytest.raises(ResumeError, match="add --resume"):
        afd_task(folder, **options).run(journal=output)
    with pytest.raises(ResumeError, match="another choice of conditions"):
        afd_task(folder, qualities=[5], batch_size=2).run(journal=output, resume=True)
    seen: list[int] = []
    resumed = afd_task(folder, **options).run(seen.append, output, resume=True)
    assert resumed == undisturbed
    assert seen[0] == 2 * batches
    assert not journal.exists()


def test_a_damaged_journal_is_told(folder: Path) -> None:
    journal_path(folder / "x.csv").write_bytes(b"{}\nrubbish\n")
    with pytest.raises(ResumeError, match=r"another|damaged"):
        plain_task(folder).run(journal=folder / "x.csv", resume=True)


def test_measured_photos_survive_json() -> None:
    answer = NetworkScore(3, 1, 0.25, 0.8, 0.031)
    scores = (PhotoScore(answer, None, None, 85, None), PhotoScore(answer, answer, 0.1, 85, 20))
    measured = MeasuredPhoto("a.jpg", "b", 2, scores)
    assert MeasuredPhoto.from_list(json.loads(json.dumps(measured.to_list()))) == measured


# Every photo's scores ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_photos_scores_are_written(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    (folder / "4.jpg").write_bytes(b"no photo")
    labels = folder / "labels.csv"
    found = evaluate(
        folder, small_backbone(), afd="off", labels=labels, qualities=[5], per_photo=path, device="cpu"
    )
    records: list[dict[str, Any]]
    if suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
    elif suffix == ".csv":
        with path.open(newline="") as file:
            records = list(csv.DictReader(file))
    else:
        records = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    assert len(records) == 6 * 2 + 1
    assert [record["file"] for record in records if record["error"]] == ["4.jpg"]
    compressed = [record for record in records if str(record["quality"]) == "5"]
    right = [int(record["direct_rank"]) == 0 for record in compressed]
    assert found.rows[0].direct_top1 == pytest.approx(100 * np.mean(right), abs=1e-3)
    assert compressed[1]["wanted_name"] == "class 1"
    assert not journal_path(path).exists()
    assert not any(record["afd_rank"] for record in records)


@pytest.mark.parametrize(("name", "message"), [("x.txt", "does not end in"), ("no/x.csv", "does not exist")])
def test_where_scores_cannot_be_written_is_said_beforehand(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(folder, small_backbone(), afd="off", per_photo=folder / name)


# Figures ----------------------------------------------------------------------------------------------


def test_examples_are_photos_whose_answers_changed(folder: Path) -> None:
    from dctafd.analysis.evaluation_examples import examples

    task = afd_task(folder, qualities=[5, 60])
    found = task.run()
    row = min(found.rows, key=lambda row: row.direct_top1 or 0)
    number = 1 + found.rows.index(row)
    right = {photo.name: photo.scores[number] for photo in found.photos}
    shown = examples(task, found)
    changed = [
        s for s in right.values() if s.afd is not None and (s.uncorrected.rank == 0) != (s.afd.rank == 0)
    ]
    assert len(shown) <= 3
    assert bool(shown) == bool(changed)
    for example in shown:
        score = right[example.title.partition(",")[0]]
        assert score.afd is not None
        labels = task.backbone.labels
        assert example.seen.uncorrected[0].label == labels[score.uncorrected.best]
        assert example.seen.corrected[0].label == labels[score.afd.best]
        assert example.wanted in (labels[score.uncorrected.best], labels[score.afd.best])
        assert f"quality {row.quality}" in example.title
        assert example.seen.drift is not None
        assert float(example.seen.drift.mean()) == pytest.approx(score.drift, abs=1e-4)
    assert examples(plain_task(folder, qualities=[5]), plain_task(folder, qualities=[5]).run()) == []


def test_figures_of_conditions_and_folders_are_drawn(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from dctafd.analysis.evaluation_figure import plot_evaluation

    task = afd_task(folder, qualities=[5, 60])
    plot_evaluation(task.run(), tmp_path / "with.svg", task)
    text = (tmp_path / "with.svg").read_text()
    assert "with the AFD-Module" in text
    assert "same answer as on the uncompressed photo" in text
    stored = plain_task(imagenet_c_tree(tmp_path / "c_$x$"), protocol="stored")
    plot_evaluation(stored.run(), tmp_path / "stored.svg", stored)
    assert "folder in jpeg_compression" in (tmp_path / "stored.svg").read_text()


# Intervals --------------------------------------------------------------------------------------------


def test_shares_and_means_have_textbook_intervals() -> None:
    low, high = share_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))  # Wilson's
    assert share_interval(0, 5)[0] == 0
    assert share_interval(5, 5)[1] == 1
    found = mean_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert found is not None
    half = 1.96 * math.sqrt(5 / 3) / 2
    assert found == (pytest.approx(2.5 - half, abs=1e-3), pytest.approx(2.5 + half, abs=1e-3))
    assert mean_interval(np.array([1.0])) is None


def test_a_photos_gain_in_every_row_is_one_finding(tmp_path: Path) -> None:
    """Three severities of the same photos tell hardly more than one: the mean's interval must not shrink."""
    from dctafd.analysis.evaluation_rows import condition_row, mean_row

    rng = np.random.default_rng(0)
    helped = rng.random(200) < 0.2
    wrong, right = NetworkScore(1, 1, 0.1), NetworkScore(0, 0, 0.9)

    def photos(folder: str, same: bool) -> list[MeasuredPhoto]:
        gains = helped if same else rng.permutation(helped)
        return [
            MeasuredPhoto(
                f"{folder}/{n}", folder, 0, (PhotoScore(wrong, right if gain else wrong, 0.0, 85, None),)
            )
            for n, gain in enumerate(gains)
        ]

    widths = {}
    for same in (True, False):
        groups = [photos(name, same) for name in "abc"]
        rows = [
            condition_row(group, 0, Condition(None), "accuracy", folder=group[0].folder) for group in groups
        ]
        mean = mean_row(rows, groups, [0, 0, 0])
        assert mean.top1_gain == pytest.approx(rows[0].top1_gain)
        widths[same] = mean.top1_gain_high - mean.top1_gain_low  # type: ignore[operator]
    one = rows[0].top1_gain_high - rows[0].top1_gain_low  # type: ignore[operator]
    assert widths[True] == pytest.approx(one, rel=0.1)
    assert widths[False] < 0.75 * one


def test_interval_of_the_gain() -> None:
    direct = np.array([True] * 50 + [False] * 50)
    assert gain_interval(direct, direct) == (0, 0)
    corrected = direct.copy()
    corrected[50:70] = True
    low, high = gain_interval(direct, corrected)
    assert 11 <= low <= 14  # binomial(100, 0.2): 20 points, deviation 4
    assert 26 <= high <= 29
