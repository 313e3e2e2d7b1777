"""One input on its way to the network: read, decoded and described, or why not."""

from __future__ import annotations

from dataclasses import dataclass

from dctafd.config import Limits, Preprocessing
from dctafd.inference.results import Failure
from dctafd.inputs.model_input import ModelInput
from dctafd.inputs.prepare import prepare_for
from dctafd.inputs.source_items import SourceItem
from dctafd.jpeg.quality import QualityEstimate, estimate_quality


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPhoto:
    """A photo that could be read.

    Attributes:
        model_input: what the network reads; its `header` says what the file is.
        quality: of the quantisation tables.
    """

    model_input: ModelInput
    quality: QualityEstimate


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One input, good or bad.

    Attributes:
        origin: where it came from, without its bytes.
        size: bytes read.
        outcome: the photo, or why there is none.
    """

    origin: SourceItem
    size: int
    outcome: PreparedPhoto | Failure


def prepare_item(item: SourceItem, preprocessing: Preprocessing, limits: Limits = Limits()) -> Prepared:
    """Read one input and make of it what the network needs; thread-safe, and never raises for a bad file."""
    size = 0
    try:
        data = item.read()
        size = len(data)
        model_input = prepare_for(data, preprocessing, limits)
        outcome: PreparedPhoto | Failure = PreparedPhoto(model_input, estimate_quality(model_input.header))
    except Exception as error:  # whatever a hostile file sets off belongs to that file's record
        outcome = Failure.of(error)
    return Prepared(item.origin(), size, outcome)
