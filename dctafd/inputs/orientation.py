"""EXIF orientation: how the stored picture has to be turned to be seen upright (Exif 2.3, tag 0x0112)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
