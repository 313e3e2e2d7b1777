"""Classifiers by name and by file."""

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from dctafd.config import PreprocessingChanges
from dctafd.errors import WeightsError
from dctafd.imagenet import imagenet_names
from dctafd.nets.efficientnet_lite import EfficientNetLite
from dctafd.nets.model_specs import get_spec, list_models
from dctafd.nets.registry import load_backbone, own_labels
from dctafd.nets.tf_padding import use_tf_same_padding
from tests.support.small_nets import CROP


def squeezenet(classes: int = 3) -> nn.Module:
    return models.squeezenet1_1(num_classes=classes).eval()


def test_models_are_listed_with_all_that_is_known() -> None:
    specs = {spec.name: spec for spec in list_models()}
    assert next(iter(specs)) == "efficientnet_lite0"
    assert specs["resnet50"].weights_file is not None
    assert specs["resnet50"].weights_file.name == "resnet50-0676ba61.pth"  # IMAGENET1K_V1, as in the paper
    assert (specs["resnet50"].resize, specs["resnet50"].crop) == (256, 224)
    assert specs["mobilenet_v2_coral"].std == (0.5, 0.5, 0.5)
    assert all(spec.licence and spec.labels for spec in specs.values())


def test_unknown_names_suggest_close_ones() -> None:
    with pytest.raises(WeightsError, match="did you mean resnet50"):
        get_spec("resnet5O")


def test_any_torchvision_classifier_has_a_spec() -> None:
    assert get_spec("shufflenet_v2_x1_0").architecture == "shufflenet_v2_x1_0"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_weights_with_their_own_classes(tmp_path: Path, suffix: str) -> None:
    net, path = squeezenet(), tmp_path / f"weights{suffix}"
    metadata = {"labels": json.dumps(["cat", "dog", "eel"])}
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{k}": v.half() for k, v in net.state_dict().items()}}, path)
    else:
        save_file(net.state_dict(), path, metadata)
    backbone = load_backbone("squeezenet1_1", path)
    assert backbone.labels == (("cat", "dog", "eel") if suffix == ".safetensors" else ("0", "1", "2"))
    assert backbone.weights == path
    assert not backbone.module.training
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.module(pixels), net(pixels), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {"state_dict_ema": state, "optimizer": {}},
        lambda state: {
            **{f"module.{key}": value for key, value in state.items()},
            "n_averaged": torch.ones(()),
        },
        lambda state: {
            "state_dict": {f"model._orig_mod.{k}": v for k, v in state.items()}
            | {"loss.weight": torch.ones(3)}
        },
    ],
    ids=["lightning", "data parallel", "ema", "averaged", "compiled lightning"],
)
def test_state_dicts_as_people_have_them(tmp_path: Path, wrapped: Any) -> None:
    net, path = squeezenet(), tmp_path / "weights.pth"
    torch.save(wrapped(net.state_dict()), path)
    backbone = load_backbone("squeezenet1_1", path, labels=["cat", "dog", "eel"])
    assert backbone.labels == ("cat", "dog", "eel")
    assert torch.equal(backbone.module.classifier[1].weight, net.classifier[1].weight)  # type: ignore[index]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    state = squeezenet().state_dict()
    state["features.3.squeeze.bias"][2] = value
    torch.save(state, tmp_path / "own.pth")
    with pytest.raises(WeightsError, match=r"features\.3\.squeeze\.bias holds NaN or infinity"):
        load_backbone("squeezenet1_1", tmp_path / "own.pth")


def test_another_head_is_named_with_a_way_out(tmp_path: Path) -> None:
    net, path = models.resnet18(), tmp_path / "weights.pth"
    net.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 3))
    torch.save(net.state_dict(), path)
    with pytest.raises(WeightsError, match=r"lacks fc\.weight and has fc\.1\.weight.*dctafd\.attach"):
        load_backbone("resnet18", path)


def test_class_names_and_preprocessing_of_ones_own(tmp_path: Path) -> None:
    path, names = tmp_path / "weights.pth", tmp_path / "names.txt"
    torch.save(squeezenet().state_dict(), path)
    names.write_text("cat\ndog\neel\n")
    changes = PreprocessingChanges(resize=72, crop=64, std=(1.0, 1.0, 1.0))
    backbone = load_backbone("squeezenet1_1", path, names, changes)
    spec = backbone.spec
    assert (spec.resize, spec.crop, spec.std, spec.mean[0]) == (72, 64, (1.0, 1.0, 1.0), 0.485)
    assert backbone.labels == ("cat", "dog", "eel")
    names.write_text("cat\ndog\n")
    with pytest.raises(WeightsError, match="2 class names, the network has 3 classes"):
        load_backbone("squeezenet1_1", path, names)
    with pytest.raises(WeightsError, match="multiple of 8"):
        load_backbone("squeezenet1_1", path, changes=PreprocessingChanges(crop=100))


