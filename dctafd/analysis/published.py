"""Figures that others published, to stand beside one's own: the AFD paper's Tables V and VI.

Peng, Cao, Sun and Wang, IEEE Transactions on Multimedia 26 (2024), 6424-6436, arXiv 2401.01724; ImageNet
validation photos, top-1 in per cent, as the authors' repository shows the tables. Other photos or another
checkpoint of the same network have other figures: compare what is gained rather than what is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from dctafd.analysis.evaluation_rows import EvaluationRow

#: Of ImageNet-C's jpeg_compression, by severity (make_imagenet_c.py).
SEVERITY_QUALITIES = MappingProxyType({1: 25, 2: 18, 3: 15, 4: 10, 5: 7})


@dataclass(frozen=True, slots=True)
class PublishedTop1:
    """Top-1 of one network, (without, with the AFD-Module).

    Attributes:
        network: its name.
        by_quality: Table V, one compression.
        by_times: Table VI, so many compressions at qualities drawn from 7, 10, 15, 18 and 25.
    """

    network: str
    by_quality: Mapping[int, tuple[float, float]]
    by_times: Mapping[int, tuple[float, float]]


_RESNET50 = PublishedTop1(
    "ResNet-50",
    MappingProxyType(
        {25: (66.16, 67.10), 18: (62.47, 64.79), 15: (59.28, 62.91), 10: (47.50, 57.24), 7: (31.65, 49.02)}
    ),
    MappingProxyType(
        {1: (53.33, 59.58), 2: (45.44, 54.85), 3: (40.31, 51.70), 4: (36.59, 49.41), 5: (34.19, 47.51)}
    ),
)
_REPVGG_A2 = PublishedTop1(
    "RepVGG-A2",
    MappingProxyType(
        {25: (65.59, 66.42), 18: (61.55, 63.25), 15: (58.24, 62.35), 10: (47.71, 56.31), 7: (34.20, 47.56)}
    ),
    MappingProxyType(
        {1: (53.44, 58.16), 2: (46.16, 53.57), 3: (41.76, 51.03), 4: (38.68, 48.89), 5: (36.19, 47.23)}
    ),
)


def published_top1(architecture: str) -> PublishedTop1:
    """Return the paper's figures: RepVGG-A2's for that network, ResNet-50's for every other."""
    return _REPVGG_A2 if architecture.lower().startswith("repvgg_a2") else _RESNET50


def beside_published(row: EvaluationRow, published: PublishedTop1) -> EvaluationRow:
    """Return the row with what the paper has for its quality, compressions or severity, if it has."""
    found = None
    if row.times is not None:
        found = published.by_times.get(row.times)
    elif row.quality is not None:
        found = published.by_quality.get(row.quality)
    elif row.folder is not None and row.mean_of is None:
        *_, corruption, severity = ("", "", *row.folder.split("/"))
        if severity.isdecimal() and corruption in ("", "jpeg_compression"):
            found = published.by_quality.get(SEVERITY_QUALITIES.get(int(severity), 0))
    if found is None:
        return row
    return replace(row, paper_direct_top1=found[0], paper_afd_top1=found[1])
