"""Files of AFD-Module weights, and which one a classifier gets."""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dctafd.errors import WeightsError
from dctafd.nets import afd_weights
from dctafd.nets.afd_weights import (
    AFDCard,
    StemMismatchWarning,
    find_shipped_afd,
    fingerprint_distance,
    load_afd,
    read_afd_card,
    save_afd,
    select_afd,
    stem_fingerprint,
)
from dctafd.nets.attach import attach
from dctafd.nets.registry import Backbone
from tests.support.small_nets import FDM_CHANNELS, random_inputs, small_backbone, trained_afd


def card_of(backbone: Backbone, **options: object) -> AFDCard:
    config = trained_afd(backbone.module, "deep").config
    fingerprint = stem_fingerprint(backbone.module, "relu")
    spec = backbone.spec
    return AFDCard(config, spec.name, spec.architecture, (spec.name,), fingerprint, **options)  # type: ignore[arg-type]


@pytest.fixture
def backbone() -> Backbone:
    return small_backbone()


@pytest.fixture
def weights(backbone: Backbone, tmp_path: Path) -> Path:
    path = tmp_path / "small_afd.safetensors"
    save_afd(path, trained_afd(backbone.module, "deep"), card_of(backbone, training={"seed": 3}))
    return path


@pytest.mark.parametrize("folded", [False, True])
def test_what_was_saved_is_loaded(backbone: Backbone, tmp_path: Path, folded: bool) -> None:
    afd = trained_afd(backbone.module, "deep")
    if folded:
        afd.reparameterize()
    path = tmp_path / "afd.safetensors"
    save_afd(path, afd, card_of(backbone, licence="CC0", training={"seed": 3}), torch.float32)
    card = read_afd_card(path)
    assert card == replace(card_of(backbone), reparameterized=folded, licence="CC0", training={"seed": 3})
    loaded = load_afd(path)
    assert not loaded.training
    assert loaded.reparameterized == folded
    inputs = random_inputs()
    with torch.no_grad():
        assert torch.equal(attach(backbone.module, loaded)(*inputs), attach(backbone.module, afd)(*inputs))


def test_half_precision_files_load_as_float32_and_nearly_equal(weights: Path, backbone: Backbone) -> None:
    loaded, afd = load_afd(weights), trained_afd(backbone.module, "deep")
    for key, value in afd.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_a_module_from_before_slopes_has_plain_relus(backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    afd = trained_afd(backbone.module, "deep")
    for part in (afd.fe, *afd.stages):
        nn.init.zeros_(part.activate.weight)  # type: ignore[union-attr, arg-type]
    save_afd(path, afd, card_of(backbone), torch.float32)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = {key: value for key, value in load_file(path).items() if not key.endswith("activate.weight")}
    assert len(state) < len(load_file(path))
    save_file(state, path, metadata)
    stem, fdm = torch.rand(1, 8, 16, 16), torch.rand(1, FDM_CHANNELS, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(load_afd(path).fe(stem, fdm), afd.fe(stem, fdm))


def test_off_is_no_module_and_a_path_is_that_file(backbone: Backbone, weights: Path) -> None:
    assert select_afd("off", backbone) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select_afd(weights, backbone) is not None


def test_auto_warns_where_nothing_is_shipped(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(afd_weights, "find_shipped_afd", lambda backbone: None)
    with pytest.warns(StemMismatchWarning, match="no AFD-Module is shipped for small"):
        assert select_afd("auto", backbone) is None


def test_another_stem_is_warned_of(weights: Path) -> None:
    with pytest.warns(StemMismatchWarning, match="trained against the stem of small"):
        assert select_afd(weights, small_backbone(seed=7)) is not None


def test_auto_prefers_the_models_own_file_then_the_nearest_stem(backbone: Backbone, tmp_path: Path) -> None:
    afd = trained_afd(backbone.module, "stem")
    card = card_of(backbone)
    far = replace(card, model="far", serves=("far",), fingerprint=tuple(10 * v for v in card.fingerprint))
    save_afd(tmp_path / "a_afd.safetensors", afd, far)
    save_afd(tmp_path / "b_afd.safetensors", afd, replace(card, model="near", serves=("near",)))
    save_afd(tmp_path / "c_afd.safetensors", afd, replace(card, architecture="other", serves=("other",)))

    def found(name: str, architecture: str = "slim_resnet") -> str | None:
        spec = replace(backbone.spec, name=name, architecture=architecture)
        path = find_shipped_afd(replace(backbone, spec=spec), tmp_path)
        return path and path.name

    assert found("far") == "a_afd.safetensors"
    assert found("own weights") == "b_afd.safetensors"
    assert found("own weights", "unheard of") is None


def test_auto_prefers_the_deep_shape_and_a_name_asks_for_another(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, stem = tmp_path / "small_z_afd.safetensors", tmp_path / "small_a_afd.safetensors"
    save_afd(deep, trained_afd(backbone.module, "deep"), card_of(backbone))
    afd = trained_afd(backbone.module, "stem")
    save_afd(stem, afd, replace(card_of(backbone), config=afd.config))
    assert find_shipped_afd(backbone, tmp_path) == deep
    other = replace(backbone, spec=replace(backbone.spec, name="unknown"))
    assert find_shipped_afd(other, tmp_path) == deep
    monkeypatch.setattr(afd_weights, "WEIGHTS_DIRECTORY", tmp_path)
    (tmp_path / "small_a").mkdir()  # a folder of that name is no file of weights
    monkeypatch.chdir(tmp_path)
    chosen = select_afd("small_a", backbone)
    assert chosen is not None
    assert chosen.config.shape == "stem"


def test_fingerprint_ignores_how_batch_norm_is_stored(backbone: Backbone) -> None:
    net = backbone.module
    torch.nn.init.uniform_(net.bn1.running_var, 0.5, 2.0)  # type: ignore[union-attr, arg-type]
    before = stem_fingerprint(net, "relu")
    folded = torch.nn.utils.fuse_conv_bn_eval(net.conv1, net.bn1)  # type: ignore[arg-type]
    net.conv1, net.bn1 = folded, torch.nn.Identity()
    assert fingerprint_distance(stem_fingerprint(net, "relu"), before) < 1e-4


def test_fingerprint_distance() -> None:
    assert fingerprint_distance((3.0, 4.0), (3.0, 4.0)) == 0
    assert fingerprint_distance((3.0, 4.0), (0.0, 0.0)) == 1
    assert math.isinf(fingerprint_distance((1.0,), (1.0, 2.0)))


def test_bad_files_are_named_errors(tmp_path: Path, backbone: Backbone) -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*missing"):
        load_afd(tmp_path / "missing.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a weights file at all")
    with pytest.raises(WeightsError, match="no readable weights file"):
        load_afd(garbage)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(WeightsError, match="holds no AFD-Module"):
        load_afd(foreign)
    damaged = tmp_path / "damaged.safetensors"
    save_file({"a": torch.zeros(1)}, damaged, {"format": "dctafd-afd", "config": json.dumps({})})
    with pytest.raises(WeightsError, match="damaged metadata"):
        load_afd(damaged)


def test_a_file_for_another_network_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "afd.safetensors"
    save_afd(path, trained_afd(backbone.module, "deep"), card_of(backbone))
    with pytest.raises(WeightsError, match="has no 'relu'"):
        select_afd(path, replace(backbone, module=torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1))))
