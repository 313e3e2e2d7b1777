"""A training that proves itself: photos held out, warm start, report, verdict."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dctafd.analysis.evaluation import Evaluation
from dctafd.analysis.evaluation_rows import EvaluationRow, condition_row
from dctafd.analysis.photo_scores import MeasuredPhoto, NetworkScore, PhotoScore
from dctafd.analysis.protocols import AS_IT_IS, Condition
from dctafd.analysis.proven_training import Training, enough_photos, held_out_count, train
from dctafd.analysis.verdict import PROVING_QUALITIES, STRONG_QUALITIES, judge
from dctafd.errors import DctafdError, WeightsError
from dctafd.nets.afd_weights import load_afd, read_afd_card
from dctafd.training.config import TrainingConfig
from dctafd.training.degrade import DegradationRange
from dctafd.training.trainer import TrainingReport
from dctafd.training.validation import Validation
from dctafd.training.warm_start import fitting_modules
from tests.support.small_nets import CROP, small_backbone, small_spec

QUICK = TrainingConfig(steps=3, batch_size=2, fe_width=4, stage_widths=(4, 4, 4, 4), warm_up=2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        coarse = rng.integers(0, 256, (7, 7, 3), np.uint8)
        Image.fromarray(coarse).resize((56, 56), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def quick_train(photos: Path, output: Path, config: TrainingConfig = QUICK, **options: Any) -> Training:
    options = {"start_from": None, "held_out": 4, "jobs": 1, "device": "cpu", **options}
    return train(photos, small_backbone(), output, config=config, **options)


def test_a_training_ends_with_a_report_and_writes_the_verdict_into_the_card(
    photos: Path, tmp_path: Path
) -> None:
    output, said, reports = tmp_path / "afd.safetensors", [], []  # type: ignore[var-annotated]
    found = quick_train(photos, output, say=said.append, report=reports.append)
    assert (found.photos, found.held_out, found.steps, found.started_from) == (6, 4, 3, None)
    assert found.evaluation is not None
    assert [row.quality for row in found.evaluation.rows] == list(PROVING_QUALITIES)
    assert (found.evaluation.images, found.evaluation.measure) == (4, "agreement")
    assert found.verdict == judge(found.evaluation)
    card = read_afd_card(output)
    assert card.training["verdict"] == found.verdict.to_dict()
    assert card.training["verdict"]["helps"] in (True, False)
    spec = small_backbone().spec
    assert (card.preprocessing, card.labels) == (spec.preprocessing, small_backbone().labels)
    assert said[0].startswith("6 photos to train on, 4 held out to prove it: few")
    assert str(found.verdict).startswith(("helps:", "does not help:"))
    record = json.loads(json.dumps(found.to_dict()))
    assert record["verdict"] == card.training["verdict"]
    assert record["report"]["measure"] == "agreement"
    log = output.with_suffix(".jsonl").read_text().splitlines()
    assert len(log) == len(reports) == 1
    assert isinstance(reports[0], TrainingReport)


def test_the_report_is_of_photos_that_were_not_trained_on(photos: Path, tmp_path: Path) -> None:
    from dctafd.training.validation import split_photos

    found = quick_train(photos, tmp_path / "afd.safetensors")
    assert found.evaluation is not None
    _, held_out = split_photos(sorted(photos.iterdir()), 4)
    assert sorted(Path(photo.name).name for photo in found.evaluation.photos) == sorted(
        p.name for p in held_out
    )


def test_photos_that_cannot_be_read_are_named_and_left_out(photos: Path, tmp_path: Path) -> None:
    from dctafd.training.validation import split_photos

    training, held_out = split_photos(sorted(photos.iterdir()), 4)
    for path in (training[0], held_out[0]):
        path.write_bytes(b"no photo")
    said: list[str] = []
    found = quick_train(photos, tmp_path / "afd.safetensors", say=said.append)
    assert (found.photos, found.held_out) == (5, 3)
    assert [Path(failure.file).name for failure in found.failures] == [training[0].name, held_out[0].name]
    assert sum(text.startswith("left out: ") for text in said) == 2
    assert found.evaluation is not None
    assert found.evaluation.images == 3
    for path in training:
        path.write_bytes(b"")
    with pytest.raises(DctafdError, match="none of 6 photos could be read"):
        quick_train(photos, tmp_path / "b.safetensors")


def test_without_photos_held_out_nothing_is_proven(photos: Path, tmp_path: Path) -> None:
    found = quick_train(photos, tmp_path / "afd.safetensors", held_out=0)
    assert (found.evaluation, found.verdict, found.photos) == (None, None, 10)
    assert read_afd_card(tmp_path / "afd.safetensors").helps  # nothing speaks against it
    with pytest.raises(ValueError, match="leave none to train on"):
        quick_train(photos, tmp_path / "b.safetensors", held_out=10)


def test_a_training_begins_with_the_nearest_module_that_fits(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    quick_train(photos, shipped / "near_afd.safetensors", held_out=0)
    monkeypatch.setattr("dctafd.training.warm_start.WEIGHTS_DIRECTORY", shipped)
    open_widths = replace(QUICK, fe_width=None, stage_widths=None, steps=1)
    said: list[str] = []
    output = tmp_path / "afd.safetensors"
    found = quick_train(photos, output, open_widths, start_from="auto", say=said.append)
    assert found.started_from == "near_afd.safetensors"
    assert "beginning with near_afd.safetensors" in said
    card = read_afd_card(output)
    assert (card.config.fe_width, card.config.stage_widths) == (4, (4, 4, 4, 4))
    assert [training["steps_done"] for training in card.training["earlier"]] == [3]
    assert card.training["earlier"][0]["file"] == "near_afd.safetensors"
    longer = quick_train(photos, output, replace(open_widths, steps=2), start_from="auto", say=said.append)
    assert (longer.steps, longer.started_from) == (2, "near_afd.safetensors")
    assert any("going on at step 1" in text for text in said)
    anew = quick_train(photos, tmp_path / "new.safetensors", open_widths, start_from=None)
    assert anew.started_from is None


def test_a_training_takes_the_widths_of_the_module_that_it_begins_with(photos: Path, tmp_path: Path) -> None:
    narrow = replace(QUICK, steps=1, fde_width=7, fdm_channels=3)
    quick_train(photos, tmp_path / "a_afd.safetensors", narrow, held_out=0)
    [(_, config)] = fitting_modules(small_backbone(seed=3), TrainingConfig(), tmp_path)
    assert (config.fde_width, config.fdm_channels) == (7, 3)
    [(_, own)] = fitting_modules(small_backbone(seed=3), TrainingConfig(fde_width=9), tmp_path)
    assert (own.fde_width, own.fdm_channels) == (9, 3)


def test_modules_for_other_shapes_do_not_fit(photos: Path, tmp_path: Path) -> None:
    quick_train(photos, tmp_path / "a_afd.safetensors", held_out=0)
    (tmp_path / "b_afd.safetensors").write_bytes(b"rubbish")
    found = fitting_modules(small_backbone(seed=3), TrainingConfig(), tmp_path)
    assert [path.name for path, _ in found] == ["a_afd.safetensors"]
    assert found[0][1].stage_widths == (4, 4, 4, 4)
    from torchvision import models

    other = replace(small_backbone(), module=models.squeezenet1_1(num_classes=6).eval(), spec=small_spec())
    assert fitting_modules(other, TrainingConfig(), tmp_path) == []
    assert fitting_modules(small_backbone(), TrainingConfig(variant="stem"), tmp_path) == []


def test_a_named_file_that_does_not_fit_is_an_error(photos: Path, tmp_path: Path) -> None:
    quick_train(photos, tmp_path / "a.safetensors", held_out=0)
    with pytest.raises(WeightsError, match="does not fit"):
        quick_train(
            photos,
            tmp_path / "b.safetensors",
            replace(QUICK, fe_width=2),
            start_from=tmp_path / "a.safetensors",
        )


@pytest.mark.parametrize(
    ("photos", "held_out"), [(2, 1), (20, 10), (60, 16), (120, 24), (640, 128), (10_000, 128)]
)
def test_a_fifth_is_held_out(photos: int, held_out: int) -> None:
    assert held_out_count(photos) == held_out


def test_what_so_many_photos_are_good_for() -> None:
    assert "few" in enough_photos(96, 24)
    assert "less than about 14 points" in enough_photos(96, 24)
    assert "usable" in enough_photos(800, 100)
    many = enough_photos(2000, 128)
    assert "few" not in many
    assert "more help" not in many
    assert "chance" not in enough_photos(2000, 0)


# Verdict ----------------------------------------------------------------------------------------------


def evaluation_of(right: dict[int | None, tuple[list[int], list[int]]]) -> Evaluation:
    """An evaluation in which, at each quality (None: uncompressed), so many answers of 100 are right."""
    conditions = (AS_IT_IS, *(Condition(quality) for quality in PROVING_QUALITIES))
    good, bad = NetworkScore(0, 0, 0.9, 1.0, 0.0), NetworkScore(1, 1, 0.1, 0.8, 1.0)

    def answer(n: int, condition: Condition, network: int) -> NetworkScore:
        return good if n in right[condition.quality][network] else bad

    photos = tuple(
        MeasuredPhoto(
            str(n),
            "",
            0,
            tuple(PhotoScore(answer(n, c, 0), answer(n, c, 1), 0.1, 90, None) for c in conditions),
        )
        for n in range(100)
    )
    clean = condition_row(photos, 0, AS_IT_IS, "agreement")
    rows: list[EvaluationRow] = [
        condition_row(photos, number, condition, "agreement", clean_top1=100.0)
        for number, condition in enumerate(conditions)
        if number
    ]
    return Evaluation(
        "m", 100, "single", "agreement", None, clean, tuple(rows), photos=photos, conditions=conditions
    )


def case(strong: int, gentle: int, clean: int, before: int = 95) -> Evaluation:
    """Right answers of 100 with the module; without it 60 at strong qualities, `before` at 90, else all."""
    right: dict[int | None, Any] = {quality: (range(60), range(strong)) for quality in STRONG_QUALITIES}
    right |= {
        50: (range(90), range(90)),
        90: (range(before), range(gentle)),
        None: (range(100), range(clean)),
    }
    return evaluation_of(right)


def test_one_changed_answer_is_no_harm_where_compression_changes_none() -> None:
    assert judge(case(75, 100, 99, before=100)).helps
    assert not judge(case(75, 100, 90, before=100)).helps


@pytest.mark.parametrize(
    ("strong", "gentle", "clean", "helps"),
    [
        (75, 95, 99, True),
        (61, 95, 99, False),  # one photo of a hundred is no proof
        (60, 95, 100, False),
        (50, 95, 99, False),
        (75, 80, 99, False),  # harms photos that hardly need anything
        (75, 95, 80, False),  # changes answers of photos that need nothing
    ],
)
def test_a_module_helps_where_it_gains_and_does_no_harm(
    strong: int, gentle: int, clean: int, helps: bool
) -> None:
    verdict = judge(case(strong, gentle, clean))
    assert verdict.helps is helps
    assert verdict.gain == pytest.approx(strong - 60)
    assert verdict.gentle_gain == pytest.approx(gentle - 95)
    assert (verdict.changed, verdict.changed_by_compression) == (100 - clean, 5)
    assert str(verdict).startswith("helps:" if helps else "does not help:")
    assert "100 photos held out" in str(verdict)


def test_a_verdict_needs_agreement_at_all_qualities() -> None:
    found = case(75, 95, 99)
    with pytest.raises(ValueError, match="agreement"):
        judge(replace(found, measure="accuracy"))
    with pytest.raises(ValueError, match="qualities"):
        judge(replace(found, rows=found.rows[1:]))


# Geometry ---------------------------------------------------------------------------------------------


def test_held_out_photos_are_cropped_as_the_classifier_sees_them() -> None:
    from torchvision.transforms import functional

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8))
    spec = small_spec()
    (view,) = Validation([np.asarray(image)], spec).views
    expected = functional.center_crop(functional.resize(image, [spec.resize]), [CROP])
    np.testing.assert_array_equal(view, np.asarray(expected))


@pytest.mark.slow
def test_a_training_that_learns_is_said_to_help(photos: Path, tmp_path: Path) -> None:
    """Trained on the photos that it is judged by, a module agrees more often: the verdict sees it."""
    strong = DegradationRange(lowest=5, highest=25, clean=0.2, shifted=0, resized=0, imagenet_c=0, twice=0)
    config = replace(QUICK, steps=150, batch_size=8, fe_width=16, stage_widths=(16,) * 4, degradations=strong)
    found = quick_train(photos, tmp_path / "afd.safetensors", config, held_out=2)
    from dctafd.analysis.proven_training import prove

    measured = prove(small_backbone(), tmp_path / "afd.safetensors", sorted(photos.iterdir()), jobs=1)
    assert found.steps == 150
    assert judge(measured).gain > 0
    assert load_afd(tmp_path / "afd.safetensors").reparameterized
