"""The AFD-Module and its attachment to a frozen classifier."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dctafd.analysis.export import Logits
from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDConfig, AFDModule, Variant
from dctafd.nets.afd_weights import load_afd
from dctafd.nets.attach import attach
from dctafd.nets.fe_net import FENet, LearntSlope, NoCorrection, StageCorrection, resize_to
from dctafd.nets.registry import WEIGHTS_DIRECTORY
from tests.support.small_nets import CLASSES, FDM_CHANNELS, random_inputs, small_resnet, trained_afd

VARIANTS: tuple[Variant, ...] = ("stem", "deep")
SHIPPED = sorted(WEIGHTS_DIRECTORY.glob("*_afd.safetensors"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_new_module_is_the_identity(variant: Variant) -> None:
    net = small_resnet()
    classifier = attach(net, AFDModule.for_backbone(net, variant, input_size=32)).eval()
    inputs = random_inputs()
    with torch.no_grad():
        assert torch.equal(classifier(*inputs).logits, net(inputs[0]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trained_module_changes_the_answer_but_not_that_to_pixels_alone(variant: Variant) -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, variant))
    inputs = random_inputs()
    with torch.no_grad():
        expected = net(inputs[0])
        assert not torch.allclose(classifier(*inputs).logits, expected, atol=1e-3)
        assert torch.equal(classifier(inputs[0]).logits, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_reparameterize_keeps_the_answer(variant: Variant) -> None:
    net = small_resnet()
    afd = trained_afd(net, variant)
    classifier = attach(net, afd)
    inputs = random_inputs()
    with torch.no_grad():
        before = classifier(*inputs).logits
        assert not afd.reparameterized
        afd.reparameterize().reparameterize()
        assert afd.reparameterized
        torch.testing.assert_close(classifier(*inputs).logits, before, rtol=1e-4, atol=1e-4)


def test_a_folded_module_has_the_slopes_that_are_loaded_into_it() -> None:
    folded = AFDModule.for_backbone(small_resnet(), input_size=32).eval().reparameterize()
    state = {name: value.clone() for name, value in folded.state_dict().items()}
    slopes = [name for name in state if name.endswith("activate.weight")]
    for number, name in enumerate(slopes):
        state[name].fill_(0.2 + number / 16)
    folded.load_state_dict(state)
    found = [module.slope for module in folded.modules() if isinstance(module, LearntSlope)]
    assert len(slopes) > 2
    assert found == pytest.approx([0.2 + number / 16 for number in range(len(slopes))])


def test_the_backbone_is_left_as_it_was() -> None:
    net = small_resnet().train()
    before = copy.deepcopy(net.state_dict())
    classifier = attach(net, trained_afd(net, "deep")).train()
    classifier(*random_inputs()).logits.sum().backward()
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any(module.training for module in classifier.backbone.modules())
    assert all(p.grad is not None for p in classifier.afd.parameters())


def test_features_are_recorded_before_and_after_the_correction() -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep"))
    inputs = random_inputs()
    with torch.no_grad():
        alone, corrected = classifier(inputs[0], record=True), classifier(*inputs, record=True)
        plain = classifier(*inputs)
    assert alone.fdm is None
    assert plain.features is None
    assert alone.features is not None
    assert corrected.features is not None
    before, after = alone.features, corrected.features
    assert len(before.layers) == len(after.layers) == 1 + len(classifier.afd.stages)
    assert torch.equal(before.layers[0], before.stem_before)
    assert torch.equal(after.stem_before, before.stem_before)
    assert not torch.equal(after.layers[0], after.stem_before)
    torch.testing.assert_close(corrected.logits, plain.logits)  # of which the second may work in place
    assert corrected.fdm is not None
    assert plain.fdm is not None
    assert torch.equal(corrected.fdm, plain.fdm)
    assert plain.logits.shape == (2, CLASSES)
    assert plain.fdm.shape == (2, FDM_CHANNELS, 4, 4)
    assert (plain.fdm[:, 0] >= 0).all()


def test_without_a_module_the_contract_is_the_same() -> None:
    net, inputs = small_resnet(), random_inputs()
    classifier = attach(net)
    assert not classifier.corrects
    with torch.no_grad():
        output = classifier(*inputs, record=True)
        assert torch.equal(output.logits, net(inputs[0]))
    assert (output.fdm, output.features) == (None, None)
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_what_the_file_tells_is_given_whole_or_not_at_all() -> None:
    net, inputs = small_resnet(), random_inputs()
    classifier = attach(net, trained_afd(net, "stem"))
    with pytest.raises(TypeError, match="pixels alone or all tensors"):
        classifier(*inputs[:5])
    names = ("pixels", "coefficients", "steps", "survival", "scale", "primary_quality")
    with torch.no_grad():
        by_name = classifier(**dict(zip(names, inputs, strict=True)))
        assert torch.equal(by_name.logits, classifier(*inputs).logits)


def test_nothing_is_corrected_where_nothing_drifted() -> None:
    stem, fdm = torch.rand(1, 8, 16, 16), torch.rand(1, 4, 4, 4)
    fdm[:, 0, :, 2:] = 0  # the right half
    fe = FENet(8, 4, width=4)
    nn.init.normal_(fe.decode.weight)
    corrected = fe(stem, fdm)
    assert not torch.equal(corrected[..., :4], stem[..., :4])
    untouched = 12  # the gate is resized bilinearly, so it fades in over a block
    torch.testing.assert_close(corrected[..., untouched:], stem[..., untouched:], rtol=0, atol=1e-6)
    correction = StageCorrection(8, 4, width=4)
    nn.init.normal_(correction.expand.weight)
    features = torch.rand(1, 8, 4, 4)
    corrected = correction(features, fdm)
    assert torch.equal(corrected[..., 2:], features[..., 2:])
    assert not torch.equal(corrected[..., :2], features[..., :2])


@torch.no_grad()
def check_in_place(
    correction: FENet | StageCorrection, features: torch.Tensor, fdm: torch.Tensor, in_place: bool
) -> None:
    """`correct_` does what `forward` does, in the features' memory or, where it cannot, beside it."""
    expected, kept = correction(features, fdm), features.clone()
    corrected = correction.correct_(features, fdm)
    torch.testing.assert_close(corrected, expected, rtol=1e-5, atol=1e-5)
    assert not torch.equal(corrected, kept)
    if in_place:
        assert corrected is features
    else:
        assert torch.equal(features, kept)


