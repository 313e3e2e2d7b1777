"""Begin a module with the weights of a narrower or folded one, so that it does at first what that one does.

The idea is Net2Net's (Chen, Goodfellow and Shlens, ICLR 2016). Here the new channels are not copies of old
ones: they have fresh incoming weights, and outgoing weights of zero wherever an old channel reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.afd_weights import load_afd_state, read_afd_card
from dctafd.nets.fe_net import FENet, StageCorrection
from dctafd.nets.layers import FeatureLayer
from dctafd.nets.rep_conv import RepConv

_LAST_WEIGHT, _LAST_BIAS = "modulation.last.weight", "modulation.last.bias"
_FOLDED, _FOLDED_BIAS = "deployed.weight", "deployed.bias"


def load_narrower(afd: AFDModule, state: Mapping[str, Tensor], path: Path) -> None:
    """Load another module's state dict into a new module, which may be wider or have other stages.

    Corrections after stages that `afd` does not correct are left out; those that the other one lacks stay
    new, which is the identity. So it is with the modulation of batch norms, by their names.

    Args:
        afd: a new module, with RepConv's branches where the widths differ; changed in place.
        state: of a module for the same layers, with RepConv's branches or re-parameterised.
        path: where `state` comes from, for messages.

    Raises:
        WeightsError: the other module is wider, or differs in more than widths and stages.
    """
    state = _without_later_stages(state, len(afd.stages))
    if afd.modulation is None:  # as in variant "stem", which begins with the rest of a deep module
        state = _without(state, "modulation.")
    state = _with_own_norms(state, afd.config.layers.norms, path)
    if not afd.reparameterized:
        state = _unfolded(state)
    own = replace(afd.config, stage_widths=afd.config.stage_widths[: len(afd.stages)])
    config = _config_of(state, own)
    if config == own:
        load_afd_state(afd, state, path)
        return
    if _wider(config, own) or afd.reparameterized:
        raise WeightsError(f"{path} does not fit AFDModule: only a narrower module can be widened")
    other = AFDModule(config)
    load_afd_state(other, state, path)
    widen(afd, other)


@torch.no_grad()
def widen(afd: AFDModule, narrow: AFDModule) -> None:
    """Give a new module, in place, what a narrower one for the same layers has learnt.

    Args:
        afd: the new module.
        narrow: as wide at most, with corrections after no more stages.
    """
    afd.stem_rms.copy_(narrow.stem_rms)
    afd.fde.load_state_dict(narrow.fde.state_dict())
    if afd.modulation is not None and narrow.modulation is not None:
        afd.modulation.load_state_dict(narrow.modulation.state_dict())
    if isinstance(afd.fe, FENet) and isinstance(narrow.fe, FENet):
        _widen_fe_net(afd.fe, narrow.fe)
    for wide, other in zip(afd.stages, narrow.stages, strict=False):
        assert isinstance(wide, StageCorrection)
        assert isinstance(other, StageCorrection)
        _widen_stage(wide, other)


def _widen_fe_net(wide: FENet, narrow: FENet) -> None:
    width, channels = narrow.encode.out_channels, narrow.encode.in_channels
    guides = narrow.below_in.in_channels - width  # the FDM's channels, which come after FE-Net's own
    above, below = torch.arange(width), torch.arange(2 * width)
    guided = torch.cat([above, wide.encode.out_channels + torch.arange(guides)])
    _widen_convolution(wide.encode, narrow.encode, above, torch.arange(channels))
    _widen_rep_conv(wide.above, narrow.above, above, above)
    _widen_rep_conv(wide.below_in, narrow.below_in, below, guided)
    _widen_rep_conv(wide.below, narrow.below, below, below)
    _widen_convolution(wide.reduce, narrow.reduce, above, below)
    _widen_rep_conv(wide.merge, narrow.merge, above, above)
    wide.decode.weight.zero_()  # (width, channels, patch, patch)
    wide.decode.weight[above] = narrow.decode.weight
    _copy_scalars(wide, narrow)


def _widen_stage(wide: StageCorrection, narrow: StageCorrection) -> None:
    width, channels = narrow.reduce.out_channels, narrow.reduce.in_channels
    guides = narrow.conv.in_channels - width
    inside, every = torch.arange(width), torch.arange(channels)
    guided = torch.cat([inside, wide.reduce.out_channels + torch.arange(guides)])
    _widen_convolution(wide.reduce, narrow.reduce, inside, every)
    _widen_rep_conv(wide.conv, narrow.conv, inside, guided)
    _widen_convolution(wide.expand, narrow.expand, every, inside)
    _copy_scalars(wide, narrow)


def _widen_convolution(wide: nn.Conv2d, narrow: nn.Conv2d, outputs: Tensor, inputs: Tensor) -> None:
    """Let channels `outputs` of the wide layer do what the narrow one's do with its channels `inputs`."""
    wide.weight[outputs] = 0
    wide.weight[outputs[:, None], inputs] = narrow.weight
    if wide.bias is not None and narrow.bias is not None:
        wide.bias[outputs] = narrow.bias


