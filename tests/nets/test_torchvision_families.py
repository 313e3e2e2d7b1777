"""torchvision's rarer families: two steps of training, and a photo classified with the module attached."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from dctafd.config import Preprocessing
from dctafd.errors import WeightsError
from dctafd.inference.assembly import ModelFacts
from dctafd.inference.classifier import Classifier
from dctafd.inference.torch_network import TorchNetwork
from dctafd.nets.afd import AFDModule
from dctafd.nets.afd_weights import FitWarning, select_afd
from dctafd.nets.attach import attach
from dctafd.nets.layers import find_layers
from dctafd.nets.model_specs import get_spec
from dctafd.nets.registry import Backbone, build_architecture
from dctafd.training.config import TrainingConfig, TrainingRuntime
from dctafd.training.trainer import Trainer
from tests.support.jpeg_files import encode, photo_like

CLASSES = 4


@pytest.mark.parametrize(
    ("name", "stem", "crop"),
    [
        ("shufflenet_v2_x0_5", "conv1", 64),
        ("mnasnet0_5", "layers.2", 64),
        ("googlenet", "conv1", 64),
        ("inception_v3", "Conv2d_1a_3x3", 96),  # a smaller one leaves nothing of its last maps
    ],
)
def test_they_are_trained_and_classify(name: str, stem: str, crop: int) -> None:
    torch.manual_seed(0)
    spec = get_spec(name)
    network = build_architecture(spec, CLASSES).eval()
    sees = Preprocessing(crop + 8, crop, spec.mean, spec.std)
    assert find_layers(network, input_size=crop).stem.name == stem
    spec = replace(spec, resize=sees.resize, crop=sees.crop)
    backbone = Backbone(network, spec, tuple("abcd"), Path(f"{name}.pth"))
    photos = [np.asarray(photo_like(120, 100, seed=seed)) for seed in range(3)]
    trainer = Trainer(
        backbone, photos, TrainingConfig(steps=2, batch_size=2), TrainingRuntime(torch.device("cpu"), jobs=1)
    )
    before = {key: value.clone() for key, value in trainer.classifier.afd.state_dict().items()}
    trainer.run()
    assert trainer.state.step == 2
    after = trainer.classifier.afd.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    corrected = attach(network, trainer.ema.afd.eval())
    classifier = Classifier(TorchNetwork(corrected, "cpu"), ModelFacts(name, tuple("abcd")), sees)
    (result,) = classifier.classify(encode(photo_like(120, 100, seed=9), 10))
    assert result.error is None
    assert result.drift is not None
    assert sum(best.score for best in result.predictions) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_networks_on_patch_tokens_say_that_they_are_not_corrected(name: str) -> None:
    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    with pytest.raises(WeightsError, match=r"patch tokens.*--afd off"):
        AFDModule.for_backbone(network)
    backbone = Backbone(network, get_spec(name), ("a",), Path(f"{name}.pth"))
    with pytest.warns(FitWarning, match=r"patch tokens.*--afd off"):
        assert select_afd("auto", backbone) is None
