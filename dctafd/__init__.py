"""Classify JPEG photos from what is really in the file: quantised DCT coefficients and quantisation tables.

Importing this package is light: each public name is loaded on first use, torch only where it is needed.

>>> import dctafd
>>> jpeg = dctafd.read("photo.jpg")                     # doctest: +SKIP
>>> dctafd.estimate_quality(jpeg).value                 # doctest: +SKIP
75
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dctafd.jpeg.coefficients import Component, JpegCoefficients, JpegHeader
    from dctafd.jpeg.errors import (
        ArchiveError,
        CorruptJpegError,
        DctafdError,
        LimitExceededError,
        MissingExtraError,
        NotAJpegError,
        ResumeError,
        UnsupportedJpegError,
        WeightsError,
    )
    from dctafd.jpeg.history import HistoryEstimate, estimate_history
    from dctafd.jpeg.pixels import decode
    from dctafd.jpeg.quality import QualityEstimate, estimate_quality
    from dctafd.jpeg.reader import read, read_header
    from dctafd.nets.afd import AFDModule
    from dctafd.nets.attach import attach
    from dctafd.pipeline.classifier import Classifier, load_classifier
    from dctafd.pipeline.model_input import ModelInput
    from dctafd.pipeline.prepare import prepare
    from dctafd.pipeline.results import Result

_HOME = {
    "AFDModule": "dctafd.nets.afd",
    "ArchiveError": "dctafd.jpeg.errors",
    "Classifier": "dctafd.pipeline.classifier",
    "Component": "dctafd.jpeg.coefficients",
    "CorruptJpegError": "dctafd.jpeg.errors",
    "DctafdError": "dctafd.jpeg.errors",
    "HistoryEstimate": "dctafd.jpeg.history",
    "JpegCoefficients": "dctafd.jpeg.coefficients",
    "JpegHeader": "dctafd.jpeg.coefficients",
    "LimitExceededError": "dctafd.jpeg.errors",
    "MissingExtraError": "dctafd.jpeg.errors",
    "ModelInput": "dctafd.pipeline.model_input",
    "NotAJpegError": "dctafd.jpeg.errors",
    "QualityEstimate": "dctafd.jpeg.quality",
    "Result": "dctafd.pipeline.results",
    "ResumeError": "dctafd.jpeg.errors",
    "UnsupportedJpegError": "dctafd.jpeg.errors",
    "WeightsError": "dctafd.jpeg.errors",
    "attach": "dctafd.nets.attach",
    "decode": "dctafd.jpeg.pixels",
    "estimate_history": "dctafd.jpeg.history",
    "estimate_quality": "dctafd.jpeg.quality",
    "load_classifier": "dctafd.pipeline.classifier",
    "prepare": "dctafd.pipeline.prepare",
    "read": "dctafd.jpeg.reader",
    "read_header": "dctafd.jpeg.reader",
}
"""The module that each public name lives in."""

__version__ = "0.1.0"
__all__ = [
    "AFDModule",
    "ArchiveError",
    "Classifier",
    "Component",
    "CorruptJpegError",
    "DctafdError",
    "HistoryEstimate",
    "JpegCoefficients",
    "JpegHeader",
    "LimitExceededError",
    "MissingExtraError",
    "ModelInput",
    "NotAJpegError",
    "QualityEstimate",
    "Result",
    "ResumeError",
    "UnsupportedJpegError",
    "WeightsError",
    "attach",
    "decode",
    "estimate_history",
    "estimate_quality",
    "load_classifier",
    "prepare",
    "read",
    "read_header",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dctafd' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
