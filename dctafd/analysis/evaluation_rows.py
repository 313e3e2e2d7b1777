"""From photos' scores to the rows of an evaluation: shares, means and their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.photo_scores import BEST, MeasuredPhoto, NetworkScore
from dctafd.analysis.protocols import Condition

Measure = Literal["accuracy", "agreement"]

CONFIDENCE = 0.95
_DEVIATIONS = 1.959963984540054  # of the normal distribution, for that confidence
_BOOTSTRAP_SAMPLES = 10_000
_DECIMALS = 4
_AVERAGED = (
    *("direct_top1", "direct_top5", "afd_top1", "afd_top5", "top1_gain", "direct_kl", "afd_kl", "kl_gain"),
    *("paper_direct_top1", "paper_afd_top1"),
)
_ALWAYS = ("quality", "photos", "direct_top1", "direct_top5", "afd_top1", "afd_top5")


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """Photos under one condition; shares in per cent, None where there is no module.

    "Right" is the label where accuracy is measured, else the classifier's own answer on the uncompressed
    photo; top-5 is then the share of that answer's five best classes that are among the five best.

    Attributes:
        quality: of the JPEG compression; None where it is drawn, or the files are taken as they are.
        folder: of protocol "stored": what holds the class folders, such as "jpeg_compression/3".
        times: of protocol "repeated": how many times a photo was compressed.
        mean_of: how many rows this is the mean of; None for a row of its own.
        photos: how many were measured.
        table_quality, primary_quality: of protocol "stored": medians of the quality of the files' tables, and
            of an earlier, coarser compression that their coefficients tell of; None where there are none.
        direct_top1, direct_top5: without the module.
        afd_top1, afd_top5: with it.
        direct_top1_low, direct_top1_high, afd_top1_low, afd_top1_high: 95 % intervals (Wilson's).
        top1_gain: points of top-1 that the module gives.
        top1_gain_low, top1_gain_high: their 95 % interval (paired, by photo).
        regained: per cent of what compression took from top-1; None where it took nothing.
        direct_kl, afd_kl: mean KL divergence, in nats, from the answer on the uncompressed photo.
        kl_gain: by how much the module lowers it.
        kl_gain_low, kl_gain_high: its 95 % interval (paired, by photo).
        paper_direct_top1, paper_afd_top1: what the AFD paper has in this row.
    """

    quality: int | None
    folder: str | None = None
    times: int | None = None
    mean_of: int | None = None
    photos: int = 0
    table_quality: float | None = None
    primary_quality: float | None = None
    direct_top1: float | None = None
    direct_top5: float | None = None
    direct_top1_low: float | None = None
    direct_top1_high: float | None = None
    afd_top1: float | None = None
    afd_top5: float | None = None
    afd_top1_low: float | None = None
    afd_top1_high: float | None = None
    top1_gain: float | None = None
    top1_gain_low: float | None = None
    top1_gain_high: float | None = None
    regained: float | None = None
    direct_kl: float | None = None
    afd_kl: float | None = None
    kl_gain: float | None = None
    kl_gain_low: float | None = None
    kl_gain_high: float | None = None
    paper_direct_top1: float | None = None
    paper_afd_top1: float | None = None

    def to_dict(self, keys: Sequence[str] = ()) -> dict[str, Any]:
        """Return plain values for JSON: what every row has, `keys`, and what else is known."""
        record = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        kept = {*_ALWAYS, *keys}
        return {name: value for name, value in record.items() if value is not None or name in kept}


def condition_row(
    photos: Sequence[MeasuredPhoto],
    number: int,
    condition: Condition,
    measure: Measure,
    *,
    folder: str | None = None,
    clean_top1: float | None = None,
) -> EvaluationRow:
    """Sum up photos under one condition.

    Args:
        photos: measured ones, at least one.
        number: of the condition in `MeasuredPhoto.scores`.
        condition: what was done to them.
        measure: what their scores compare with.
        folder: that the photos are of, for protocol "stored".
        clean_top1: per cent right on the uncompressed photos, where it is known.
    """
    figures = _figures([photo.scores[number].uncorrected for photo in photos], "direct", measure)
    gains: dict[str, float] = {}
    if photos[0].scores[number].afd is not None:
        corrected = [photo.scores[number].afd for photo in photos]
        figures |= _figures([answer for answer in corrected if answer is not None], "afd", measure)
        gains["top1_gain"] = figures["afd_top1"] - figures["direct_top1"]
        right = right_answers(photos, number)
        gains["top1_gain_low"], gains["top1_gain_high"] = gain_interval(right[0], right[1])
        if clean_top1 is not None and clean_top1 > figures["direct_top1"]:
            gains["regained"] = 100 * gains["top1_gain"] / (clean_top1 - figures["direct_top1"])
        if measure == "agreement":
            before, after = _divergences(photos, number)
            gains["kl_gain"] = float((before - after).mean())
            gains |= _named("kl_gain", mean_interval(before - after))
    rounded: dict[str, Any] = {name: round(value, _DECIMALS) for name, value in (figures | gains).items()}
    row = EvaluationRow(condition.quality, folder, condition.times, photos=len(photos))
    row = replace(row, **rounded)
    if folder is None:
        return row
    return replace(
        row,
        table_quality=_median([photo.scores[number].table_quality for photo in photos]),
        primary_quality=_median([photo.scores[number].primary_quality for photo in photos]),
    )


def _figures(answers: Sequence[NetworkScore], name: str, measure: Measure) -> dict[str, float]:
    ranks = np.array([answer.rank for answer in answers])
    count = len(answers)
    low, high = share_interval(int((ranks < 1).sum()), count)
    figures = {
        f"{name}_top1": 100 * float((ranks < 1).mean()),
        f"{name}_top5": 100 * float((ranks < BEST).mean()),
        f"{name}_top1_low": 100 * low,
        f"{name}_top1_high": 100 * high,
    }
    if measure == "agreement":
        figures[f"{name}_top5"] = 100 * float(np.mean([answer.overlap for answer in answers]))
        figures[f"{name}_kl"] = float(np.mean([answer.divergence for answer in answers]))
    return figures


def _median(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if 2 * len(known) > len(values) else None


def right_answers(photos: Sequence[MeasuredPhoto], number: int) -> NDArray[np.bool_]:
    """Return whether each photo's best class is the wanted one, (2, photos): without and with the module."""
    scores = [photo.scores[number] for photo in photos]
    return np.array(
        [
            [score.uncorrected.rank < 1 for score in scores],
            [(score.afd or score.uncorrected).rank < 1 for score in scores],
        ]
    )


def _divergences(photos: Sequence[MeasuredPhoto], number: int) -> NDArray[np.float64]:
    scores = [photo.scores[number] for photo in photos]
    return np.array(
        [
            [score.uncorrected.divergence or 0.0 for score in scores],
            [(score.afd or score.uncorrected).divergence or 0.0 for score in scores],
        ]
    )


# Means ------------------------------------------------------------------------------------------------


def mean_row(
    rows: Sequence[EvaluationRow],
    photos: Sequence[Sequence[MeasuredPhoto]],
    numbers: Sequence[int],
    *,
    folder: str | None = None,
    clean_top1: float | None = None,
) -> EvaluationRow:
    """Return the mean over rows, each of which counts the same, as ImageNet-C's and the paper's means do.

    Its intervals follow photos through the rows: what one photo gains in several of them is one finding.

    Args:
        rows: at least one.
        photos: those of each row.
        numbers: of each row's condition in `MeasuredPhoto.scores`.
        folder: what the rows' folders have in common.
        clean_top1: per cent right on the uncompressed photos, where it is known.
    """
    means: dict[str, float] = {}
    for name in _AVERAGED:
        values = [getattr(row, name) for row in rows]
        if all(value is not None for value in values):
            means[name] = sum(values) / len(values)
    if "top1_gain" in means:
        means |= _gain_by_photo("top1_gain", rows, photos, numbers, right_answers, 100.0)
        if clean_top1 is not None and clean_top1 > means["direct_top1"]:
            means["regained"] = 100 * means["top1_gain"] / (clean_top1 - means["direct_top1"])
    if "kl_gain" in means:
        means |= _gain_by_photo("kl_gain", rows, photos, numbers, _divergences, -1.0)
    rounded: dict[str, Any] = {name: round(value, _DECIMALS) for name, value in means.items()}
    count = sum(row.photos for row in rows)
    row = EvaluationRow(None, folder, mean_of=len(rows), photos=count)
    return replace(row, **rounded)


def _gain_by_photo(
    key: str,
    rows: Sequence[EvaluationRow],
    photos: Sequence[Sequence[MeasuredPhoto]],
    numbers: Sequence[int],
    values: Callable[[Sequence[MeasuredPhoto], int], NDArray],
    factor: float,
) -> dict[str, float]:
    """Return the interval of the mean over rows of (with - without) * factor, by photos of the same name."""
    shares: dict[str, float] = {}
    for row, group, number in zip(rows, photos, numbers, strict=True):
        without, with_afd = values(group, number).astype(np.float64)
        weight = factor / (len(rows) * len(group))
        for photo, gain in zip(group, with_afd - without, strict=True):
            name = photo.name.removeprefix(f"{row.folder}/") if row.folder else photo.name
            shares[name] = shares.get(name, 0.0) + weight * float(gain)
    found = np.array(list(shares.values()))
    return _named(key, mean_interval(found), len(found))


def _named(key: str, interval: tuple[float, float] | None, factor: float = 1.0) -> dict[str, float]:
    if interval is None:
        return {}
    return {f"{key}_low": factor * interval[0], f"{key}_high": factor * interval[1]}


# Intervals --------------------------------------------------------------------------------------------


def gain_interval(
    uncorrected: NDArray[np.bool_], corrected: NDArray[np.bool_], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval, in points, of the gain in accuracy: a paired bootstrap over the photos.

    Each photo's difference is 1, 0 or -1, so that resampling photos is drawing from a multinomial.

    Args:
        uncorrected, corrected: (photos,), whether each answer was right.
        seed: of the resampling.
    """
    count = len(uncorrected)
    shares = [float((corrected & ~uncorrected).mean()), float((uncorrected & ~corrected).mean())]
    drawn = np.random.default_rng(seed).multinomial(count, [*shares, 1 - sum(shares)], _BOOTSTRAP_SAMPLES)
    gains = 100 * (drawn[:, 0] - drawn[:, 1]) / count
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(gains, [tail, 100 - tail])
    return float(low), float(high)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval, 0..1, of a share (Wilson, JASA 1927)."""
    share, z = hits / count, _DEVIATIONS
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of independent values (n,), normally distributed; None of one."""
    if len(values) < 2:
        return None
    mean = float(values.mean())
    half = _DEVIATIONS * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half
