"""What a recipe does to weights files besides training: means, pruning, leaving FE-Net out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dctafd.errors import WeightsError
from dctafd.nets.afd_weights import load_afd, read_afd_card, save_afd
from dctafd.nets.attach import attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.prune import PrunedWidths, collect_moments, prune
from dctafd.nets.registry import Backbone
from dctafd.training.data import collate_pairs, make_pair
from dctafd.training.degrade import Degradation
from dctafd.training.views import FixedCrop, Photo

QUALITIES = (7, 9, 11, 14, 18, 23, 30, 40)  # evenly spread as trainings draw them, in logarithms


def write_mean(before: Path, after: Path, output: Path) -> None:
    """Write the mean of two weights files of one lineage; the card is the second's, and tells of the first.

    Its `quiet_drift` is the second's, too: it has to be chosen anew.

    Weights that lie on one path of training, or on two from the same weights, can be averaged and often do
    better than either (Wortsman et al. 2022, Model soups).

    Raises:
        WeightsError: their modules are built differently, or not re-parameterised.
    """
    cards = [read_afd_card(path) for path in (before, after)]
    built = [replace(card.config, quiet_drift=0.0) for card in cards]
    if built[0] != built[1] or not all(card.reparameterized for card in cards):
        raise WeightsError(f"{before.name} and {after.name} have no mean: they are not built alike")
    first, mean = load_afd(before).state_dict(), load_afd(after)
    with torch.no_grad():
        for name, value in mean.state_dict().items():
            value.lerp_(first[name], 0.5)
    known = cards[1].training.get("earlier", [])
    own_way = [run for run in cards[0].training.get("earlier", []) if run not in known]
    training = {**cards[1].training, "averaged_with": {**cards[0].training, "earlier": own_way}}
    save_afd(output, mean, replace(cards[1], training=training))


def write_with_fde_net(before: Path, after: Path, output: Path) -> None:
    """Write the module of before with FDE-Net as a training made it; the card is the training's.

    Its quiet drift follows from FDE-Net, so it holds; its verdict is not of this module and is left out.
    """
    afd, card = load_afd(before), read_afd_card(after)
    afd.fde.load_state_dict(load_afd(after).fde.state_dict())
    training = {key: value for key, value in card.training.items() if key != "verdict"}
    save_afd(output, afd, replace(card, training={**training, "fde_net_alone": True}))


def write_pruned(
    wide: Path, output: Path, widths: PrunedWidths, backbone: Backbone, photos: Sequence[Photo]
) -> dict[str, float]:
    """Write a narrower module, without training again.

    Args:
        wide: a re-parameterised module's weights file.
        output: the narrower one's.
        widths: channels that stay.
        backbone: the classifier.
        photos: which tell what channels the others can stand in for (`dctafd/nets/prune.py`).

    Returns:
        The share of what it made, by energy, that each part lost.
    """
    afd, card = load_afd(wide).reparameterize(), read_afd_card(wide)
    classifier = attach(fold_batch_norms(backbone.module), afd).eval()
    pruned, lost = prune(afd, collect_moments(classifier, _views(photos, backbone)), widths)
    training = dict(card.training)
    if pruned.config != card.config:  # else it was as narrow before, and may tell of another pruning
        before = {field.name: getattr(card.config, field.name) for field in fields(PrunedWidths)}
        training["pruned_from"] = {**before, "photos": len(photos), "qualities": QUALITIES}
    save_afd(output, pruned, replace(card, config=pruned.config, reparameterized=True, training=training))
    return lost


def _views(photos: Sequence[Photo], backbone: Backbone) -> Iterator[tuple[Tensor, ...]]:
    """Yield one view of each photo, saved at one of the qualities in turn, as the classifier's arguments."""
    for number, photo in enumerate(photos):
        rng, crop = np.random.default_rng(number), backbone.spec.crop
        degradation = Degradation(QUALITIES[number % len(QUALITIES)])
        view = FixedCrop.draw(photo, crop, rng).cut(photo, crop, degradation)
        yield collate_pairs([make_pair(view, degradation, backbone.spec)]).compressed.tensors()


def write_without_fe_net(path: Path, output: Path) -> None:
    """Write a module that leaves the stem as it is, with all its other corrections."""
    afd, card = load_afd(path).reparameterize(), read_afd_card(path)
    without, training = afd.rebuilt({}, fe_width=0), {**card.training, "left_out": "FE-Net"}
    save_afd(output, without, replace(card, config=without.config, training=training))