@pytest.mark.parametrize("non_negative", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_correction_in_place_is_the_same(layout: torch.memory_format, non_negative: bool) -> None:
    torch.manual_seed(0)
    correction = StageCorrection(8, 4, width=5, non_negative=non_negative).to(memory_format=layout)
    nn.init.normal_(correction.expand.weight)
    features = torch.randn(2, 8, 6, 7).contiguous(memory_format=layout)
    fdm = torch.rand(2, 4, 3, 3)
    check_in_place(correction, features, fdm, in_place=layout is torch.channels_last)


@pytest.mark.parametrize("non_negative", [True, False])
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [(12, 20), (13, 20)])
def test_a_stem_correction_in_place_is_the_same(
    size: tuple[int, int], layout: torch.memory_format, patch: int, non_negative: bool
) -> None:
    torch.manual_seed(0)
    fe = FENet(8, 4, width=5, patch=patch, non_negative=non_negative).to(memory_format=layout)
    nn.init.normal_(fe.decode.weight)
    stem = torch.randn(2, 8, *size).contiguous(memory_format=layout)
    fdm = torch.rand(2, 4, 3, 5)
    check_in_place(fe, stem, fdm, in_place=layout is torch.channels_last and size[0] % patch == 0)


class _WithSkip(nn.Module):
    """A network whose stem and second stage hand on their inputs, which another path needs as they are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.relu = nn.Identity()
        self.down = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.stage = nn.Identity()
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.conv(x)
        x = self.down(self.relu(stem))
        return self.fc(torch.cat([each.mean((2, 3)) for each in (self.stage(x), x, stem)], 1))


@pytest.mark.parametrize("net", [small_resnet(), _WithSkip().eval()], ids=["resnet", "with skip"])
def test_the_answer_without_gradients_is_that_with(net: nn.Module) -> None:
    classifier = attach(net, trained_afd(net, "deep", "relu")).to(memory_format=torch.channels_last)
    pixels, *others = random_inputs()
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    expected = classifier(pixels, *others).logits.detach()
    assert not torch.allclose(expected, classifier(pixels).logits, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(classifier(pixels, *others).logits, expected, rtol=1e-5, atol=1e-5)


def test_a_stem_without_relu_keeps_its_negative_values() -> None:
    stem, fdm = torch.randn(1, 3, 8, 8), torch.rand(1, 4, 4, 4)
    assert torch.equal(FENet(3, 4, width=4, non_negative=False)(stem, fdm), stem)
    assert torch.equal(FENet(3, 4, width=4, non_negative=True)(stem, fdm), stem.clamp(min=0))


def test_a_layer_below_zero_everywhere_can_come_back() -> None:
    fe, correction = FENet(8, 4, width=4), StageCorrection(8, 4, width=4)
    features, fdm = torch.rand(1, 8, 16, 16), torch.rand(1, 4, 4, 4)
    for net, last, layer in ((fe, fe.decode, fe.merge), (correction, correction.expand, correction.conv)):
        nn.init.normal_(last.weight)
        nn.init.constant_(layer.bias, -100.0)
        net(features, fdm).sum().backward()
        assert layer.bias.grad is not None
        assert layer.bias.grad.abs().min() > 0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_stem_correction_of_a_shipped_module_is_alive(path: Path) -> None:
    afd = load_afd(path)
    if isinstance(afd.fe, NoCorrection):
        pytest.skip("it does not correct the stem")
    generator = torch.Generator().manual_seed(0)
    stem = torch.rand(1, afd.config.layers.stem.channels, 56, 56, generator=generator)
    fdm = torch.rand(1, afd.config.fdm_channels, 14, 14, generator=generator)
    with torch.no_grad():
        change = (afd.fe(stem, fdm) - stem).abs().mean() / stem.mean()
    assert change > 1e-3


@pytest.mark.parametrize("size", [(15, 15), (17, 14)])
def test_stems_of_odd_size(size: tuple[int, int]) -> None:
    fe = FENet(3, 4, width=4)
    nn.init.normal_(fe.decode.weight)
    assert fe(torch.rand(1, 3, *size), torch.rand(1, 4, 4, 4)).shape == (1, 3, *size)


def test_resize_to_averages_whole_blocks() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resize_to(x, torch.empty(1, 9, 2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert resize_to(x, x) is x
    assert resize_to(x, torch.empty(1, 1, 7, 7)).shape == (1, 1, 7, 7)


def test_measured_drift_is_the_rms_difference_of_each_block_in_units_of_the_stem() -> None:
    afd = trained_afd(small_resnet(), "stem")
    afd.stem_rms.fill_(2.0)
    clean = torch.zeros(1, 8, 16, 16)
    stem = clean.clone()
    stem[:, :, :4, 4:8] = 6.0  # block (0, 1) of a 4 x 4 grid
    drift = afd.measured_drift(stem, clean, 4)
    expected = torch.zeros(1, 4, 4)
    expected[0, 0, 1] = 3.0
    torch.testing.assert_close(drift, expected)


def test_fdm_depends_on_every_input() -> None:
    net = small_resnet()
    afd = trained_afd(net, "stem")
    inputs = list(random_inputs()[1:])
    with torch.no_grad():
        reference = afd.guide(*inputs).fdm
        for index in range(5):
            changed = [*inputs]
            changed[index] = inputs[index] * 2 + 1
            assert not torch.allclose(afd.guide(*changed).fdm, reference)


@torch.no_grad()
def test_a_module_may_leave_the_stem_as_it_is() -> None:
    net = small_resnet()
    config = replace(trained_afd(net, "deep").config, fe_width=0)
    classifier = attach(net, AFDModule(config).eval())
    for stage in classifier.afd.stages:
        nn.init.normal_(stage.expand.weight)  # type: ignore[arg-type]
    inputs = random_inputs()
    output = classifier(*inputs, record=True)
    assert output.features is not None
    assert torch.equal(output.features.layers[0], output.features.stem_before)
    torch.testing.assert_close(classifier(*inputs).logits, output.logits)
    assert not torch.allclose(output.logits, net(inputs[0]), atol=1e-3)


@torch.no_grad()
def test_without_drift_a_trained_module_changes_nothing() -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep"))
    pixels, coefficients, steps, survival, *others = random_inputs()
    output = classifier(pixels, coefficients, steps, torch.zeros_like(survival), *others)
    assert torch.equal(output.logits, net(pixels))


@torch.no_grad()
def test_quiet_photos_are_left_exactly_as_they_are() -> None:
    net = small_resnet()
    afd = trained_afd(net, "deep")
    inputs = random_inputs()
    full = attach(net, afd)(*inputs).logits
    drift = afd.guide(*inputs[1:]).fdm[:, 0].mean((1, 2))  # (2,)
    answers = []
    for quiet_drift in (float(drift.max()), float(drift.min()) / 1.25, float(drift.min()) / 1.51):
        afd.config = replace(afd.config, quiet_drift=quiet_drift)
        output = attach(net, afd)(*inputs)
        assert output.fdm is not None
        assert torch.equal(output.fdm, afd.guide(*inputs[1:]).fdm)
        torch.testing.assert_close(output.fdm[:, 0].mean((1, 2)), drift)  # what is reported does not change
        answers.append(output.logits)
    assert torch.equal(answers[0], net(inputs[0]))
    assert torch.equal(answers[2], full)
    quietest = int(drift.argmin())
    before, between, after = answers[0][quietest], answers[1][quietest], answers[2][quietest]
    assert not torch.allclose(between, before, atol=1e-4)
    assert not torch.allclose(between, after, atol=1e-4)


@torch.no_grad()
def test_modulation_multiplies_and_shifts_after_batch_norms() -> None:
    net = small_resnet()
    afd = trained_afd(net, "deep")
    inputs = random_inputs()
    for stage in afd.stages:
        nn.init.zeros_(stage.expand.weight)  # type: ignore[arg-type]
    nn.init.zeros_(afd.fe.decode.weight)  # type: ignore[arg-type]
    affines = afd.guide(*inputs[1:]).affines
    names = [norm.name for norm in afd.config.layers.norms]
    assert names == [f"layer{stage}.0.bn2" for stage in (1, 2, 3)]  # layer4 gives no map at this size
    expected = copy.deepcopy(net)
    for norm, affine in zip(afd.config.layers.norms, affines, strict=True):
        assert affine.gain.shape == (2, norm.channels, 1, 1)
        layer = expected.get_submodule(norm.name)
        layer.register_forward_hook(lambda _m, _i, y, affine=affine: y * affine.gain + affine.shift)
    torch.testing.assert_close(attach(net, afd)(*inputs).logits, expected(inputs[0]))


def test_config_survives_json() -> None:
    config = trained_afd(small_resnet(), "deep").config
    record = config.to_json()
    assert AFDConfig.from_json(record) == config
    renamed = {("variant" if key == "shape" else key): value for key, value in record.items()}
    assert record["shape"] == "deep"  # as files have called it
    assert AFDConfig.from_json(renamed) == config


def test_a_module_for_another_network_is_refused() -> None:
    wide = small_resnet()
    afd = trained_afd(wide, "stem")
    with pytest.raises(WeightsError, match="no layer 'relu'"):
        attach(nn.Sequential(nn.Conv2d(3, 8, 1)), afd)
    other: Any = small_resnet()
    other.conv1, other.bn1 = nn.Conv2d(3, 4, 7, 2, 3), nn.Identity()
    with pytest.raises(WeightsError, match="stem of 8 channels, this one has 4"):
        attach(other, afd)(*random_inputs())


@pytest.mark.parametrize("crop", [32, 40])
def test_any_multiple_of_8_is_a_valid_input_size(crop: int) -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep"))
    with torch.no_grad():
        assert classifier(*random_inputs(crop=crop)).logits.shape == (2, CLASSES)


@pytest.mark.parametrize("crop", [32, 40])  # of which the second has maps of odd size
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_inference_overwrites_its_own_maps_alone(crop: int, layout: torch.memory_format) -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep").reparameterize())
    classifier = classifier.to(memory_format=layout)
    inputs = random_inputs(crop=crop)
    copies = [part.clone() for part in inputs]
    with torch.enable_grad():  # under which no map is overwritten
        expected = classifier(*inputs)
    with torch.inference_mode():
        inferred = classifier(*inputs)
        torch.testing.assert_close(inferred.logits, expected.logits.detach(), rtol=1e-5, atol=1e-5)
        assert inferred.fdm is not None
        assert expected.fdm is not None
        assert torch.equal(inferred.fdm, expected.fdm)
    assert all(torch.equal(part, copy) for part, copy in zip(inputs, copies, strict=True))


def test_torch_export_gives_the_same_answer() -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep").reparameterize())
    inputs = random_inputs()
    program = torch.export.export(Logits(classifier), inputs)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs), classifier(*inputs).logits)


def test_copies_do_not_share_hooks() -> None:
    net = small_resnet()
    classifier = attach(net, trained_afd(net, "deep"))
    inputs = random_inputs()
    twin = copy.deepcopy(classifier)
    with torch.no_grad():
        before = classifier(*inputs).logits
        for parameter in twin.afd.parameters():
            parameter.zero_()
        assert torch.equal(classifier(*inputs).logits, before)
        assert not torch.equal(twin(*inputs).logits, before)
