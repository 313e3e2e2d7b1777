"""Views of photos: which part is shown, at what size, and what is pasted into it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dctafd.training.degrade import Degradation, view_size

Photo = NDArray[np.uint8]

_ZOOMS = (0.65, 1.0)  # of the largest box that a view can show
_MARGIN = 14  # most view pixels that grid shifts take before or after a box, 7 for each compression
_PATCH_SIDES = (0.3, 0.8)  # of the view's


def random_view(
    photo: Photo, size: tuple[int, int], rng: np.random.Generator, part: float = 1.0, stretch: float = 1.0
) -> Photo:
    """Cut out a random box, resize it to `size` (height, width), mirror every other one.

    Args:
        photo: (height, width, 3).
        size: of the view.
        rng: draws the box.
        part: how much of the classifier's side the view is to show, 0..1: the smaller, the smaller the box,
            so that the view is no finer than one of full size.
        stretch: views are squeezed or stretched by up to this factor, at least 1.
    """
    (top, left), zooms = _draw_box(photo, size, rng, part, stretch)
    view = _cut(photo, (top, left), zooms, size)
    return np.ascontiguousarray(view[:, ::-1]) if rng.random() < 0.5 else view


def _draw_box(
    photo: Photo, size: tuple[int, int], rng: np.random.Generator, part: float, stretch: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Draw the (top, left) of a box in the photo, and its photo pixels per view pixel, down and across."""
    height, width = size
    # The ratio of sides is drawn as torchvision's RandomResizedCrop draws it.
    ratio = float(np.exp(rng.uniform(-1, 1) * np.log(stretch))) if stretch > 1 else 1.0
    largest = part * min(photo.shape[0] / height, photo.shape[1] / (ratio * width))
    down = largest * rng.uniform(*_ZOOMS)
    across = ratio * down
    top = rng.uniform(0, max(0.0, photo.shape[0] - down * height))
    left = rng.uniform(0, max(0.0, photo.shape[1] - across * width))
    return (top, left), (down, across)


def _cut(
    photo: Photo, corner: tuple[float, float], zooms: tuple[float, float], size: tuple[int, int]
) -> Photo:
    """Cut the box at `corner` (top, left), `zooms` photo pixels per pixel, and resize it to `size`."""
    (top, left), (down, across), (height, width) = corner, zooms, size
    bottom, right = min(top + down * height, photo.shape[0]), min(left + across * width, photo.shape[1])
    image = Image.fromarray(photo)
    box = (max(left, 0.0), max(top, 0.0), right, bottom)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))


@dataclass(frozen=True, slots=True)
class FixedCrop:
    """A part of a photo that a training sees again and again, each time compressed in another way.

    It may lie anywhere in the photo: where a block grid needs pixels beyond it, they mirror its border.

    Attributes:
        top, left: of the box in the photo (mirrored, if it is), in photo pixels.
        zoom: photo pixels per classifier pixel, down the photo.
        stretch: the same across the photo, as a multiple of `zoom`.
        mirrored: whether the photo is mirrored first.
    """

    top: float
    left: float
    zoom: float
    mirrored: bool
    stretch: float = 1.0

    @classmethod
    def draw(
        cls, photo: Photo, crop: int, rng: np.random.Generator, part: float = 1.0, stretch: float = 1.0
    ) -> FixedCrop:
        """Draw one for a view of `crop` pixels a side; `part` and `stretch` as in `random_view`."""
        (top, left), (down, across) = _draw_box(photo, (crop, crop), rng, part, stretch)
        return cls(top, left, down, bool(rng.random() < 0.5), across / down)

    def cut(self, photo: Photo, crop: int, degradation: Degradation | None = None) -> Photo:
        """Return the view of `view_size` from which `degrade` makes the crop; without one, the crop."""
        if self.mirrored:
            photo = np.ascontiguousarray(photo[:, ::-1])
        if degradation is None:
            return _cut(photo, (self.top, self.left), (self.zoom, self.zoom * self.stretch), (crop, crop))
        *margins, shown, _ = crop_window(degradation, crop)
        zooms = np.array([self.zoom, self.zoom * self.stretch])
        finer = zooms * crop / shown
        border = math.ceil(_MARGIN * max(*finer, *zooms))
        photo = np.pad(photo, ((border, border), (border, border), (0, 0)), "reflect")
        top, left = np.array([self.top, self.left]) + border - finer * np.array(margins)
        return _cut(photo, (float(top), float(left)), tuple(finer), view_size(degradation, crop))


def crop_window(degradation: Degradation, crop: int) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of what the classifier gets to see, in a view of `view_size`."""
    rows, columns = degradation.second_shift
    if degradation.scale == 1.0:
        return rows + degradation.shift[0], columns + degradation.shift[1], crop, crop
    height, width = view_size(degradation, crop)
    return rows, columns, height - rows, width - columns


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of a view that shows another photo (CutMix, Yun et al. 2019), as shares of its sides.

    Labels are not mixed: the teacher sees the pasted view, too, and its answer is what is learnt.

    Attributes:
        top, left, height, width: 0..1.
    """

    top: float
    left: float
    height: float
    width: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patch:
        """Draw a patch of 9 to 64 % of the view, anywhere in it."""
        height, width = rng.uniform(*_PATCH_SIDES, 2)
        return cls(rng.uniform(0, 1 - height), rng.uniform(0, 1 - width), height, width)

    def paste(self, source: Photo, target: Photo, window: tuple[int, int, int, int]) -> Photo:
        """Return `target` (height, width, 3) with this part of `source`, a view of the same size.

        Args:
            source: what is pasted.
            target: what it is pasted into; left as it is.
            window: (top, left, height, width) of the part of both that the shares are of (`crop_window`).
        """
        top, left, height, width = window
        rows = slice(top + round(self.top * height), top + round((self.top + self.height) * height))
        columns = slice(left + round(self.left * width), left + round((self.left + self.width) * width))
        pasted = target.copy()
        pasted[rows, columns] = source[rows, columns]
        return pasted
