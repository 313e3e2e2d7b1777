"""Training: pairs, losses, schedule, exact resume, and that it learns."""

import copy
import functools
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import load_afd, read_afd_card
from dctafd.nets.attach import attach
from dctafd.nets.model_specs import ModelSpec
from dctafd.nets.registry import Backbone
from dctafd.nets.rep_conv import RepConv
from dctafd.training.config import TrainingConfig, TrainingRuntime
from dctafd.training.data import (
    PairSource,
    collate_pairs,
    find_photos,
    iter_batches,
    load_photos,
    make_pair,
)
from dctafd.training.degrade import Degradation, DegradationRange, view_size
from dctafd.training.losses import LossWeights, afd_losses, features_loss, logits_loss
from dctafd.training.rates import FULL_RATE_FAN_IN, learning_rate_factor, parameter_groups
from dctafd.training.teacher import OtherTeacher, Teacher
from dctafd.training.trainer import Trainer, TrainingReport
from dctafd.training.validation import Validation, split_photos
from dctafd.training.views import FixedCrop, random_view
from tests.support.small_nets import (
    CROP,
    random_inputs,
    small_backbone,
    small_resnet,
    small_spec,
    trained_afd,
)

SPEC = small_spec()
RUNTIME = TrainingRuntime(torch.device("cpu"), jobs=1)
QUICK = TrainingConfig(
    steps=4, batch_size=2, fe_width=4, stage_widths=(4, 4, 4, 4), warm_up=2, learning_rate=1e-3
)


def photo(seed: int, size: tuple[int, int] = (48, 56)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


PHOTOS = [photo(seed) for seed in range(5)]


def trainer(
    config: TrainingConfig = QUICK, backbone: Backbone | None = None, runtime: TrainingRuntime = RUNTIME
) -> Trainer:
    return Trainer(backbone or small_backbone(), PHOTOS, config, runtime)


# Pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(100, "4:4:4"),
        Degradation(100, "4:4:4", shift=(3, 7)),
        Degradation(100, "4:4:4", scale=1.5),
        Degradation(100, "4:4:4", scale=0.8),
        Degradation(100, "4:4:4", second_quality=100, second_shift=(5, 2)),
    ],
)
def test_both_sides_of_a_pair_show_the_same_view(degradation: Degradation) -> None:
    spec = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
    rng = np.random.default_rng(0)
    gray = np.repeat(photo(1, (96, 96))[:, :, :1], 3, axis=2)  # the second compression subsamples chroma
    pair = make_pair(random_view(gray, view_size(degradation, CROP), rng), degradation, spec)
    assert pair.clean.shape == pair.compressed.pixels.shape == (3, CROP, CROP)
    difference = 255 * np.abs(pair.clean - pair.compressed.pixels)
    assert difference.mean() < 1.5
    shifted = 255 * np.abs(pair.clean[:, 1:] - pair.compressed.pixels[:, :-1])
    assert difference.mean() < shifted.mean() / 2


