"""One photo's classification and its record, as every format writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dctafd.inputs.source_items import readable
from dctafd.plain_text import reason

RECORD_KEYS = (
    "source",
    "member",
    "width",
    "height",
    "color_space",
    "process",
    "subsampling",
    "quality",
    "quality_exact",
    "primary_quality",
    "drift",
    "model",
    "afd",
    "predictions",
    "warnings",
    "error",
)

#: What a photo is called whose best score is below the least that was asked for.
UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One of the most probable classes.

    Attributes:
        index: the class, 0-based, as the model numbers them.
        label: its name.
        score: its probability, 0..1.
    """

    index: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a source gave no prediction.

    Attributes:
        type: the exception's class, such as "NotAJpegError".
        message: what it says.
    """

    type: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Describe an exception."""
        return cls(type(error).__name__, readable(reason(error, named=True)))


@dataclass(frozen=True, slots=True)
class Result:
    """What was found out about one source.

    Attributes:
        source: the path of the file or archive, "-" for stdin.
        member: the name inside the archive, None for a file.
        width, height: size in pixels as stored; None, like all that follows, where the file was not read.
        color_space, process, subsampling: as `dctafd.read` names them.
        quality, quality_exact: the tables' quality and whether they are exactly that quality's.
        primary_quality: quality of an earlier, coarser compression, None without a sign of one.
        drift: mean of the first channel of the Feature Drifting Map; None without an AFD-Module.
        model: the name of the classifier.
        afd: the name of the AFD-Module that corrected it, None without one.
        predictions: the most probable classes, best first.
        unsure: whether the best score is below the least that was asked for (`load_classifier`'s
            `min_score`); None where none was.
        warnings: what was wrong with the file but did not prevent classifying it.
        error: why there are no predictions, or None.
        thumbnail: a small JPEG file of what the network saw, where one was asked for; no part of the record.
        kept: what was carried over from the source, by name; None where nothing was.
    """

    source: str
    member: str | None = None
    width: int | None = None
    height: int | None = None
    color_space: str | None = None
    process: str | None = None
    subsampling: str | None = None
    quality: int | None = None
    quality_exact: bool | None = None
    primary_quality: int | None = None
    drift: float | None = None
    model: str | None = None
    afd: str | None = None
    predictions: tuple[Prediction, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Failure | None = None
    thumbnail: bytes | None = field(default=None, repr=False, compare=False)
    unsure: bool | None = None
    kept: Mapping[str, Any] | None = None

    @property
    def best_label(self) -> str | None:
        """What to call the photo: the best class, "unsure" where its score is too low; None without any."""
        if not self.predictions:
            return None
        return UNSURE if self.unsure else self.predictions[0].label

    def to_record(self) -> dict[str, Any]:
        """Return the result as plain dicts and lists, with the keys of `RECORD_KEYS` in their order.

        Where a least score was asked for there is a key more, `unsure`; where something was carried over,
        `kept` follows.
        """
        record: dict[str, Any] = {key: getattr(self, key) for key in RECORD_KEYS}
        record["predictions"] = [
            {"index": best.index, "label": best.label, "score": best.score} for best in self.predictions
        ]
        record["warnings"] = list(self.warnings)
        if self.error is not None:
            record["error"] = {"type": self.error.type, "message": self.error.message}
        if self.unsure is not None:
            record["unsure"] = self.unsure
        if self.kept is not None:
            record["kept"] = dict(self.kept)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Result:
        """Return the result that `to_record` described."""
        fields = dict(record)
        fields["predictions"] = tuple(Prediction(**best) for best in record["predictions"])
        fields["warnings"] = tuple(record["warnings"])
        fields["error"] = Failure(**record["error"]) if record["error"] else None
        return cls(**fields)
