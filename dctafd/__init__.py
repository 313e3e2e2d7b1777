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
    from dctafd.analysis.dataset_stats import dataset_statistics
    from dctafd.analysis.drift import measure_drift
    from dctafd.analysis.evaluate import evaluate
    from dctafd.analysis.jpeg_dataset import JpegDataset
    from dctafd.analysis.proven_training import train
    from dctafd.config import Limits, Preprocessing
    from dctafd.errors import (
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
    from dctafd.inference.classifier import Classifier
    from dctafd.inference.loading import load_classifier
    from dctafd.inference.results import Result
    from dctafd.inputs.model_input import InputBatch, ModelInput, collate
    from dctafd.inputs.prepare import prepare
    from dctafd.jpeg.coefficients import Component, JpegCoefficients, JpegHeader
    from dctafd.jpeg.history import HistoryEstimate, estimate_history
    from dctafd.jpeg.pixels import decode
    from dctafd.jpeg.quality import QualityEstimate, estimate_quality
    from dctafd.jpeg.reader import read, read_header
    from dctafd.nets.afd import AFDModule
    from dctafd.nets.afd_weights import load_afd
    from dctafd.nets.attach import attach
    from dctafd.nets.registry import load_backbone

_HOME = {
    "AFDModule": "dctafd.nets.afd",
    "ArchiveError": "dctafd.errors",
    "Classifier": "dctafd.inference.classifier",
    "Component": "dctafd.jpeg.coefficients",
    "CorruptJpegError": "dctafd.errors",
    "DctafdError": "dctafd.errors",
    "HistoryEstimate": "dctafd.jpeg.history",
    "InputBatch": "dctafd.inputs.model_input",
    "JpegCoefficients": "dctafd.jpeg.coefficients",
    "JpegDataset": "dctafd.analysis.jpeg_dataset",
    "JpegHeader": "dctafd.jpeg.coefficients",
    "LimitExceededError": "dctafd.errors",
    "Limits": "dctafd.config",
    "MissingExtraError": "dctafd.errors",
    "ModelInput": "dctafd.inputs.model_input",
    "NotAJpegError": "dctafd.errors",
    "Preprocessing": "dctafd.config",
    "QualityEstimate": "dctafd.jpeg.quality",
    "Result": "dctafd.inference.results",
    "ResumeError": "dctafd.errors",
    "UnsupportedJpegError": "dctafd.errors",
    "WeightsError": "dctafd.errors",
    "attach": "dctafd.nets.attach",
    "collate": "dctafd.inputs.model_input",
    "dataset_statistics": "dctafd.analysis.dataset_stats",
    "decode": "dctafd.jpeg.pixels",
    "estimate_history": "dctafd.jpeg.history",
    "estimate_quality": "dctafd.jpeg.quality",
    "evaluate": "dctafd.analysis.evaluate",
    "load_afd": "dctafd.nets.afd_weights",
    "load_backbone": "dctafd.nets.registry",
    "load_classifier": "dctafd.inference.loading",
    "measure_drift": "dctafd.analysis.drift",
    "prepare": "dctafd.inputs.prepare",
    "read": "dctafd.jpeg.reader",
    "read_header": "dctafd.jpeg.reader",
    "train": "dctafd.analysis.proven_training",
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
    "InputBatch",
    "JpegCoefficients",
    "JpegDataset",
    "JpegHeader",
    "LimitExceededError",
    "Limits",
    "MissingExtraError",
    "ModelInput",
    "NotAJpegError",
    "Preprocessing",
    "QualityEstimate",
    "Result",
    "ResumeError",
    "UnsupportedJpegError",
    "WeightsError",
    "attach",
    "collate",
    "dataset_statistics",
    "decode",
    "estimate_history",
    "estimate_quality",
    "evaluate",
    "load_afd",
    "load_backbone",
    "load_classifier",
    "measure_drift",
    "prepare",
    "read",
    "read_header",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dctafd' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
