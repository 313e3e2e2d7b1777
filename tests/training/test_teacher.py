"""What is learnt: the frozen network's answers, those of others, and each but once for fixed crops."""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dctafd.errors import WeightsError
from dctafd.nets.afd_weights import read_afd_card
from dctafd.nets.attach import attach
from dctafd.nets.model_specs import ModelSpec
from dctafd.nets.registry import Backbone
from dctafd.training.config import TrainingConfig
from dctafd.training.data import (
    PairSource,
    collate_pairs,
    make_pair,
)
from dctafd.training.degrade import Degradation, DegradationRange
from dctafd.training.teacher import OtherTeacher, Teacher
from tests.support.small_nets import (
    CROP,
    random_inputs,
    small_backbone,
    trained_afd,
)
from tests.support.small_training import PHOTOS, QUICK, RUNTIME, SPEC, photo, trainer


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
