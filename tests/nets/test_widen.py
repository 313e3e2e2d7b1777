from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDModule, Variant
from dctafd.nets.afd_weights import AFDCard, save_afd
from dctafd.nets.attach import attach
from dctafd.nets.widen import load_narrower, widen
from tests.support.small_nets import random_inputs, small_resnet, trained_afd


def wider(afd: AFDModule, fe_width: int, *stage_widths: int) -> AFDModule:
    torch.manual_seed(3)
    return AFDModule(replace(afd.config, fe_width=fe_width, stage_widths=stage_widths))


@pytest.mark.parametrize(
    ("variant", "stage_widths"), [("deep", (4, 9, 5, 4)), ("stem", ()), ("stem", (3, 5)), ("deep", (6, 4))]
)
def test_a_widened_module_does_what_the_narrow_one_did(
    variant: Variant, stage_widths: tuple[int, ...]
) -> None:
    backbone = small_resnet()
    narrow = trained_afd(backbone, variant)
    afd = wider(narrow, 7, *stage_widths)
    load_narrower(afd, narrow.state_dict(), Path("narrow.pt"))
    narrow.stages = narrow.stages[: len(stage_widths)]  # what `afd` does not correct is left out
    inputs = random_inputs()
    with torch.no_grad():
        expected = attach(backbone, narrow)(*inputs).logits
        logits = attach(backbone, afd.eval())(*inputs).logits
    assert not torch.allclose(expected, backbone(inputs[0]), atol=1e-2)
    assert torch.allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("fe_width", [4, 7])
def test_a_folded_module_gets_branches_that_do_what_it_did(fe_width: int) -> None:
    backbone = small_resnet()
    folded = trained_afd(backbone, "deep").reparameterize()
    afd = wider(folded, fe_width, 4, 4, 4, 4)
    load_narrower(afd, folded.state_dict(), Path("folded.safetensors"))
    assert not afd.reparameterized
    inputs = random_inputs()
    with torch.no_grad():
        expected = attach(backbone, folded)(*inputs).logits
        assert torch.allclose(attach(backbone, afd.eval())(*inputs).logits, expected, atol=1e-4)


def test_every_new_channel_can_learn() -> None:
    backbone = small_resnet()
    narrow = trained_afd(backbone, "deep")
    afd = wider(narrow, 6, 6, 6, 6, 6)
    widen(afd, narrow)
    optimizer = torch.optim.SGD(afd.parameters(), lr=1e-2)
    for _ in range(2):  # in the first step the outgoing weights leave zero
        optimizer.zero_grad()
        attach(backbone, afd).train()(*random_inputs()).logits.square().sum().backward()
        nn.utils.clip_grad_norm_(afd.parameters(), 1.0)
        optimizer.step()
    unmoved = [
        name
        for name, parameter in afd.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert unmoved == []


def test_only_a_narrower_module_of_the_same_kind_is_taken() -> None:
    backbone = small_resnet()
    narrow = trained_afd(backbone, "deep")
    state = narrow.state_dict()
    for afd in (wider(narrow, 2, 4, 4, 4, 4), wider(narrow, 8, 2, 4, 4, 4)):
        with pytest.raises(WeightsError, match="only a narrower module"):
            load_narrower(afd, state, Path("narrow.pt"))
    folded = wider(narrow, 8, 4, 4, 4, 4).eval().reparameterize()
    with pytest.raises(WeightsError, match="only a narrower module"):
        load_narrower(folded, state, Path("narrow.pt"))
    other = AFDModule(replace(narrow.config, fde_width=9, fe_width=8))
    with pytest.raises(WeightsError, match="does not fit AFDModule"):
        load_narrower(other, state, Path("narrow.pt"))


@torch.no_grad()
def test_a_module_of_the_stem_begins_with_that_part_of_one_that_modulates() -> None:
    backbone = small_resnet()
    deep = trained_afd(backbone, "deep")
    assert deep.modulation is not None
    stem = AFDModule(replace(deep.config, variant="stem", fe_width=6, stage_widths=(), modulation_width=0))
    load_narrower(stem, deep.state_dict(), Path("deep.pt"))
    deep.stages, deep.modulation = deep.stages[:0], None
    inputs = random_inputs()
    expected = attach(backbone, deep)(*inputs).logits
    assert torch.allclose(attach(backbone, stem.eval())(*inputs).logits, expected, atol=1e-5)
    assert not torch.allclose(expected, backbone(inputs[0]), atol=1e-3)


@torch.no_grad()
def test_modulation_of_a_shallower_network_is_kept_by_the_names_of_batch_norms(tmp_path: Path) -> None:
    deep = trained_afd(small_resnet(), "deep")
    first, _, *rest = deep.config.layers.norms
    layers = replace(deep.config.layers, norms=(first, *rest))
    shallow = AFDModule(replace(deep.config, layers=layers)).eval()
    for parameter in shallow.parameters():
        nn.init.normal_(parameter, std=0.3)
    path = tmp_path / "shallow_afd.safetensors"
    save_afd(path, shallow, AFDCard(shallow.config, "shallow", "resnet", {}), torch.float32)

    load_narrower(deep, shallow.state_dict(), path)

    inputs = random_inputs()[1:]
    (one, added, *others), expected = deep.guide(*inputs).affines, shallow.guide(*inputs).affines
    for found, wanted in zip((one, *others), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert torch.equal(added.gain, torch.ones_like(added.gain))
    assert torch.equal(added.shift, torch.zeros_like(added.shift))
