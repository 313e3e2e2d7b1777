"""Begin a training with what a module that ships has learnt: the nearest for layers of the same shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dctafd.errors import WeightsError
from dctafd.nets.afd_weights import AFDCard, read_afd_card
from dctafd.nets.fit import distances, fingerprints
from dctafd.nets.layers import BackboneLayers, FeatureLayer, find_layers
from dctafd.nets.registry import WEIGHTS_DIRECTORY, Backbone
from dctafd.training.config import TrainingConfig


def fitting_modules(
    backbone: Backbone, config: TrainingConfig, directory: Path | None = None
) -> list[tuple[Path, TrainingConfig]]:
    """Return the modules that a training may begin with, the nearest first.

    Those of the same architecture come first, then those whose stem responds most alike. A module fits where
    its layers have the shapes of the classifier's, whatever they are called.

    Args:
        backbone: the classifier.
        config: of the training; where it leaves widths open, it takes those of the module.
        directory: of the weights files; None for those that ship.

    Returns:
        Files, and the configuration with which each can be trained on.
    """
    own = find_layers(backbone.module, config.layer, backbone.spec.crop)
    stem = (own.stem.name,)
    (response,) = fingerprints(backbone.module, stem).values()
    found = []
    for path in sorted((directory or WEIGHTS_DIRECTORY).glob("*_afd.safetensors")):
        try:
            card = read_afd_card(path)
        except WeightsError:
            continue
        if card.config.variant == config.variant and _same_shapes(own, card.config.layers):
            other = card.architecture != backbone.spec.architecture
            its_response = card.fingerprints.get(card.config.layers.stem.name, ())
            distance = distances({"stem": response}, {"stem": its_response})["stem"]
            found.append((other, distance, path, card))
    found.sort(key=lambda entry: entry[:3])
    return [(path, _with_widths(config, card)) for _, _, path, card in found]


def _with_widths(config: TrainingConfig, card: AFDCard) -> TrainingConfig:
    return replace(
        config,
        fe_width=config.fe_width or card.config.fe_width,
        stage_widths=config.stage_widths if config.stage_widths is not None else card.config.stage_widths,
        fde_width=config.fde_width or card.config.fde_width,
        fdm_channels=config.fdm_channels or card.config.fdm_channels,
    )


def _same_shapes(own: BackboneLayers, others: BackboneLayers) -> bool:
    pairs = zip((own.stem, *own.stages), (others.stem, *others.stages), strict=False)
    return len(own.stages) == len(others.stages) and all(_shape(a) == _shape(b) for a, b in pairs)


def _shape(layer: FeatureLayer) -> Sequence[object]:
    # At 240 pixels the last stage of stride 32 gives 8 cells, of 30 pixels each.
    return layer.channels, round(math.log2(layer.stride)), layer.non_negative