def test_pairs_are_normalised_as_the_classifier_wants() -> None:
    plain, normalised = (
        make_pair(photo(1, (CROP, CROP)), Degradation(50), replace(SPEC, mean=mean, std=std)).clean
        for mean, std in (((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), ((0.1, 0.2, 0.3), (0.5, 0.5, 0.25)))
    )
    expected = (plain - np.array([0.1, 0.2, 0.3])[:, None, None]) / np.array([0.5, 0.5, 0.25])[:, None, None]
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


def test_a_step_has_the_same_batch_whenever_it_is_made() -> None:
    source = PairSource(PHOTOS, SPEC, DegradationRange(), batch_size=2, seed=3)
    with closing(iter_batches(source, 0, jobs=2)) as batches:
        from_start = [next(batches) for _ in range(3)]
    with closing(iter_batches(source, 2, jobs=1, ahead=1)) as batches:
        resumed = next(batches)
    for first, second in zip(
        (from_start[2].clean, *from_start[2].compressed.tensors()),
        (resumed.clean, *resumed.compressed.tensors()),
        strict=True,
    ):
        assert torch.equal(first, second)
    other = PairSource(PHOTOS, SPEC, DegradationRange(), batch_size=2, seed=4).pair(2, 0)
    assert not np.array_equal(other.clean, resumed.clean[0].numpy())


def test_each_photo_comes_once_an_epoch() -> None:
    flat = [np.full((40, 40, 3), 10 * index, np.uint8) for index in range(5)]
    spec = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
    source = PairSource(flat, spec, DegradationRange(), batch_size=5, seed=0)
    for step in range(2):
        levels = [round(255 * float(source.pair(step, index).clean.mean())) for index in range(5)]
        assert sorted(levels) == [0, 10, 20, 30, 40]


def test_smaller_views_are_cut_not_shrunk() -> None:
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[None, :, None], (96, 96, 3))
    spec = ModelSpec("plain", "none", crop=64, mean=(0, 0, 0), std=(1, 1, 1))
    source = PairSource([ramp], spec, DegradationRange(resized=0), batch_size=8, seed=0, crop=32)
    pairs = [source.pair(0, index) for index in range(8)]
    assert {pair.clean.shape for pair in pairs} == {(3, 32, 32)}
    assert {pair.compressed.coefficients.shape[-2:] for pair in pairs} == {(4, 4)}
    across = [abs(float(255 * np.ptp(pair.clean[0].mean(0)))) for pair in pairs]
    assert max(across) <= 31 * 96 / 64 + 1  # as many photo pixels per pixel as in a view of 64
    with pytest.raises(ValueError, match="multiple of 8 pixels, not 100"):
        TrainingConfig(crop=100)


# What a degradation needs around the crop differs by corner; mirroring and stretching come before, to any.
@pytest.mark.parametrize(("mirrored", "stretch"), [(False, 1.0), (True, 0.75)])
@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(100, "4:4:4"),
        Degradation(100, "4:4:4", shift=(7, 3)),
        Degradation(100, "4:4:4", scale=1.5),
        Degradation(100, "4:4:4", shift=(7, 7), second_quality=100, second_shift=(7, 7)),
        Degradation(100, "4:4:4", scale=0.8, second_quality=100, second_shift=(5, 2)),
    ],
)
@pytest.mark.parametrize("corner", [(20.0, 24.0), (0.0, 0.0), (96 - 1.2 * CROP, 96 - 1.2 * CROP)])
def test_a_fixed_box_shows_the_same_whatever_is_done_to_it(
    degradation: Degradation, mirrored: bool, corner: tuple[float, float], stretch: float
) -> None:
    spec = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
    gray = np.repeat(photo(1, (96, 96))[:, :, :1], 3, axis=2)
    crop = FixedCrop(*corner, zoom=1.2, mirrored=mirrored, stretch=stretch)
    pair = make_pair(crop.cut(gray, CROP, degradation), degradation, spec)
    pristine = crop.cut(gray, CROP).transpose(2, 0, 1).astype(np.float32)
    difference = np.abs(255 * pair.clean - pristine)
    assert difference.mean() < 1.5
    moved = np.abs(255 * pair.clean[:, 1:] - pristine[:, :-1])
    assert difference.mean() < moved.mean() / 2