def _widen_rep_conv(wide: RepConv, narrow: RepConv, outputs: Tensor, inputs: Tensor) -> None:
    """Do the same for a RepConv: its 3x3 branch takes the folded kernel, the others begin at zero there."""
    for last in (wide.conv1, wide.expand1_conv3, wide.expand3_conv1):
        last.weight[outputs] = 0
    wide.conv3.weight[outputs] = 0
    wide.conv3.weight[outputs[:, None], inputs] = narrow.folded_kernel()
    wide.bias[outputs] = narrow.bias


def _copy_scalars(wide: FENet | StageCorrection, narrow: FENet | StageCorrection) -> None:
    wide.gate.load_state_dict(narrow.gate.state_dict())
    wide.activate.load_state_dict(narrow.activate.state_dict())


def _unfolded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with branches for each folded RepConv: its kernel, and others that add up to 0."""
    branches = dict(state)
    for key in [key for key in state if key.endswith(_FOLDED)]:
        prefix = key.removesuffix(_FOLDED)
        kernel = branches.pop(key)
        rep_conv = RepConv(kernel.shape[1], kernel.shape[0], zero=True)
        fresh = {**rep_conv.state_dict(), "conv3.weight": kernel, "bias": branches.pop(prefix + _FOLDED_BIAS)}
        branches |= {prefix + name: tensor for name, tensor in fresh.items()}
    return branches


def _with_own_norms(
    state: Mapping[str, Tensor], own: Sequence[FeatureLayer], path: Path
) -> Mapping[str, Tensor]:
    """Return a state dict whose modulation is of a deeper or shallower network's batch norms.

    What the other module does after a batch norm of the same name and width is kept; after those that only
    this network has, it does nothing at first.
    """
    last = state.get(_LAST_WEIGHT)
    if last is None or len(last) == 2 * sum(norm.channels for norm in own):
        return state
    others = _rows(read_afd_card(path).config.layers.norms)
    fitted = {}
    for name in (_LAST_WEIGHT, _LAST_BIAS):
        halves = state[name].unflatten(0, (2, -1))  # gains and shifts, (2, channels, ...)
        parts = [
            halves[:, others[norm.name, norm.channels]]
            if (norm.name, norm.channels) in others
            else halves.new_zeros(2, norm.channels, *halves.shape[2:])
            for norm in own
        ]
        fitted[name] = torch.cat(parts, 1).flatten(0, 1)
    return {**state, **fitted}


def _rows(norms: Sequence[FeatureLayer]) -> dict[tuple[str, int], slice]:
    """Return where each batch norm's channels stand in the modulation's last layer, by name and width."""
    found, first = {}, 0
    for norm in norms:
        found[norm.name, norm.channels] = slice(first, first + norm.channels)
        first += norm.channels
    return found


def _config_of(state: Mapping[str, Tensor], like: AFDConfig) -> AFDConfig:
    """Return the configuration of a state dict that differs from `like` in widths and corrections at most."""
    fe_width = len(state["fe.encode.weight"]) if "fe.encode.weight" in state else 0
    widths: list[int] = []
    while (key := f"stages.{len(widths)}.reduce.weight") in state:
        widths.append(len(state[key]))
    modulates = like.modulation_width if _LAST_WEIGHT in state else 0
    return replace(like, fe_width=fe_width, stage_widths=tuple(widths), modulation_width=modulates)


def _wider(config: AFDConfig, than: AFDConfig) -> bool:
    pairs = zip_longest(config.stage_widths, than.stage_widths, fillvalue=0)
    return config.fe_width > than.fe_width or any(own > other for own, other in pairs)


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(prefix)}


def _without_later_stages(state: Mapping[str, Tensor], stages: int) -> dict[str, Tensor]:
    """Return a state dict with the corrections after its first `stages` stages only."""
    kept = tuple(f"stages.{stage}." for stage in range(stages))
    return {
        key: value for key, value in state.items() if not key.startswith("stages.") or key.startswith(kept)
    }
