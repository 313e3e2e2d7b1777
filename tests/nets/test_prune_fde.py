from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dctafd.nets.afd import AFDModule, Variant
from dctafd.nets.attach import attach
from dctafd.nets.prune import PrunedWidths, collect_moments, prune
from tests.support.small_nets import FDM_CHANNELS, random_inputs, small_resnet, trained_afd

MIXED = 3  # FDM channels that `with_more_fdm_channels` adds


def with_copies(afd: AFDModule) -> AFDModule:
    """A module with each hidden channel of FDE-Net twice, which together do what one did."""
    state = afd.state_dict()
    for name in ("block.weight", "block.bias", "context.weight", "context.bias", "neighbours.deployed.bias"):
        state[f"fde.{name}"] = torch.cat([state[f"fde.{name}"]] * 2)
    kernel = state["fde.neighbours.deployed.weight"]
    state["fde.neighbours.deployed.weight"] = 0.5 * kernel.repeat(2, 2, 1, 1)
    state["fde.head.weight"] = 0.5 * state["fde.head.weight"].repeat(1, 2, 1, 1)
    return loaded(afd, state, fde_width=2 * afd.config.fde_width)


def with_more_fdm_channels(afd: AFDModule) -> AFDModule:
    """A module whose FDM has `MIXED` more channels, combinations of its others, all of which are read."""
    mix = torch.randn(MIXED, FDM_CHANNELS - 1, generator=torch.Generator().manual_seed(4))
    state = afd.state_dict()
    for name in ("fde.head.weight", "fde.head.bias"):
        state[name] = torch.cat([state[name], torch.tensordot(mix, state[name][1:], 1)])
    for name in readers(afd):
        kernel = state[name]
        state[name] = torch.cat([kernel, 0.2 * torch.ones_like(kernel[:, :MIXED])], 1)
    return loaded(afd, state, fdm_channels=FDM_CHANNELS + MIXED)


def readers(afd: AFDModule) -> list[str]:
    names = [f"stages.{stage}.conv.deployed.weight" for stage in range(len(afd.stages))]
    return [*names, "fe.below_in.deployed.weight"]


def loaded(afd: AFDModule, state: dict[str, Tensor], **widths: int) -> AFDModule:
    module = AFDModule(replace(afd.config, **widths)).eval().reparameterize()  # type: ignore[arg-type]
    module.load_state_dict(state)
    return module


def pruned_from(
    backbone: nn.Module, afd: AFDModule, widths: PrunedWidths
) -> tuple[AFDModule, dict[str, float]]:
    classifier = attach(backbone, afd)
    return prune(afd, collect_moments(classifier, [random_inputs(seed=seed) for seed in range(12)]), widths)


def assert_same(backbone: nn.Module, afd: AFDModule, other: AFDModule, tolerance: float) -> None:
    """Two modules change the logits of photos that they were not fitted to alike, but for a small share."""
    inputs = random_inputs(batch=6, seed=99)
    with torch.no_grad():
        one, two = (attach(backbone, module)(*inputs).logits for module in (afd, other))
        change = one - backbone(inputs[0])
    assert float((two - one).norm() / change.norm()) < tolerance


@pytest.mark.parametrize("variant", ["deep", "stem"])
def test_copies_of_hidden_channels_go_and_the_module_does_what_it_did(variant: Variant) -> None:
    backbone = small_resnet()
    afd = trained_afd(backbone, variant).reparameterize()
    twice = with_copies(afd)
    assert_same(backbone, afd, twice, 1e-4)
    pruned, lost = pruned_from(backbone, twice, PrunedWidths(fde_width=afd.config.fde_width))
    assert pruned.config == afd.config
    assert lost["FDE-Net"] < 1e-4
    assert_same(backbone, afd, pruned, 1e-3)


@pytest.mark.parametrize("variant", ["deep", "stem"])
def test_what_other_channels_of_the_fdm_tell_goes_and_the_module_does_what_it_did(variant: Variant) -> None:
    backbone = small_resnet()
    more = with_more_fdm_channels(trained_afd(backbone, variant).reparameterize())
    pruned, lost = pruned_from(backbone, more, PrunedWidths(fdm_channels=FDM_CHANNELS))
    assert pruned.config == replace(more.config, fdm_channels=FDM_CHANNELS)
    assert lost["FDM"] == pytest.approx(0, abs=1e-9)
    assert_same(backbone, more, pruned, 1e-3)


def test_channels_of_the_fdm_that_nothing_reads_go_first() -> None:
    backbone = small_resnet()
    afd = trained_afd(backbone, "deep").reparameterize()
    state = afd.state_dict()
    for name in readers(afd):
        state[name][:, [-1, -3]] = 0
    afd.load_state_dict(state)
    pruned, lost = pruned_from(backbone, afd, PrunedWidths(fdm_channels=FDM_CHANNELS - 2))
    assert lost["FDM"] == pytest.approx(0, abs=1e-9)
    assert_same(backbone, afd, pruned, 1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_drift_stays_as_it_is_with_fewer_other_channels(channels: int) -> None:
    backbone = small_resnet()
    afd = trained_afd(backbone, "deep").reparameterize()
    pruned, lost = pruned_from(backbone, afd, PrunedWidths(fdm_channels=channels))
    assert 0 < lost["FDM"] <= 1
    inputs = random_inputs(seed=99)[1:]
    with torch.no_grad():
        fdm, before = pruned.guide(*inputs).fdm, afd.guide(*inputs).fdm
    assert fdm.shape[1] == channels
    torch.testing.assert_close(fdm[:, 0], before[:, 0])


def test_all_of_it_at_once_gives_a_module_of_these_widths() -> None:
    backbone = small_resnet()
    afd = trained_afd(backbone, "deep").reparameterize()
    pruned, lost = pruned_from(backbone, afd, PrunedWidths((3, 2), fde_width=4, fdm_channels=2))
    config = pruned.config
    assert (config.stage_widths, config.fde_width, config.fdm_channels) == ((3, 2), 4, 2)
    assert list(lost) == ["stage 1", "stage 2", "FDM", "FDE-Net"]
    assert all(0 < share < 1 for share in lost.values())
    assert_same(backbone, afd, pruned, 1.0)