@pytest.mark.parametrize("size", [(40, 90), (64, 64), (300, 200)])
def test_fixed_boxes_lie_in_the_photo_and_the_largest_span_it(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    crops = [FixedCrop.draw(picture, CROP, np.random.default_rng(seed)) for seed in range(100)]
    for crop in crops:
        for corner, side in ((crop.top, size[0]), (crop.left, size[1])):
            assert 0 <= corner <= side - CROP * crop.zoom + 1e-6
    assert 0.95 < max(crop.zoom for crop in crops) * CROP / min(size) <= 1


def test_boxes_come_again_compressed_in_another_way() -> None:
    source = PairSource(PHOTOS[:2], SPEC, DegradationRange(), batch_size=2, seed=0, fixed_crops=2)
    batches = [collate_pairs([source.pair(step, index) for index in range(2)]) for step in range(4)]
    numbers = [sorted(batch.fixed_crops) for batch in batches]
    assert numbers == [[0, 2], [1, 3], [0, 2], [1, 3]]
    seen = [(batch.fixed_crops, batch.pristine) for batch in (batches[0], batches[2])]
    first, again = (dict(zip(numbers, shown, strict=True)) for numbers, shown in seen if shown is not None)
    assert all(torch.equal(first[number], again[number]) for number in (0, 2))
    steps = [batch.compressed.steps for batch in (batches[0], batches[2])]
    assert not torch.equal(*steps)


def test_photos_are_found_loaded_and_shrunk(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "sub/a.jpg"):
        Image.fromarray(photo(0, (80, 120))).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a photo")
    found = find_photos([tmp_path])
    assert [path.name for path in found] == ["b.png", "a.jpg"]
    assert [loaded.shape for loaded in load_photos(found, 40, jobs=1)] == [(40, 60, 3)] * 2
    listing = tmp_path / "list.txt"
    listing.write_text(f"{tmp_path / 'b.png'}\n\n")
    assert find_photos([listing]) == [tmp_path / "b.png"]
    with pytest.raises(FileNotFoundError, match="no folder of photos"):
        find_photos([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no photos in"):
        find_photos([tmp_path / "empty"])


def test_held_out_photos_do_not_depend_on_their_folder_or_order() -> None:
    paths = [Path(f"a/{index}.jpg") for index in range(20)]
    training, held_out = split_photos(paths, 5)
    assert len(held_out) == 5
    assert sorted([*training, *held_out]) == sorted(paths)
    moved = [Path("elsewhere") / path.name for path in reversed(paths)]
    assert {path.name for path in split_photos(moved, 5)[1]} == {path.name for path in held_out}
    with pytest.raises(ValueError, match="leave none"):
        split_photos(paths, 20)


# Teacher ----------------------------------------------------------------------------------------------


def test_the_teacher_remembers_boxes_and_runs_the_network_once_for_each() -> None:
    source = PairSource(PHOTOS, SPEC, DegradationRange(), batch_size=5, seed=0, fixed_crops=1)
    batches = [collate_pairs([source.pair(step, index) for index in range(5)]) for step in range(2)]
    backbone = small_backbone()
    classifier = attach(backbone.module, trained_afd(backbone.module, "deep"))
    runs = []
    classifier.backbone.fc.register_forward_hook(lambda module, inputs, output: runs.append(len(output)))
    teacher = Teacher(classifier)
    for batch in batches:
        assert batch.pristine is not None
        expected = classifier(batch.pristine, record=True)
        assert expected.features is not None
        runs.clear()
        got = teacher(batch)
        assert runs == ([5] if batch is batches[0] else [])
        torch.testing.assert_close(got.logits, expected.logits, rtol=2e-3, atol=2e-3)
        found, wanted = got.features, expected.features
        assert found is not None
        torch.testing.assert_close(found.layers[-1], wanted.layers[-1], rtol=2e-3, atol=2e-3)
        clean = classifier(batch.clean, record=True).features
        assert clean is not None
        assert torch.equal(found.layers[0], clean.stem_before)
        assert torch.equal(found.stem_before, clean.stem_before)


def test_another_teacher_gets_views_as_it_wants_them_and_answers_for_both_directions() -> None:
    spec = replace(SPEC, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.25))
    its = replace(SPEC, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), temperature=2.0)
    pixels = torch.rand(2, 3, CROP, CROP, generator=torch.Generator().manual_seed(0))

    def normalised(spec: ModelSpec, pixels: torch.Tensor) -> torch.Tensor:
        mean, std = torch.tensor([spec.mean, spec.std])[..., None, None]
        return (pixels - mean) / std

    backbone = replace(small_backbone(seed=3), spec=its)
    for size, expected_pixels in (
        (None, pixels),
        (48, torch.nn.functional.interpolate(pixels, (48, 48), mode="bilinear", antialias=True)),
    ):
        got = OtherTeacher(backbone, spec, size).probabilities(normalised(spec, pixels))
        with torch.no_grad():
            answers = [
                (backbone.module(normalised(its, view)) / 2.0).softmax(1)
                for view in (expected_pixels, expected_pixels.flip(3))
            ]
        torch.testing.assert_close(got, (answers[0] + answers[1]) / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_other_teachers_count_their_share_and_change_the_logits_only(share: float) -> None:
    backbone = small_backbone()
    others = [small_backbone(seed=seed) for seed in (1, 2)]
    classifier = attach(backbone.module, trained_afd(backbone.module, "deep"))
    clean = random_inputs()[0]
    batch = collate_pairs([make_pair(photo(1, (CROP, CROP)), Degradation(50), SPEC)] * 2)
    batch = replace(batch, clean=clean)
    teachers = [OtherTeacher(other, SPEC, None) for other in others]
    got = Teacher(classifier, teachers, temperature=2.0, share=share)(batch)
    own = classifier(clean, record=True)
    their = sum(0.5 * t.probabilities(clean) for t in teachers)
    expected = (1 - share) * (own.logits / 2).softmax(1) + share * their
    torch.testing.assert_close((got.logits / 2).softmax(1), expected, rtol=1e-4, atol=1e-5)
    assert got.features is not None
    assert own.features is not None
    for layer, wanted in zip(got.features.layers, own.features.layers, strict=True):
        assert torch.equal(layer, wanted)


def test_teachers_are_loaded_by_name_and_must_know_the_same_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(model: str, weights: str | None) -> Backbone:
        asked.append((model, weights))
        return small_backbone(seed=4)

    monkeypatch.setattr("dctafd.training.trainer.load_backbone", load)
    training = trainer(replace(QUICK, teachers=("resnet18", "resnet50=folder/other.pth"), fixed_crops=1))
    assert asked == [("resnet18", None), ("resnet50", "folder/other.pth")]
    training.run()
    training.save(tmp_path / "afd.safetensors")
    recorded = read_afd_card(tmp_path / "afd.safetensors").training["teachers"]
    assert recorded == ["resnet18", "resnet50=other.pth"]
    fewer = replace(small_backbone(), labels=("one", "two"))
    with pytest.raises(WeightsError, match="resnet18 has 6 classes, small has 2"):
        trainer(replace(QUICK, teachers=("resnet18",)), fewer)


def test_the_share_of_a_configuration_is_what_teachers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dctafd.training.trainer.load_backbone", lambda *_: small_backbone(seed=4))
    batch = collate_pairs([make_pair(photo(1, (CROP, CROP)), Degradation(50), SPEC)] * 2)
    own, all_theirs = (
        trainer(replace(QUICK, teachers=("resnet18",), teacher_share=share)).teacher(batch).logits
        for share in (0.0, 1.0)
    )
    answer = small_backbone().module(batch.clean)
    torch.testing.assert_close(own.softmax(1), answer.softmax(1), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(all_theirs.softmax(1), answer.softmax(1), atol=0.05)
    with pytest.raises(ValueError, match="share has to be 0 to 1"):
        TrainingConfig(teacher_share=1.5)


@pytest.mark.parametrize("bf16", [False, True])
def test_training_with_fixed_boxes_learns_the_last_stage(bf16: bool) -> None:
    training = trainer(replace(QUICK, fixed_crops=2, batch_size=5), runtime=replace(RUNTIME, bf16=bf16))
    training.run()
    assert training.state.step == 4
    with pytest.raises(ValueError, match="at least one fixed crop"):
        TrainingConfig(fixed_crops=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch.compile looks at it, not we
def test_a_compiled_training_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graphs that torch.compile traces are run as they are: without a compiler of C++, in seconds."""
    traced = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", traced)
    for setting in ("torch._dynamo.config.skip_nnmodule_hook_guards", "torch._inductor.config.freezing"):
        monkeypatch.setattr(setting, setting.endswith("guards"))  # the default, to which it also returns
    monkeypatch.setattr(
        "dctafd.training.trainer.load_backbone", lambda model, weights: small_backbone(seed=1)
    )
    learnt = []
    for compile in (False, True):
        config = replace(QUICK, fixed_crops=1, batch_size=3, teachers=("another",))
        training = trainer(config, runtime=replace(RUNTIME, compile=compile))
        training.run()
        learnt.append(torch.cat([weight.flatten() for weight in training.classifier.afd.parameters()]))
    torch.testing.assert_close(learnt[1], learnt[0], rtol=1e-4, atol=1e-5)


# Losses and schedule ----------------------------------------------------------------------------------


def test_losses_vanish_where_nothing_differs() -> None:
    backbone = small_backbone()
    classifier = attach(backbone.module, trained_afd(backbone.module, "deep"))
    clean = classifier(random_inputs()[0], record=True)
    same = replace(clean, fdm=torch.zeros(2, 5, 4, 4))
    losses = afd_losses(same, clean, classifier.afd)
    assert {name: float(value) for name, value in losses.items()} == dict.fromkeys(losses, 0.0)
    assert set(losses) == set(LossWeights.__dataclass_fields__)


def test_drift_loss_compares_channel_0_with_the_measured_drift() -> None:
    backbone = small_backbone()
    classifier = attach(backbone.module, trained_afd(backbone.module, "stem"))
    clean = classifier(random_inputs()[0], record=True)
    other = classifier(random_inputs(seed=1)[0], record=True)
    assert other.features is not None
    assert clean.features is not None
    measured = classifier.afd.measured_drift(other.features.stem_before, clean.features.stem_before, 4)
    fdm = torch.cat([measured[:, None] + 0.25, torch.ones(2, 4, 4, 4)], 1)
    losses = afd_losses(replace(other, fdm=fdm), clean, classifier.afd)
    assert float(losses["drift"]) == pytest.approx(0.25, abs=1e-5)
    assert float(losses["stem"]) > 0


def test_logits_loss_is_the_divergence_from_the_teacher() -> None:
    teacher, student = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, -1.0]])
    p, q = teacher.softmax(1), student.softmax(1)
    assert float(logits_loss(student, teacher)) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-5)


def test_above_the_knee_a_divergence_counts_by_its_logarithm() -> None:
    teacher = torch.tensor([[0.0, 1.0], [3.0, 1.0]])
    student = torch.tensor([[2.0, -1.0], [3.0, 1.0 + 1e-6]])
    divergences = [float(logits_loss(student[i : i + 1], teacher[i : i + 1])) for i in range(2)]
    expected = sum(0.5 * math.log1p(divergence / 0.5) for divergence in divergences) / 2
    assert float(logits_loss(student, teacher, knee=0.5)) == pytest.approx(expected, rel=1e-5)
    assert float(logits_loss(teacher, teacher, knee=0.5)) == 0
    with pytest.raises(ValueError, match="knee has to be above 0"):
        TrainingConfig(divergence_knee=0.0)


def test_features_loss_is_relative() -> None:
    wanted = [torch.tensor([[2.0, 2.0]]), torch.tensor([[100.0, 100.0]])]
    own = [torch.tensor([[1.0, 3.0]]), torch.tensor([[50.0, 150.0]])]
    assert float(features_loss(own, wanted)) == pytest.approx(0.25)


def test_learning_rate_warms_up_and_falls() -> None:
    assert learning_rate_factor(0, 0.0, warm_up=10) == pytest.approx(0.1)
    assert learning_rate_factor(9, 0.0, warm_up=10) == pytest.approx(1.0)
    assert learning_rate_factor(50, 0.5, warm_up=10) == pytest.approx(0.505)
    assert learning_rate_factor(100, 1.0, warm_up=10) == pytest.approx(0.01)
    assert learning_rate_factor(200, 1.7, warm_up=10) == pytest.approx(0.01)
    # A short training leaves the warm-up after a twentieth of it, with however few steps.
    assert learning_rate_factor(4, 0.025, warm_up=100) == pytest.approx(0.5, rel=0.01)
    assert learning_rate_factor(9, 0.1, warm_up=100) > 0.97


# Training ---------------------------------------------------------------------------------------------


def test_resuming_gives_exactly_what_an_uninterrupted_training_gives(tmp_path: Path) -> None:
    whole = trainer()
    whole.run()
    checkpoint = tmp_path / "afd.checkpoint.pt"
    first = trainer(replace(QUICK, steps=2))
    first.config = QUICK  # the schedule of the whole training ...
    stop_after(first, 2, checkpoint)  # ... interrupted half-way
    second = trainer()
    second.resume(checkpoint)
    assert second.state.step == 2
    second.run()
    for wanted, got in ((whole.classifier, second.classifier), (whole.ema, second.ema)):
        for key, value in wanted.afd.state_dict().items():
            assert torch.equal(value, got.afd.state_dict()[key]), key


def stop_after(training: Trainer, steps: int, checkpoint: Path) -> None:
    def interrupt(report: TrainingReport) -> None:
        if report.step == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(interrupt, checkpoint, report_every=1)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "afd.checkpoint.pt"
    trainer().save_checkpoint(checkpoint)
    with pytest.raises(WeightsError, match="another batch_size, seed"):
        trainer(replace(QUICK, seed=1, batch_size=3)).resume(checkpoint)
    trainer(replace(QUICK, steps=9)).resume(checkpoint)  # a longer one may go on
    checkpoint.write_bytes(b"garbage")
    with pytest.raises(WeightsError, match="no training checkpoint"):
        trainer().resume(checkpoint)


def test_a_training_may_start_from_anothers_average(tmp_path: Path) -> None:
    first = trainer()
    first.run()
    checkpoint = tmp_path / "afd.checkpoint.pt"
    first.save_checkpoint(checkpoint)
    other = trainer(replace(QUICK, seed=9), small_backbone(seed=2))
    other.start_from(checkpoint)
    assert other.state.step == 0
    (earlier,) = other.earlier
    assert (earlier["steps_done"], earlier["images_seen"], earlier["seed"]) == (QUICK.steps, 8, QUICK.seed)
    other.save_checkpoint(tmp_path / "other.checkpoint.pt")
    third = trainer()
    third.start_from(tmp_path / "other.checkpoint.pt")
    assert [training["seed"] for training in third.earlier] == [QUICK.seed, 9]
    third.save(tmp_path / "afd.safetensors")
    assert read_afd_card(tmp_path / "afd.safetensors").training["earlier"] == third.earlier
    for key, value in first.ema.afd.state_dict().items():
        assert torch.equal(other.classifier.afd.state_dict()[key], value)
    with pytest.raises(WeightsError, match="another seed, backbone"):
        other.resume(checkpoint)
    with pytest.raises(WeightsError, match="does not fit AFDModule"):
        trainer(replace(QUICK, fe_width=2)).start_from(checkpoint)


def test_a_checkpoint_with_the_names_of_before_goes_on(tmp_path: Path) -> None:
    checkpoint = tmp_path / "afd.checkpoint.pt"
    config = replace(QUICK, fixed_crops=1)
    first = trainer(config)
    first.run(checkpoint=checkpoint)
    record = torch.load(checkpoint, weights_only=True)
    state, settings = record["state"], record["settings"]
    state["units"] = state.pop("loss_scales")
    settings["shape"], settings["boxes"] = settings.pop("variant"), settings.pop("fixed_crops")
    torch.save(record, checkpoint)
    again = trainer(config)
    again.resume(checkpoint)
    assert again.state == first.state
    again.start_from(checkpoint)
    assert again.earlier[-1]["boxes"] == 1  # what it recorded of itself stays


def test_a_training_may_start_from_a_weights_file(tmp_path: Path) -> None:
    first = trainer()
    first.run()
    first.save(tmp_path / "afd.safetensors")
    other = trainer(replace(QUICK, seed=9))
    other.start_from(tmp_path / "afd.safetensors")
    (earlier,) = other.earlier
    assert (earlier["steps_done"], earlier["seed"]) == (QUICK.steps, QUICK.seed)
    inputs = random_inputs()
    with torch.no_grad():
        expected = attach(first.backbone.module, load_afd(tmp_path / "afd.safetensors"))(*inputs)
        torch.testing.assert_close(other.ema(*inputs).logits, expected.logits)
    other.run()
    other.save(tmp_path / "other.safetensors")
    training = read_afd_card(tmp_path / "other.safetensors").training
    assert [run["seed"] for run in (*training["earlier"], training)] == [QUICK.seed, 9]


def test_a_training_may_start_without_the_corrections_after_later_stages(tmp_path: Path) -> None:
    first = trainer()
    first.run()
    first.save_checkpoint(tmp_path / "afd.checkpoint.pt")
    known = first.ema.afd.state_dict()
    assert first.config.stage_widths is not None
    smaller = trainer(replace(QUICK, stage_widths=first.config.stage_widths[:2]))
    smaller.start_from(tmp_path / "afd.checkpoint.pt")
    own = smaller.classifier.afd.state_dict()
    assert "stages.1.reduce.weight" in own
    assert all(torch.equal(value, known[key]) for key, value in own.items())
    left_out = set(known) - set(own)
    assert left_out
    assert left_out == {key for key in known if key.startswith(("stages.2.", "stages.3."))}


def test_a_training_may_start_from_a_narrower_module(tmp_path: Path) -> None:
    first = trainer()
    first.run()
    first.save_checkpoint(tmp_path / "afd.checkpoint.pt")
    wider = trainer(replace(QUICK, fe_width=8, stage_widths=(4, 6, 4, 4)))
    wider.start_from(tmp_path / "afd.checkpoint.pt")
    inputs = random_inputs()
    with torch.no_grad():
        expected = first.ema(*inputs).logits
        assert not torch.equal(expected, first.ema(inputs[0]).logits)
        assert torch.allclose(wider.ema(*inputs).logits, expected, atol=1e-5)
    wider.run()
    with torch.no_grad():
        assert not torch.allclose(wider.classifier(*inputs).logits, expected, atol=1e-5)


def test_training_lowers_every_loss_and_leaves_the_backbone_alone() -> None:
    backbone = small_backbone()
    before = {key: value.clone() for key, value in backbone.module.state_dict().items()}
    strong = DegradationRange(lowest=5, highest=10, clean=0, shifted=0, resized=0)
    config = replace(
        QUICK, steps=200, fe_width=16, stage_widths=(16,) * 4, learning_rate=2e-3, degradations=strong
    )
    training = trainer(config, backbone)
    training._measure_scales()
    batch = collate_pairs([training.source.pair(0, index) for index in range(4)])
    first = {name: float(value.detach()) for name, value in training._step(batch).items()}
    for _ in range(60):
        last = {name: float(value.detach()) for name, value in training._step(batch).items()}
    assert last["logits"] < 0.1 * first["logits"]
    assert last["features"] < 0.3 * first["features"]
    assert last["stem"] < first["stem"]
    assert last["drift"] < 0.5 * first["drift"]
    assert all(torch.equal(before[key], value) for key, value in backbone.module.state_dict().items())


def test_the_saved_file_holds_the_average_folded_and_says_how_it_was_made(tmp_path: Path) -> None:
    training = trainer(replace(QUICK, seed=5))
    training.run()
    path = tmp_path / "afd.safetensors"
    training.save(path, licence="CC0")
    card = read_afd_card(path)
    assert (card.model, card.licence) == ("small", "CC0")
    assert card.training["seed"] == 5
    assert card.training["steps_done"] == 4
    assert card.training["degradations"]["lowest"] == 5
    loaded = load_afd(path)
    assert loaded.reparameterized
    assert not training.ema.afd.reparameterized
    inputs = random_inputs()
    with torch.no_grad():
        expected = training.ema(*inputs).logits
        got = attach(training.backbone.module, loaded)(*inputs).logits
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-2)


def test_a_time_budget_ends_the_training_and_drives_the_schedule() -> None:
    training = trainer(replace(QUICK, steps=None, minutes=1e-6))
    training.run()
    assert training.state.step == 1
    assert training.progress >= 1
    with pytest.raises(ValueError, match="steps or of minutes"):
        trainer(replace(QUICK, steps=None))


def test_learning_rates_fall_with_the_fan_in_and_branches_have_their_own() -> None:
    afd = trained_afd(small_resnet(), "deep")
    groups = parameter_groups(afd, weight_decay=0.01, rep_conv_rate=0.25)
    rates = {id(p): group["rate"] for group in groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(list(afd.parameters()))
    assert rates[id(afd.fde.block.weight)] == FULL_RATE_FAN_IN / 384
    assert rates[id(afd.fde.block.bias)] == 1.0
    assert rates[id(afd.fe.decode.weight)] == 1.0
    branches = [p for m in afd.modules() if isinstance(m, RepConv) for p in m.parameters()]
    assert {rates[id(p)] for p in branches} == {0.25}
    decaying = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decaying == {id(p) for p in afd.parameters() if p.ndim > 1}


def test_a_rate_of_zero_leaves_the_branches_of_rep_conv_as_they_were() -> None:
    training = trainer(replace(QUICK, rep_conv_rate=0.0))
    before = copy.deepcopy(training.classifier.afd)
    training.run()
    after = dict(training.classifier.afd.named_parameters())
    for name, parameter in before.named_parameters():
        if ".conv3." in name:
            assert torch.equal(parameter, after[name])
    assert not torch.equal(before.fde.block.weight, after["fde.block.weight"])


def test_reports_and_validation() -> None:
    backbone = small_backbone()
    validation = Validation(PHOTOS[:3], backbone.spec, jobs=1, qualities=(5, 95), batch_size=2)
    training = Trainer(backbone, PHOTOS, QUICK, RUNTIME, validation)
    reports: list[TrainingReport] = []
    training.run(reports.append, report_every=3, report_seconds=math.inf, validate_every=2)
    assert [(report.step, len(report.validation)) for report in reports] == [(2, 2), (3, 0), (4, 2)]
    assert set(reports[0].losses) == {"logits", "features", "stem", "drift", "loss"}
    assert [row.quality for row in reports[0].validation] == [5, 95]
    assert all(0 <= row.corrected <= 100 for row in reports[0].validation)


def test_a_slow_training_reports_by_the_clock_and_may_leave_out_the_last_validation() -> None:
    backbone = small_backbone()
    validation = Validation(PHOTOS[:2], backbone.spec, jobs=1, qualities=(50,))
    training = Trainer(backbone, PHOTOS, QUICK, RUNTIME, validation)
    reports: list[TrainingReport] = []
    training.run(reports.append, report_seconds=0.0, validate_last=False)
    assert [(report.step, len(report.validation)) for report in reports] == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_validation_counts_agreement_with_the_clean_answer() -> None:
    backbone = small_backbone()
    afd = AFDModule.for_backbone(backbone.module, "stem", input_size=CROP)
    validation = Validation(PHOTOS, backbone.spec, 1, qualities=(100,))
    (row,) = validation.measure(attach(backbone.module, afd).eval(), torch.device("cpu"))
    assert row.uncorrected == row.corrected
    assert row.uncorrected >= 80  # at quality 100 next to nothing changes
    assert row.divergence < 0.05
    assert row.stem_change == 0.0


def test_validation_measures_what_the_stem_correction_changes() -> None:
    backbone = small_backbone()
    classifier = attach(backbone.module, trained_afd(backbone.module, "stem"))
    (row,) = Validation(PHOTOS, backbone.spec, 1, qualities=(10,)).measure(classifier, torch.device("cpu"))
    classifier.afd.stem_rms.mul_(2)
    (halved,) = Validation(PHOTOS, backbone.spec, 1, qualities=(10,)).measure(classifier, torch.device("cpu"))
    assert row.stem_change > 0
    assert halved.stem_change == pytest.approx(row.stem_change / 2)
