"""CutMix on cached views: pastes a box of one view into another, in pixels and in the teacher's features."""

from __future__ import annotations

import random

import torch

from builtin_training.student import Targets
from builtin_training.views import UNLABELLED

SMALLEST, LARGEST = 0.3, 0.8  # sides of the pasted box, as shares of the view's side
GRID = 6  # the teacher's coarsest cells a side: boxes end on their borders


def paste_neighbours(pixels: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, Targets]:
    """Paste a box of each view's neighbour in the batch into it (CutMix, Yun et al. 2019).

    The teacher's maps are pasted alike and its pooled features and answers are averaged by area: it is not
    asked again, so what it sees across the box's border is left out.

    Args:
        pixels: (B, 3, S, S).
        targets: what these views teach, from `BatchMaker`.

    Returns:
        Mixed pixels and targets of the same shapes, without labels.
    """
    top, height = _span()
    left, width = _span()

    def paste(maps: torch.Tensor) -> torch.Tensor:
        rows = slice(*(round(edge * maps.shape[2] / GRID) for edge in (top, top + height)))
        columns = slice(*(round(edge * maps.shape[3] / GRID) for edge in (left, left + width)))
        pasted = maps.clone()
        pasted[:, :, rows, columns] = maps.roll(1, 0)[:, :, rows, columns]
        return pasted

    share = height * width / GRID**2
    return paste(pixels), Targets(
        soft=targets.soft.lerp(targets.soft.roll(1, 0), share),
        labels=torch.full_like(targets.labels, UNLABELLED),
        pooled=targets.pooled.lerp(targets.pooled.roll(1, 0), share),
        deep=paste(targets.deep),
        middle=paste(targets.middle),
    )


def _span() -> tuple[int, int]:
    """Return a random (first cell, cells) of the grid."""
    cells = round(GRID * random.uniform(SMALLEST, LARGEST))
    return random.randint(0, GRID - cells), cells
