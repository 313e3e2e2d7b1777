"""Value objects that several rooms pass on: one object for one idea, never several loose arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DEFAULT_MODEL = "efficientnet_lite0"
"""The classifier where none is named."""

MAX_PIXELS = 178_956_970
"""Default limit of pixels; Pillow's limit for an error."""

MAX_SCANS = 500
"""Default limit of scans, as NVIDIA DALI has it; encoders write about ten."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost, and how much damage in it is put up with.

    Attributes:
        max_pixels: pixels allowed; the memory used is in proportion.
        max_scans: scans allowed.
        strict: raise where coefficients are missing or damaged, instead of noting it in `warnings`.
        threads: that may work on one large file; 1 where others are read beside it.

    Raises:
        ValueError: `threads` is no whole number, or less than 1.
    """

    max_pixels: int = MAX_PIXELS
    max_scans: int = MAX_SCANS
    strict: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ValueError(f"threads is a whole number, at least 1, not {self.threads!r}")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a classifier expects of its pixels.

    Attributes:
        resize: shorter side after resizing, in pixels.
        crop: side of the centre crop.
        mean, std: normalisation of RGB in 0..1.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Preprocessing:
        """Read what a weights file or a cache has of it.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        (red, green, blue), (red_std, green_std, blue_std) = (
            [float(value) for value in record[name]] for name in ("mean", "std")
        )
        return cls(
            int(record["resize"]), int(record["crop"]), (red, green, blue), (red_std, green_std, blue_std)
        )


@dataclass(frozen=True, slots=True)
class PreprocessingChanges:
    """What a checkpoint expects of its pixels where it is not what its model usually expects; None for that.

    Attributes:
        resize: shorter side after resizing, in pixels.
        crop: side of the centre crop, a multiple of 8.
        mean, std: normalisation of RGB in 0..1.
    """

    resize: int | None = None
    crop: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is not None, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


UNCHANGED = PreprocessingChanges()
"""What the model usually expects."""


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET = Preprocessing(256, 224, IMAGENET_MEAN, IMAGENET_STD)
"""What most classifiers of ImageNet expect."""


RUNTIMES = ("auto", "torch", "openvino", "onnxruntime")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs a network, where and in which precision.

    Attributes:
        name: one of `RUNTIMES`.
        device: "auto" (CUDA where there is a device), "cpu", "cuda", "cuda:1" ...
        dtype: one of `DTYPES`.

    Raises:
        ValueError: an unknown name or dtype.
    """

    name: str = "auto"
    device: str = "auto"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.name not in RUNTIMES:
            raise ValueError(f"runtime {self.name!r}; it is one of {', '.join(RUNTIMES)}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r}; it is one of {', '.join(DTYPES)}")
