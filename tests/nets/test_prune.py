from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import attach
from dctafd.nets.least_squares import keep_best
from dctafd.nets.prune import PrunedWidths, collect_moments, prune
from tests.support.small_nets import FDM_CHANNELS, random_inputs, small_resnet, trained_afd


def with_copies(afd: AFDModule) -> AFDModule:
    """A module with each inner channel of the stages' corrections twice, which together do what one did."""
    double = replace(afd.config, stage_widths=tuple(2 * width for width in afd.config.stage_widths))
    wide = AFDModule(double).eval().reparameterize()
    state = afd.state_dict()
    for stage, width in enumerate(afd.config.stage_widths):
        prefix = f"stages.{stage}."
        kernel = state[f"{prefix}conv.deployed.weight"]
        own, guides = kernel[:, :width], kernel[:, width:]
        halves = torch.cat([0.5 * own, 0.5 * own, guides], 1)
        state[f"{prefix}conv.deployed.weight"] = halves.repeat(2, 1, 1, 1)
        state[f"{prefix}conv.deployed.bias"] = state[f"{prefix}conv.deployed.bias"].repeat(2)
        for name in ("reduce.weight", "reduce.bias"):
            value = state[prefix + name]
            state[prefix + name] = value.repeat(2, *[1] * (value.ndim - 1))
        state[f"{prefix}expand.weight"] = 0.5 * state[f"{prefix}expand.weight"].repeat(1, 2, 1, 1)
    wide.load_state_dict(state)
    return wide


def test_copies_of_channels_go_and_the_module_does_what_it_did() -> None:
    backbone = small_resnet()
    afd = trained_afd(backbone, "deep").reparameterize()
    classifier = attach(backbone, with_copies(afd))
    moments = collect_moments(classifier, [random_inputs(seed=seed) for seed in range(12)])
    pruned, lost = prune(classifier.afd, moments, PrunedWidths((4, 8, 4)))
    assert pruned.config.stage_widths == (4, 8, 4)
    assert lost["stage 2"] == lost["FDM"] == lost["FDE-Net"] == 0
    assert max(lost.values()) < 1e-4
    inputs = random_inputs(seed=99)
    with torch.no_grad():
        expected = attach(backbone, afd)(*inputs).logits
        assert torch.allclose(attach(backbone, pruned)(*inputs).logits, expected, atol=1e-3)
        assert not torch.allclose(backbone(inputs[0]), expected, atol=2e-2)


def test_moments_are_those_of_what_the_layers_read() -> None:
    backbone = small_resnet()
    classifier = attach(backbone, trained_afd(backbone, "deep").reparameterize())
    seen: dict[str, Tensor] = {}
    stage = classifier.afd.stages[1]
    for name in ("conv", "expand"):
        layer = stage.get_submodule(name)
        layer.register_forward_pre_hook(lambda _, read, name=name: seen.update({name: read[0].detach()}))
    moments = collect_moments(classifier, [random_inputs()])

    padded = np.pad(seen["conv"].numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))  # (B, I, H + 2, W + 2)
    cells = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))  # (B, I, H, W, 3, 3)
    patches = cells.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 9 * padded.shape[1])
    patches = np.column_stack([patches, np.ones(len(patches))])
    np.testing.assert_allclose(moments["stages.1.conv"], patches.T @ patches, rtol=1e-4, atol=1e-4)
    inner = np.moveaxis(seen["expand"].numpy(), 1, -1).reshape(-1, seen["expand"].shape[1])
    np.testing.assert_allclose(moments["stages.1.expand"], inner.T @ inner, rtol=1e-4, atol=1e-4)


def test_the_cheapest_channel_goes_and_the_others_are_fitted_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 9)) @ rng.normal(size=(9, 9))
    weights = rng.normal(size=(9, 4))
    channels = [[0, 1], [2, 3], [4, 5], [6, 7]]  # input 8 always stays

    def residual(kept: list[int]) -> tuple[float, np.ndarray]:
        inputs = [number for channel in kept for number in channels[channel]] + [8]
        fitted = np.linalg.lstsq(rows[:, inputs], rows @ weights, rcond=None)[0]
        return float(np.square(rows @ weights - rows[:, inputs] @ fitted).sum()), fitted

    fit = keep_best(torch.tensor(rows.T @ rows), torch.tensor(weights), channels=4, size=2, width=3)
    losses = {out: residual([channel for channel in range(4) if channel != out])[0] for out in range(4)}
    [left_out] = set(range(4)) - set(fit.kept)
    assert left_out == min(losses, key=losses.__getitem__)
    error, fitted = residual(fit.kept)
    np.testing.assert_allclose(fit.weights, fitted, rtol=1e-3, atol=1e-3)
    assert fit.lost == pytest.approx(error / np.square(rows @ weights).sum(), rel=1e-2)


def pruned_resnet(widths: PrunedWidths) -> tuple[nn.Module, AFDModule, AFDModule]:
    """A backbone, a module for it and what is left of that."""
    backbone = small_resnet()
    classifier = attach(backbone, trained_afd(backbone, "deep").reparameterize())
    moments = collect_moments(classifier, [random_inputs()])
    return backbone, classifier.afd, prune(classifier.afd, moments, widths)[0]


@pytest.mark.parametrize("widths", [PrunedWidths(), PrunedWidths((4, 4, 4), 6, FDM_CHANNELS)])
def test_pruned_to_the_widths_that_it_has_a_module_stays_as_it_is(widths: PrunedWidths) -> None:
    _, afd, pruned = pruned_resnet(widths)
    assert pruned.config == afd.config
    own, others = pruned.state_dict(), afd.state_dict()
    assert own.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in own.items())


def test_corrections_after_the_last_stages_can_be_left_out() -> None:
    backbone, afd, pruned = pruned_resnet(PrunedWidths((4,)))
    assert pruned.config.stage_widths == (4,)
    afd.stages = afd.stages[:1]
    inputs = random_inputs(seed=99)
    with torch.no_grad():
        expected = attach(backbone, afd)(*inputs).logits
        torch.testing.assert_close(attach(backbone, pruned)(*inputs).logits, expected)


@pytest.mark.parametrize(
    "widths",
    [
        PrunedWidths((4, 4, 5)),
        PrunedWidths((4, 4, 4, 4)),
        PrunedWidths((0, 4, 4)),
        PrunedWidths(fde_width=7),
        PrunedWidths(fde_width=0),
        PrunedWidths(fdm_channels=FDM_CHANNELS + 1),
        PrunedWidths(fdm_channels=0),
    ],
)
def test_widths_that_do_not_prune_are_refused(widths: PrunedWidths) -> None:
    with pytest.raises(WeightsError, match="do not prune"):
        pruned_resnet(widths)


def test_branches_are_refused() -> None:
    backbone = small_resnet()
    afd = trained_afd(backbone, "deep")
    with pytest.raises(WeightsError, match="re-parameterised"):
        prune(afd, {}, PrunedWidths((2, 2, 2)))
    with pytest.raises(WeightsError, match="re-parameterised"):
        collect_moments(attach(backbone, afd), [random_inputs()])
