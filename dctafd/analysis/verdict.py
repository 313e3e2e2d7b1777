"""Whether a module helps, as agreement on photos that were held out tells: `judge`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dctafd.analysis.evaluation import Evaluation
from dctafd.analysis.evaluation_rows import EvaluationRow

STRONG_QUALITIES = (7, 10, 15, 18, 25)
"""Where a module has to help: the AFD paper's qualities."""

GENTLE_QUALITY = 90
"""Where it must do no harm."""

PROVING_QUALITIES = (*STRONG_QUALITIES, 50, GENTLE_QUALITY)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a module helps.

    It helps where it makes the classifier agree more often with its own answer on the uncompressed photo: by
    the 95 % interval of the mean over `STRONG_QUALITIES`, without a loss at `GENTLE_QUALITY` that the
    interval shows, and without changing clearly more answers on uncompressed photos than compression at
    `GENTLE_QUALITY` changes by itself.

    Attributes:
        helps: whether all of that holds.
        photos: held-out photos that tell it.
        gain, gain_low, gain_high: points of agreement, mean over `STRONG_QUALITIES`, and their 95 % interval.
        gentle_gain, gentle_gain_low, gentle_gain_high: the same at `GENTLE_QUALITY`.
        changed: per cent of the answers on uncompressed photos that the module changes.
        changed_by_compression: per cent of the answers that compression at `GENTLE_QUALITY` changes.
        measure: "agreement".
    """

    helps: bool
    photos: int
    gain: float
    gain_low: float
    gain_high: float
    gentle_gain: float
    gentle_gain_low: float
    gentle_gain_high: float
    changed: float
    changed_by_compression: float
    measure: str = "agreement"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the weights file's card keeps them."""
        return asdict(self)

    def __str__(self) -> str:
        strong = f"{STRONG_QUALITIES[0]} to {STRONG_QUALITIES[-1]}"
        return (
            f"{'helps' if self.helps else 'does not help'}: agreement with the answer on the uncompressed "
            f"photo {self.gain:+.1f} points at qualities {strong} (95 %: {self.gain_low:+.1f}.."
            f"{self.gain_high:+.1f}), {self.gentle_gain:+.1f} at {GENTLE_QUALITY} "
            f"({self.gentle_gain_low:+.1f}..{self.gentle_gain_high:+.1f}); on uncompressed photos it changes "
            f"{self.changed:.1f} % of the answers, compression at {GENTLE_QUALITY} alone "
            f"{self.changed_by_compression:.1f} %; {self.photos} photos held out"
        )


def judge(evaluation: Evaluation) -> Verdict:
    """Say whether a module helps.

    Args:
        evaluation: agreement, protocol "single", at `PROVING_QUALITIES` at least.

    Raises:
        ValueError: it measured something else.
    """
    rows = {row.quality: row for row in evaluation.rows}
    if evaluation.measure != "agreement" or not {*STRONG_QUALITIES, GENTLE_QUALITY} <= set(rows):
        raise ValueError("the verdict needs agreement at the qualities 7, 10, 15, 18, 25 and 90")
    strong = evaluation.mean_over(STRONG_QUALITIES)
    gentle, clean = rows[GENTLE_QUALITY], evaluation.clean
    if clean is None or clean.afd_top1 is None or clean.afd_top1_high is None or gentle.direct_top1 is None:
        raise ValueError("the verdict needs a module")
    # Where compression changes no answer of 60 photos, it changes one of more: the middle of the interval.
    least = gentle.direct_top1
    if gentle.direct_top1_low is not None and gentle.direct_top1_high is not None:
        least = (gentle.direct_top1_low + gentle.direct_top1_high) / 2
    (gain, low, high), (gentle_gain, gentle_low, gentle_high) = map(_gain, (strong, gentle))
    no_harm = gentle_high >= 0 and clean.afd_top1_high >= least
    return Verdict(
        low > 0 and no_harm,
        evaluation.images,
        gain,
        low,
        high,
        gentle_gain,
        gentle_low,
        gentle_high,
        round(100 - clean.afd_top1, 4),
        round(100 - gentle.direct_top1, 4),
    )


def _gain(row: EvaluationRow) -> tuple[float, float, float]:
    return row.top1_gain or 0.0, row.top1_gain_low or 0.0, row.top1_gain_high or 0.0
