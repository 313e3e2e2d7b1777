"""timm's classifiers by name."""

from pathlib import Path

import pytest
import torch

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.attach import attach
from dctafd.nets.layers import find_layers
from dctafd.nets.model_specs import get_spec
from dctafd.nets.registry import load_backbone
from tests.support.small_nets import random_inputs

timm = pytest.importorskip("timm", reason="needs the extra timm (pip install 'dctafd[timm]')")

SIZE = 64


@pytest.mark.parametrize(
    ("name", "stem", "stages", "norms"),
    [
        ("resnet18d", "act1", ["layer1", "layer2", "layer3", "layer4"], ["layer1.0.bn2", "layer4.1.bn2"]),
        ("mobilenetv3_small_050", "bn1", ["blocks.0", "blocks.1", "blocks.3", "blocks.5"], None),
        ("convnext_atto", "stem", ["stages.1", "stages.2", "stages.3"], []),
        ("regnety_002", "stem", ["s1", "s2", "s3", "s4"], ["s1.b1.conv3.bn", "s4.b7.conv3.bn"]),
    ],
)
def test_stem_stages_and_norms(name: str, stem: str, stages: list[str], norms: list[str] | None) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=5).eval()
    layers = find_layers(net, input_size=SIZE)
    assert layers.stem.name == stem
    assert [stage.name for stage in layers.stages] == stages
    if norms is not None:
        found = [norm.name for norm in layers.norms]
        assert [found[0], found[-1]] == norms if norms else found == []
    classifier = attach(net, AFDModule(AFDConfig.for_layers(layers))).eval()
    inputs = random_inputs(crop=SIZE)
    with torch.no_grad():
        torch.testing.assert_close(classifier(*inputs).logits, net(inputs[0]), rtol=1e-4, atol=1e-5)


def test_a_local_checkpoint_with_its_own_classes(tmp_path: Path) -> None:
    net, path = timm.create_model("resnet18d", num_classes=5).eval(), tmp_path / "mine.pth"
    torch.save(net.state_dict(), path)
    backbone = load_backbone("timm/resnet18d", path)
    assert backbone.labels == tuple("01234")
    assert (backbone.spec.crop, backbone.spec.architecture) == (224, "timm/resnet18d")
    pixels = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(backbone.module(pixels), net(pixels))


def test_crops_are_multiples_of_the_grids_cells() -> None:
    spec = get_spec("timm/inception_v3")
    assert (spec.crop, spec.resize) == (296, 338)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"])
def test_networks_on_patch_tokens_are_not_corrected(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=5)
    with pytest.raises(WeightsError, match=r"patch tokens.*--afd off"):
        find_layers(net)


def test_unknown_names_suggest_close_ones() -> None:
    with pytest.raises(WeightsError, match="did you mean timm/resnet"):
        get_spec("timm/resnet50_unheard_of")
