"""Training: losses, schedule, exact resume, and that it learns."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import load_afd, read_afd_card
from dctafd.nets.attach import attach
from dctafd.nets.rep_conv import RepConv
from dctafd.training.config import TrainingConfig
from dctafd.training.data import (
    collate_pairs,
)
from dctafd.training.degrade import DegradationRange
from dctafd.training.losses import LossWeights, afd_losses, features_loss, logits_loss
from dctafd.training.rates import FULL_RATE_FAN_IN, learning_rate_factor, parameter_groups
from dctafd.training.trainer import Trainer, TrainingReport
from dctafd.training.validation import Validation
from tests.support.small_nets import (
    CROP,
    random_inputs,
    small_backbone,
    small_resnet,
    trained_afd,
)
from tests.support.small_training import PHOTOS, QUICK, RUNTIME, trainer

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


def test_a_training_may_start_from_a_module_with_a_narrower_fde_net_of_the_same_widths(
    tmp_path: Path,
) -> None:
    config = replace(QUICK, fde_width=7, fdm_channels=3)
    first = trainer(config)
    first.run()
    first.save(tmp_path / "afd.safetensors")
    made = read_afd_card(tmp_path / "afd.safetensors").config
    assert (made.fde_width, made.fdm_channels) == (7, 3)
    other = trainer(config)
    other.start_from(tmp_path / "afd.safetensors")
    with pytest.raises(WeightsError, match="does not fit AFDModule"):
        trainer().start_from(tmp_path / "afd.safetensors")


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
