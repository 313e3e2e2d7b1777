"""One input on its way to the network: read, decoded and described, or why not."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
        thumbnail: a small JPEG file of what the network sees, where one was asked for.
    """

    model_input: ModelInput
    quality: QualityEstimate
    thumbnail: bytes | None = None


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


def prepare_item(
    item: SourceItem, preprocessing: Preprocessing, limits: Limits = Limits(), thumbnail: int | None = None
) -> Prepared:
    """Read one input and make of it what the network needs; thread-safe, and never raises for a bad file."""
    size = 0
    try:
        data = item.read()
        size = len(data)
        model_input = prepare_for(data, preprocessing, limits, thumbnail)
        small = None if model_input.thumbnail is None else _small_file(model_input.thumbnail)
        quality = estimate_quality(model_input.header)
        outcome: PreparedPhoto | Failure = PreparedPhoto(model_input, quality, small)
    except Exception as error:  # whatever a hostile file sets off belongs to that file's record
        outcome = Failure.of(error)
    return Prepared(item.origin(), size, outcome)


def _small_file(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70, optimize=True)
    return file.getvalue()
