"""What a classifier makes of one photo: its Feature Drifting Map, and what the correction changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dctafd.config import Preprocessing
from dctafd.errors import DctafdError
from dctafd.inference.assembly import ModelFacts, best_classes
from dctafd.inference.results import Prediction
from dctafd.inputs.model_input import ModelInput, collate
from dctafd.inputs.prepare import prepare_for
from dctafd.plain_text import summary

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dctafd.inference.classifier import Classifier
    from dctafd.nets.attach import FrozenClassifier


@dataclass(frozen=True, slots=True, eq=False)
class DriftMap:
    """One photo seen by a classifier.

    Attributes:
        model: the classifier's name.
        pixels: (S, S, 3) uint8, the crop that the classifier sees.
        drift: (G, G) float32, FDM channel 0: the predicted drift of the stem's features, cell by cell; None
            where the classifier has no AFD-Module.
        corrected, uncorrected: the most probable classes with the AFD-Module (empty where there is none) and
            without it.
    """

    model: str
    pixels: NDArray[np.uint8]
    drift: NDArray[np.float32] | None
    corrected: tuple[Prediction, ...]
    uncorrected: tuple[Prediction, ...]

    __repr__ = summary


def drift_map(classifier: Classifier, data: bytes, top_k: int = 3) -> DriftMap:
    """Run a classifier on a photo, with and without its AFD-Module.

    Args:
        classifier: of `dctafd.load_classifier`.
        data: a JPEG file.
        top_k: classes to report.

    Raises:
        DctafdError: the file cannot be read, or the classifier does not run in PyTorch.
    """
    from dctafd.inference.torch_network import TorchNetwork

    network, sees = classifier.network, classifier.preprocessing
    if not isinstance(network, TorchNetwork):
        raise DctafdError("the answer without the AFD-Module needs the runtime torch")
    model_input = prepare_for(data, sees)
    return map_input(model_input, sees, network.module, classifier.facts, network.device, top_k)


def map_input(
    model_input: ModelInput,
    sees: Preprocessing,
    module: FrozenClassifier,
    facts: ModelFacts,
    device: torch.device | str = "cpu",
    top_k: int = 3,
) -> DriftMap:
    """Run a network on a photo that is prepared, with and without its AFD-Module.

    Args:
        model_input: the photo.
        sees: what it was prepared for.
        module: what `attach` returns; on `device`.
        facts: of the network.
        device: where it runs.
        top_k: classes to report.
    """
    import torch

    batch = collate([model_input]).to(device)
    with torch.inference_mode():
        without, output = module(batch.pixels), module(*batch.tensors())
    pixels = model_input.pixels * np.reshape(sees.std, (3, 1, 1)) + np.reshape(sees.mean, (3, 1, 1))
    return DriftMap(
        model=facts.name,
        pixels=np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0),
        drift=None if output.fdm is None else output.fdm[0, 0].float().cpu().numpy(),
        corrected=() if output.fdm is None else _best(facts, output.logits, top_k),
        uncorrected=_best(facts, without.logits, top_k),
    )


def drift_record(found: DriftMap) -> dict[str, Any]:
    """Return the map (rows of cells) and the predictions as plain values for JSON."""
    return {
        "model": found.model,
        "mean": None if found.drift is None else float(found.drift.mean()),
        "map": None if found.drift is None else np.round(found.drift, 4).tolist(),
        "predictions": [_class_record(entry) for entry in found.corrected],
        "direct_predictions": [_class_record(entry) for entry in found.uncorrected],
    }


def _best(facts: ModelFacts, logits: Tensor, top_k: int) -> tuple[Prediction, ...]:
    (best,) = best_classes(logits.float().cpu().numpy(), facts, top_k)
    return best


def _class_record(entry: Prediction) -> dict[str, Any]:
    return {"index": entry.index, "label": entry.label, "score": entry.score}
