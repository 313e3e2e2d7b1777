"""Files of AFD-Module weights, and which one a classifier gets."""

import json
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
    FitWarning,
    load_afd,
    module_fingerprints,
    read_afd_card,
    save_afd,
    select_afd,
)
from dctafd.nets.attach import attach
from dctafd.nets.registry import Backbone
from tests.support.small_nets import FDM_CHANNELS, random_inputs, small_backbone, trained_afd


def card_of(backbone: Backbone, **options: object) -> AFDCard:
    config = trained_afd(backbone.module, "deep").config
    found = module_fingerprints(backbone.module, config)
    return AFDCard(config, backbone.spec.name, backbone.spec.architecture, found, **options)  # type: ignore[arg-type]


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
        assert torch.equal(*(attach(backbone.module, module)(*inputs).logits for module in (loaded, afd)))


def test_preprocessing_and_class_names_travel_in_a_modules_file(backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "afd.safetensors"
    told = {"preprocessing": backbone.spec.preprocessing, "labels": ("cat", "dog")}
    save_afd(path, trained_afd(backbone.module, "deep"), card_of(backbone, **told))
    card = read_afd_card(path)
    assert (card.preprocessing, card.labels) == (backbone.spec.preprocessing, ("cat", "dog"))


def test_half_precision_files_load_as_float32_and_nearly_equal(weights: Path, backbone: Backbone) -> None:
    loaded, afd = load_afd(weights), trained_afd(backbone.module, "deep")
    for key, value in afd.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_a_module_from_before_slopes_has_plain_relus(backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    afd = trained_afd(backbone.module, "deep")
    for part in (afd.fe, *afd.stages):
        nn.init.zeros_(part.activate.weight)
    save_afd(path, afd, card_of(backbone), torch.float32)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = {key: value for key, value in load_file(path).items() if not key.endswith("activate.weight")}
    assert len(state) < len(load_file(path))
    save_file(state, path, metadata)
    stem, fdm = torch.rand(1, 8, 16, 16), torch.rand(1, FDM_CHANNELS, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(load_afd(path).fe(stem, fdm), afd.fe(stem, fdm))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the one with the modules that ship."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(afd_weights, "WEIGHTS_DIRECTORY", folder)
    return folder


def chosen(afd: str | Path, backbone: Backbone) -> str | None:
    selected = select_afd(afd, backbone)
    return selected and selected.name


def test_off_is_no_module_and_a_path_is_that_file(backbone: Backbone, weights: Path) -> None:
    assert select_afd("off", backbone) is None
    assert chosen(weights, backbone) == "small"


def test_auto_takes_what_was_trained_for_these_very_weights(backbone: Backbone, shipped: Path) -> None:
    own, other = trained_afd(backbone.module, "deep"), small_backbone(seed=7)
    save_afd(shipped / "far_afd.safetensors", own, card_of(other))
    save_afd(shipped / "own_afd.safetensors", own, card_of(backbone))
    save_afd(shipped / "else_afd.safetensors", own, replace(card_of(backbone), architecture="other"))
    assert chosen("auto", backbone) == "own"
    assert chosen("auto", other) == "far"


def test_auto_takes_nothing_for_other_weights_and_tells_how_to_make_a_module(
    backbone: Backbone, shipped: Path
) -> None:
    save_afd(shipped / "own_afd.safetensors", trained_afd(backbone.module, "deep"), card_of(backbone))
    with pytest.warns(
        FitWarning, match=r"for small\.pth \(own is for others.*dctafd train --model small"
    ) as caught:
        assert select_afd("auto", small_backbone(seed=7)) is None
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    other = replace(backbone, spec=replace(backbone.spec, architecture="another"))
    with pytest.warns(FitWarning, match="no AFD-Module was trained for small.pth:"):
        assert select_afd("auto", other) is None


@pytest.mark.parametrize("layer", ["relu", "layer2", "layer3.0.bn2"])
def test_every_corrected_layer_counts(backbone: Backbone, shipped: Path, layer: str) -> None:
    save_afd(shipped / "own_afd.safetensors", trained_afd(backbone.module, "deep"), card_of(backbone))
    changed = backbone.module.get_submodule(layer)
    handle = changed.register_forward_hook(lambda _m, _i, output: 1.1 * output)
    assert chosen("auto", backbone) == "own"  # such a network still gains
    handle.remove()
    changed.register_forward_hook(lambda _m, _i, output: 1.6 * output)
    with pytest.warns(FitWarning, match="no AFD-Module was trained for"):
        assert select_afd("auto", backbone) is None


def test_auto_takes_no_module_that_did_not_help(backbone: Backbone, shipped: Path) -> None:
    afd, verdict = trained_afd(backbone.module, "deep"), {"verdict": {"helps": False}}
    save_afd(shipped / "own_afd.safetensors", afd, card_of(backbone, training=verdict))
    with pytest.warns(FitWarning):
        assert select_afd("auto", backbone) is None
    assert chosen("own", backbone) == "own"


def test_auto_looks_beside_the_weights_file(backbone: Backbone, shipped: Path, tmp_path: Path) -> None:
    backbone = replace(backbone, weights=tmp_path / "mine.pth")
    save_afd(tmp_path / "mine_afd.safetensors", trained_afd(backbone.module, "deep"), card_of(backbone))
    assert chosen("auto", backbone) == "mine"


def test_a_module_asked_for_is_used_with_a_warning_that_tells_the_distances(weights: Path) -> None:
    with pytest.warns(FitWarning, match=r"trained against small; small\.pth .*layer1 [\d.]+ %, layer2 "):
        assert chosen(weights, small_backbone(seed=7)) == "small"


def test_auto_prefers_the_deep_shape_and_a_name_asks_for_another(
    backbone: Backbone, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_afd(shipped / "small_z_afd.safetensors", trained_afd(backbone.module, "deep"), card_of(backbone))
    stem = trained_afd(backbone.module, "stem")
    save_afd(shipped / "small_a_afd.safetensors", stem, replace(card_of(backbone), config=stem.config))
    assert chosen("auto", backbone) == "small_z"
    (tmp_path / "small_a").mkdir()  # a folder of that name is no file of weights
    monkeypatch.chdir(tmp_path)
    selected = select_afd("small_a", backbone)
    assert selected is not None
    assert selected.module.config.variant == "stem"


def test_files_of_before_tell_of_the_stem_alone(backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "old_afd.safetensors"
    afd = trained_afd(backbone.module, "deep")
    save_afd(path, afd, card_of(backbone))
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    config = json.loads(metadata["config"])
    for name in ("scales", "reads_surviving", "modulation_width"):
        del config[name]
    del config["layers"]["norms"]
    stem = json.loads(metadata.pop("fingerprints"))["relu"]
    metadata |= {"config": json.dumps(config), "serves": '["small"]', "fingerprint": json.dumps(stem)}
    save_file({k: v for k, v in load_file(path).items() if "modulation" not in k}, path, metadata)
    card = read_afd_card(path)
    assert card.fingerprints == {"relu": tuple(stem)}
    assert (card.config.scales, card.config.reads_surviving) == ((0.8, 1.3), False)
    assert load_afd(path).modulation is None
    assert chosen(path, backbone) == "old"
    backbone.module.relu.register_forward_hook(lambda _m, _i, output: 1.1 * output)
    with pytest.warns(FitWarning, match="relu "):
        assert chosen(path, backbone) == "old"


def test_bad_files_are_named_errors(tmp_path: Path, backbone: Backbone) -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*missing"):
        load_afd(tmp_path / "missing.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a weights file at all")
    with pytest.raises(WeightsError, match=r"no \.safetensors file"):
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
    with pytest.raises(WeightsError, match="has no layer 'relu'"):
        select_afd(path, replace(backbone, module=torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1))))