def test_a_thousand_classes_are_those_of_imagenet(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(squeezenet(1000).state_dict(), path)
    labels = load_backbone("squeezenet1_1", path).labels
    assert (len(labels), labels[0], labels[1]) == (1000, "tench", "goldfish")


def test_batch_norm_statistics_may_be_missing_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    net = EfficientNetLite(classes=6)
    state = {k: v for k, v in net.state_dict().items() if "running" not in k}
    save_file(state, path)
    assert load_backbone("efficientnet_lite0", path).labels == tuple("012345")
    for lost in ("classifier.bias", "blocks.0.0.conv_dw.weight"):
        save_file({k: v for k, v in state.items() if k != lost}, path)
        with pytest.raises(WeightsError, match=f"lacks {lost}"):
            load_backbone("efficientnet_lite0", path)
    save_file({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="unknown keys extra"):
        load_backbone("efficientnet_lite0", path)


def test_preprocessing_and_temperature_travel_in_our_weights_files(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    preprocessing = {"resize": 40, "crop": CROP, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    metadata = {"preprocessing": preprocessing, "labels": ["cat", "dog", "eel"], "temperature": 1.5}
    save_file(squeezenet().state_dict(), path, {k: json.dumps(v) for k, v in metadata.items()})
    backbone = load_backbone("squeezenet1_1", path)
    assert (backbone.spec.resize, backbone.spec.crop, backbone.spec.temperature) == (40, CROP, 1.5)
    assert (backbone.spec.mean, backbone.spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert backbone.labels == ("cat", "dog", "eel")
    save_file(squeezenet().state_dict(), path, {"preprocessing": '{"resize": 40}'})
    with pytest.raises(WeightsError, match="damaged metadata"):
        load_backbone("squeezenet1_1", path)


def test_a_module_beside_the_weights_tells_preprocessing_and_labels(tmp_path: Path) -> None:
    weights, beside = tmp_path / "mine.pth", tmp_path / "mine_afd.safetensors"
    torch.save(squeezenet().state_dict(), weights)
    told = {
        "preprocessing": {"resize": 72, "crop": 64, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
        "labels": ["cat", "dog", "eel"],
    }

    def tell(record: dict[str, Any]) -> None:
        save_file({"a": torch.zeros(1)}, beside, {k: json.dumps(v) for k, v in record.items()})

    tell(told)
    backbone = load_backbone("squeezenet1_1", weights)
    assert (backbone.spec.crop, backbone.spec.mean, backbone.labels) == (
        64,
        (0.1, 0.2, 0.3),
        ("cat", "dog", "eel"),
    )
    assert own_labels(backbone) == ("cat", "dog", "eel")
    said = load_backbone("squeezenet1_1", weights, ["a", "b", "c"], PreprocessingChanges(crop=56))
    assert (said.spec.resize, said.spec.crop, said.labels) == (72, 56, ("a", "b", "c"))
    for other in ({**told, "labels": ["cat"]}, {**told, "labels": None}, {"preprocessing": None}):
        tell(other)
        assert own_labels(load_backbone("squeezenet1_1", weights)) is None
    beside.write_bytes(b"no module")
    assert load_backbone("squeezenet1_1", weights).labels == ("0", "1", "2")


def test_a_models_temperature_is_that_of_its_own_weights(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(EfficientNetLite(classes=3).state_dict(), path)
    assert get_spec("efficientnet_lite0").temperature == 0.67
    assert load_backbone("efficientnet_lite0", path).spec.temperature == 1.0


def test_names_of_imagenets_classes_are_torchvisions() -> None:
    assert imagenet_names() == tuple(models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def test_damaged_class_names_are_a_named_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(squeezenet().state_dict(), path, {"labels": "[1, "})
    with pytest.raises(WeightsError, match="class names"):
        load_backbone("squeezenet1_1", path)


def test_named_variants_need_their_file() -> None:
    with pytest.raises(WeightsError, match=r"--weights FILE.*--model efficientnet_lite0 needs none"):
        load_backbone("resnet50_pqf")


def test_offline_the_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(WeightsError) as caught:
        load_backbone("resnet50")
    assert str(tmp_path / "checkpoints" / "resnet50-0676ba61.pth") in str(caught.value)
    assert "--model efficientnet_lite0, which needs none" in str(caught.value)


def test_bad_files_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_backbone("squeezenet1_1", tmp_path / "missing.pth")
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"garbage")
    with pytest.raises(WeightsError, match="no weights file"):
        load_backbone("squeezenet1_1", garbage)
    torch.save([1, 2], garbage)
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_backbone("squeezenet1_1", garbage)


def test_tf_same_padding_pads_below_and_at_the_right() -> None:
    conv = nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False)
    nn.init.ones_(conv.weight)
    pointwise = nn.Conv2d(1, 1, 1, stride=2)
    net: Any = use_tf_same_padding(nn.Sequential(conv, nn.Conv2d(1, 1, 3, padding=1), pointwise))
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    top_left = x[0, 0, :3, :3].sum()  # no zeros above or left of the first window
    result = net[0](x)
    assert result.shape == (1, 1, 2, 2)
    assert result[0, 0, 0, 0] == top_left
    assert result[0, 0, 1, 1] == x[0, 0, 2:, 2:].sum()
    odd = net[0](x[..., :3, :3])
    assert odd.shape == (1, 1, 2, 2)
    assert odd[0, 0, 0, 0] == x[0, 0, :2, :2].sum()  # an odd size is padded by one on every side
    assert type(net[1]) is nn.Conv2d
    assert type(net[2]) is nn.Conv2d
