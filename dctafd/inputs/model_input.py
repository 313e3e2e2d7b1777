"""What a corrected classifier reads of one photo, and how several make a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import JpegHeader
from dctafd.plain_text import summary

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """One photo as the classifier and FDE-Net see it; the grid has G = crop // 8 cells a side.

    Each cell of the grid covers 8x8 pixels of the classifier's crop and holds the coefficients of the
    stored block under the cell's centre, turned and mirrored with the photo's EXIF orientation.

    Attributes:
        pixels: (3, crop, crop) float32, RGB, normalised with the classifier's mean and deviation.
        coefficients: (192, G, G) int16, dequantised Y, Cb, Cr in natural order, 64 each (zeros for the chroma
            of a gray photo), clipped to +-16384; float32 where they were converted from RGB or CMYK.
        steps: (192,) float32, the quantisation steps of those coefficients; 0 where there is no component.
        survival: (192,) float32, what share of the noise of each step survives the resize
            (`dctafd.inputs.survival`); 1 where nothing is resized.
        scale: (2,) float32, stored pixels per classifier pixel, vertically and horizontally.
        primary_quality: quality of an earlier, coarser compression, or None where there is no sign of one.
        header: the file's header facts.
        thumbnail: (height, width, 3) uint8, RGB, upright: the crop without padding, where one was asked for.
    """

    pixels: NDArray[np.float32]
    coefficients: NDArray[np.int16] | NDArray[np.float32]
    steps: NDArray[np.float32]
    survival: NDArray[np.float32]
    scale: NDArray[np.float32]
    primary_quality: int | None
    header: JpegHeader
    thumbnail: NDArray[np.uint8] | None = None

    __repr__ = summary


@dataclass(frozen=True, slots=True, eq=False)
class InputBatch:
    """B model inputs as tensors, in the order in which a corrected classifier takes them.

    Attributes:
        pixels: (B, 3, S, S) float32.
        coefficients: (B, 192, G, G) float32.
        steps: (B, 192) float32, quantisation steps.
        survival: (B, 192) float32.
        scale: (B, 2) float32.
        primary_quality: (B,) float32, 0 where unknown.
    """

    pixels: torch.Tensor
    coefficients: torch.Tensor
    steps: torch.Tensor
    survival: torch.Tensor
    scale: torch.Tensor
    primary_quality: torch.Tensor

    __repr__ = summary

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> InputBatch:
        """Return the batch on `device`, copied without blocking where the source is pinned."""
        return InputBatch(*(tensor.to(device, dtype, non_blocking=True) for tensor in self.tensors()))

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return the tensors in the order of a corrected classifier's arguments."""
        return (
            self.pixels,
            self.coefficients,
            self.steps,
            self.survival,
            self.scale,
            self.primary_quality,
        )


#: An array with one row a photo, or the rows in a list, which are stacked when they are needed together.
Stack = NDArray[Any] | list[NDArray[Any]]


def batch_of(inputs: Sequence[ModelInput]) -> tuple[Stack, ...]:
    """Put model inputs of one crop size together, in the order of `InputBatch`.

    Pixels and coefficients, which are large, are lists of one array a photo, the others arrays of float32.

    Raises:
        ValueError: there are none, or their crops have different sizes.
    """
    crops = {item.pixels.shape for item in inputs}
    if len(crops) != 1:
        shown = " and ".join(str(shape[1]) for shape in sorted(crops)) or "none"
        raise ValueError(f"a batch is made of inputs of one crop size, not of {shown}")
    return (
        [item.pixels for item in inputs],
        [item.coefficients for item in inputs],
        *(np.stack([getattr(item, name) for item in inputs]) for name in ("steps", "survival", "scale")),
        np.array([item.primary_quality or 0 for item in inputs], np.float32),
    )


def stack_inputs(inputs: Sequence[ModelInput]) -> tuple[NDArray[Any], ...]:
    """Stack model inputs of one crop size into arrays, in the order of `InputBatch`; errors as `batch_of`.

    All are float32 but for the coefficients, which are int16 where those of all photos are.
    """
    return tuple(stacked(stack) for stack in batch_of(inputs))


def stacked(stack: Stack) -> NDArray[Any]:
    """Return a stack as one array."""
    return stack if isinstance(stack, np.ndarray) else np.stack(stack)


def tensors_of(arrays: Sequence[NDArray[Any]]) -> tuple[torch.Tensor, ...]:
    """Return the arrays of `stack_inputs` as float32 tensors."""
    import torch

    return tuple(torch.from_numpy(array).float() for array in arrays)


def collate(inputs: Sequence[ModelInput]) -> InputBatch:
    """Stack model inputs of one crop size into a batch of tensors.

    Raises:
        ValueError: there are none, or their crops have different sizes.

    Example:
        >>> dctafd.collate([dctafd.prepare("photo.jpg")] * 2).pixels.shape
        torch.Size([2, 3, 224, 224])
    """
    return InputBatch(*tensors_of(stack_inputs(inputs)))
