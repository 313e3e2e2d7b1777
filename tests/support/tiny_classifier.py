"""A classifier with a network of a few hundred weights, for tests of what is around the network."""

import torch
from torch import nn

from dctafd.config import Preprocessing
from dctafd.inference.assembly import ModelFacts
from dctafd.inference.classifier import Classifier
from dctafd.inference.torch_network import TorchNetwork
from dctafd.nets.attach import attach
from tests.support.jpeg_files import encode, photo_like

LABELS = ("ant", "bee", "cat", "dog")


def tiny_classifier(dtype: str = "float32", temperature: float = 1.0) -> Classifier:
    torch.manual_seed(0)
    last = nn.Linear(8, 4)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    with torch.no_grad():
        last.weight.mul_(20)
    preprocessing = Preprocessing(32, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    facts = ModelFacts("tiny", LABELS, temperature)
    return Classifier(TorchNetwork(attach(net), "cpu", dtype), facts, preprocessing)


def photo(seed: int, quality: int = 75) -> bytes:
    """Return a small JPEG file."""
    return encode(photo_like(40, 33, seed=seed), quality)
