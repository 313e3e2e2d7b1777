from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule
from dctafd.nets.attach import attach
from dctafd.nets.prune import _keep_best, collect_moments, prune_stages
from tests.support.small_nets import random_inputs, small_resnet, trained_afd


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
    pruned, lost = prune_stages(classifier.afd, moments, (4, 8, 4))
    assert pruned.config.stage_widths == (4, 8, 4)
    assert lost[1] == 0
    assert max(lost) < 1e-4
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
    [_, moments, _] = collect_moments(classifier, [random_inputs()])

    padded = np.pad(seen["conv"].numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))  # (B, I, H + 2, W + 2)
    cells = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))  # (B, I, H, W, 3, 3)
    patches = cells.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 9 * padded.shape[1])
    patches = np.column_stack([patches, np.ones(len(patches))])
    np.testing.assert_allclose(moments.patches, patches.T @ patches, rtol=1e-4, atol=1e-4)
    inner = np.moveaxis(seen["expand"].numpy(), 1, -1).reshape(-1, seen["expand"].shape[1])
    np.testing.assert_allclose(moments.inner, inner.T @ inner, rtol=1e-4, atol=1e-4)


def test_the_cheapest_channel_goes_and_the_others_are_fitted_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 9)) @ rng.normal(size=(9, 9))
    weights = rng.normal(size=(9, 4))
    channels = [[0, 1], [2, 3], [4, 5], [6, 7]]  # input 8 always stays

    def residual(kept: list[int]) -> tuple[float, np.ndarray]:
        inputs = [number for channel in kept for number in channels[channel]] + [8]
        fitted = np.linalg.lstsq(rows[:, inputs], rows @ weights, rcond=None)[0]
        return float(np.square(rows @ weights - rows[:, inputs] @ fitted).sum()), fitted

    fit = _keep_best(torch.tensor(rows.T @ rows), torch.tensor(weights), channels, 3, [8])
    losses = {out: residual([channel for channel in range(4) if channel != out])[0] for out in range(4)}
    [left_out] = set(range(4)) - set(fit.kept)
    assert left_out == min(losses, key=losses.__getitem__)
    error, fitted = residual(fit.kept)
    np.testing.assert_allclose(fit.weights, fitted, rtol=1e-3, atol=1e-3)
    assert fit.lost == pytest.approx(error / np.square(rows @ weights).sum(), rel=1e-2)


@pytest.mark.parametrize("widths", [(4, 4), (4, 4, 5), (0, 4, 4)])
def test_widths_that_do_not_prune_are_refused(widths: tuple[int, ...]) -> None:
    backbone = small_resnet()
    classifier = attach(backbone, trained_afd(backbone, "deep").reparameterize())
    moments = collect_moments(classifier, [random_inputs()])
    with pytest.raises(WeightsError, match="do not prune"):
        prune_stages(classifier.afd, moments, widths)


def test_branches_are_refused() -> None:
    with pytest.raises(WeightsError, match="re-parameterised"):
        prune_stages(trained_afd(small_resnet(), "deep"), [], (2, 2, 2))
