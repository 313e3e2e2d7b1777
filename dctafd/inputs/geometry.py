"""From stored pixels to the classifier's crop: orientation, resize, crop, and the block under each cell.

The arithmetic is that of torchvision's ``Resize(resize)`` and ``CenterCrop(crop)`` on Pillow images, sizes
and offsets rounded in the same way. "Upright" is the picture after its EXIF orientation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.sampling_geometry import Region

CELL = 8  # classifier pixels a side of one cell of the block grid


@dataclass(frozen=True, slots=True)
class Orientation:
    """Upright = the stored picture, mirrored along its own axes where said so, then transposed if so.

    Attributes:
        mirror_x, mirror_y: whether stored columns, stored rows run backwards.
        transpose: whether stored rows become columns of the upright picture.
    """

    mirror_x: bool
    mirror_y: bool
    transpose: bool

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return a view of (rows, columns, ...) stored values as seen upright."""
        pixels = pixels[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]
        return pixels.swapaxes(0, 1) if self.transpose else pixels

    def frequency_signs(self) -> NDArray[np.int32]:
        """Return the signs, (8, 8), that mirroring gives to stored frequencies: odd ones are negated."""
        signs = np.ones((8, 8), np.int32)
        if self.mirror_x:
            signs[:, 1::2] *= -1
        if self.mirror_y:
            signs[1::2, :] *= -1
        return signs


ORIENTATIONS = {
    1: Orientation(False, False, False),
    2: Orientation(True, False, False),
    3: Orientation(True, True, False),
    4: Orientation(False, True, False),
    5: Orientation(False, False, True),
    6: Orientation(False, True, True),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}
"""How to turn by EXIF orientation (Exif 2.3, tag 0x0112)."""


class PictureLayout(NamedTuple):
    """What the geometry depends on: stored size, EXIF orientation, (h, v) of each component."""

    width: int
    height: int
    orientation: int
    factors: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the upright picture.

    Attributes:
        size: pixels before the resize.
        resized: pixels after it.
        offset: where the crop starts in resized pixels; negative where the picture is padded.
        crop: pixels of the crop.
        mirrored: whether the stored axis runs the other way.
    """

    size: int
    resized: int
    offset: int
    crop: int
    mirrored: bool

    @property
    def first(self) -> int:
        """The first resized pixel inside the crop."""
        return max(self.offset, 0)

    @property
    def count(self) -> int:
        """Resized pixels inside the crop; the rest of the crop is padding."""
        return min(self.offset + self.crop, self.resized) - self.first

    def box(self, reduction: int) -> tuple[float, float, int]:
        """Return where the picture begins and ends among its reduced samples, and how many there are.

        The last reduced sample may reach beyond the picture; it comes first on a mirrored axis.
        """
        samples = -(-self.size // reduction)
        start = samples - self.size / reduction if self.mirrored else 0.0
        return start, start + self.size / reduction, samples

    def stored(self, start: int, stop: int, reduction: int) -> tuple[int, int]:
        """Map an interval of upright reduced samples, end exclusive, to stored ones."""
        samples = -(-self.size // reduction)
        return (samples - stop, samples - start) if self.mirrored else (start, stop)

    def cell_pixels(self) -> NDArray[np.intp]:
        """Return the stored pixel under each cell's centre, the nearest one where that is padding."""
        pixels = self._cell_centers() * self.size // self.resized
        pixels = np.minimum(np.maximum(pixels, 0), self.size - 1)
        return self.size - 1 - pixels if self.mirrored else pixels

    def cells_inside(self) -> NDArray[np.bool_]:
        """Return whether each cell's centre is inside the picture."""
        centers = self._cell_centers()
        return (centers >= 0) & (centers < self.resized)

    def _cell_centers(self) -> NDArray[np.intp]:
        return self.offset + np.arange(CELL // 2, self.crop, CELL)


@dataclass(frozen=True, slots=True)
class CropGeometry:
    """How the classifier's crop lies in a stored picture.

    Attributes:
        orientation: how the stored picture is turned.
        x, y: the axes of the upright picture.
    """

    orientation: Orientation
    x: Axis
    y: Axis

    @property
    def scale(self) -> NDArray[np.float32]:
        """Stored pixels per classifier pixel, vertically and horizontally as seen upright: (2,) float32."""
        return np.array([self.y.size / self.y.resized, self.x.size / self.x.resized], np.float32)

    @property
    def reduction(self) -> int:
        """The largest of 1, 2, 4 and 8 by which the picture may be decoded smaller before the resize.

        Pillow's ``draft`` mode chooses the same: not below the size that is resized to.
        """
        shrink = min(self.x.size // self.x.resized, self.y.size // self.y.resized)
        return next(reduction for reduction in (8, 4, 2, 1) if reduction <= max(shrink, 1))

    def stored_region(self, x: tuple[int, int], y: tuple[int, int], reduction: int) -> Region:
        """Map intervals of upright reduced samples, ends exclusive, to a region of the stored picture."""
        x, y = self.x.stored(*x, reduction), self.y.stored(*y, reduction)
        across, down = (y, x) if self.orientation.transpose else (x, y)
        return across[0], down[0], across[1], down[1]

    def grid_blocks(self, layout: PictureLayout) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return the rows and columns of each component's blocks under the cells, in stored order of axes.

        Rows go with the cells' rows, or with their columns where the picture is transposed.
        """
        across, down = (self.y, self.x) if self.orientation.transpose else (self.x, self.y)
        h_max, v_max = (max(axis) for axis in zip(*layout.factors, strict=True))
        rows, columns = down.cell_pixels(), across.cell_pixels()
        return [(rows * v // (v_max * 8), columns * h // (h_max * 8)) for h, v in layout.factors]


def crop_geometry(layout: PictureLayout, resize: int | None, crop: int) -> CropGeometry:
    """Return where the centre crop lies after the shorter side is resized to `resize` (None: not at all)."""
    orientation = ORIENTATIONS[layout.orientation]
    width, height = layout.width, layout.height
    mirrors = orientation.mirror_x, orientation.mirror_y
    if orientation.transpose:
        width, height = height, width
        mirrors = mirrors[::-1]
    short, long = min(width, height), max(width, height)
    resized_short, resized_long = (short, long) if resize is None else (resize, int(resize * long / short))
    resized_width, resized_height = (
        (resized_short, resized_long) if width <= height else (resized_long, resized_short)
    )
    return CropGeometry(
        orientation,
        Axis(width, resized_width, _crop_offset(resized_width, crop), crop, mirrors[0]),
        Axis(height, resized_height, _crop_offset(resized_height, crop), crop, mirrors[1]),
    )


def _crop_offset(resized: int, crop: int) -> int:
    """Return where ``CenterCrop`` starts; it pads a smaller picture first, more at its end."""
    if resized < crop:
        return -((crop - resized) // 2)
    return int(round((resized - crop) / 2.0))  # noqa: RUF046 - as torchvision writes it
