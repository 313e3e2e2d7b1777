"""Pictures of any kind as a viewer shows them, the classifier's crop of them, and JPEG files made of them.

This is Pillow's way, for originals that are to be compressed. What is classified goes through `prepare`.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dctafd.config import MAX_PIXELS
from dctafd.errors import DctafdError, LimitExceededError
from dctafd.inputs.geometry import PictureLayout, crop_geometry

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga"),
)
"""Names by which pictures are found in folders and archives."""

#: Formats that are opened; of Pillow's others some start programs (EPS) and some are no pictures.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "TGA")
_WHITE = (255, 255, 255, 255)


def is_picture_name(name: str) -> bool:
    """Return whether a file is named like a picture."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def is_jpeg(data: bytes) -> bool:
    """Return whether bytes begin as a JPEG file does."""
    return data[:3] == b"\xff\xd8\xff"


def decode_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return a picture as a viewer shows it, (height, width, 3) uint8 RGB.

    It is turned as its EXIF orientation says; what is transparent shows white; 16-bit samples are scaled to 8
    bits; palettes are looked up; CMYK is converted by Pillow's formula, without colour profiles. Of an
    animation it is the first picture.

    Args:
        data: a file in one of Pillow's formats for photos.
        max_pixels: pixels allowed.

    Raises:
        LimitExceededError: it has more pixels.
        DctafdError: no such picture, or it is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > max_pixels:
                raise LimitExceededError(
                    f"{image.width}x{image.height} pixels are more than the {max_pixels} allowed"
                )
            return np.asarray(_eight_bit_rgb(ImageOps.exif_transpose(image)))
    except DctafdError:
        raise
    except Image.DecompressionBombError as error:
        raise LimitExceededError(str(error)) from error
    except UnidentifiedImageError as error:
        raise DctafdError(f"the picture cannot be read: it is none of {', '.join(_formats())}") from error
    except Exception as error:  # whatever Pillow's plugins make of damaged data
        raise DctafdError(f"the picture cannot be read: {error}") from error


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `_FORMATS` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _eight_bit_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", shown.size, _WHITE), shown).convert("RGB")
    return image.convert("RGB")


def _eight_bit(samples: NDArray) -> NDArray[np.uint8]:
    """Scale samples to 0..255: whole numbers from 16 bits, fractions from 0..1 where none is greater.

    Whole numbers beyond 16 bits, and fractions beyond 0..255, have no agreed scale: least and greatest
    become black and white.
    """
    values = samples.astype(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if np.issubdtype(samples.dtype, np.integer) and low >= 0 and high <= 65535:
        values /= 257
    elif not np.issubdtype(samples.dtype, np.integer) and low >= 0 and high <= 1:
        values *= 255
    elif np.issubdtype(samples.dtype, np.integer) or not (low >= 0 and high <= 255):
        values = (values - low) * (255 / max(high - low, 1e-12))
    return np.rint(np.nan_to_num(values).clip(0, 255)).astype(np.uint8)


def centre_crop(pixels: NDArray[np.uint8], resize: int | None, crop: int) -> NDArray[np.uint8]:
    """Resize the shorter side to `resize` (None: not at all) and cut the centre out: (crop, crop, 3) uint8.

    The geometry is `prepare`'s, the arithmetic Pillow's bilinear filter: what torchvision's ``Resize`` and
    ``CenterCrop`` make of a Pillow image. A picture that is too small is padded with black.
    """
    height, width = pixels.shape[:2]
    found = crop_geometry(PictureLayout(width, height, 1, ((1, 1),)), resize, crop)
    image = Image.fromarray(pixels)
    if (found.x.resized, found.y.resized) != image.size:
        image = image.resize((found.x.resized, found.y.resized), Image.Resampling.BILINEAR)
    left, top = found.x.offset, found.y.offset
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def encode_jpeg(pixels: NDArray[np.uint8], quality: int, subsampling: Subsampling = "4:2:0") -> bytes:
    """Encode (height, width, 3) RGB with Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG file to (height, width, 3) RGB with Pillow, as it is stored."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image.convert("RGB"))
