"""What a user could pick in place of `dctafd.prepare`: the fast ways from bytes to a normalised 224 crop.

Each takes a JPEG file's bytes and gives (3, 224, 224) float32, normalised by ImageNet's mean and deviation.
None makes the block grid or looks for an earlier compression.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import io as torchvision_io
from torchvision import transforms
from torchvision.transforms import v2

from dctafd.config import IMAGENET_MEAN, IMAGENET_STD

RESIZE, CROP = 256, 224
_MEAN, _STD = (np.array(values, np.float32) * 255 for values in (IMAGENET_MEAN, IMAGENET_STD))
_PILLOW = transforms.Compose(
    [
        transforms.Resize(RESIZE),
        transforms.CenterCrop(CROP),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
)
_V2 = v2.Compose(
    [
        v2.Resize(RESIZE, antialias=True),
        v2.CenterCrop(CROP),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
)


def pillow_whole(data: bytes) -> Any:
    """Pillow at full size and torchvision's transforms: the customary way."""
    with Image.open(io.BytesIO(data)) as image:
        return _PILLOW(image.convert("RGB"))


def pillow_draft(data: bytes) -> Any:
    """Pillow at a reduced size where that suffices, and torchvision's transforms."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (RESIZE, RESIZE))
        return _PILLOW(image.convert("RGB"))


def torchvision_v2(data: bytes) -> Any:
    """torchvision.io and transforms.v2 on tensors."""
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return _V2(torchvision_io.decode_jpeg(encoded, mode=torchvision_io.ImageReadMode.RGB))


def simplejpeg_opencv(data: bytes) -> Any:
    """simplejpeg at a reduced size where that suffices, resized by OpenCV."""
    return _resized_by_opencv(simplejpeg.decode_jpeg(data, min_height=RESIZE, min_width=RESIZE, min_factor=1))


def opencv_reduced(data: bytes) -> Any:
    """OpenCV's decoder at a reduced size where that suffices, and its resize."""
    import cv2

    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    shrink = min(height, width) // RESIZE
    flags = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
    flag = next((flags[size] for size in (8, 4, 2) if shrink >= size), cv2.IMREAD_COLOR)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return _resized_by_opencv(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _resized_by_opencv(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    height, width = pixels.shape[:2]
    scale = RESIZE / min(height, width)
    size = max(RESIZE, round(width * scale)), max(RESIZE, round(height * scale))
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - CROP) // 2, (size[1] - CROP) // 2
    crop = resized[top : top + CROP, left : left + CROP].astype(np.float32)
    crop -= _MEAN
    crop /= _STD
    return np.ascontiguousarray(crop.transpose(2, 0, 1))


def installed() -> dict[str, Callable[[bytes], Any]]:
    """Return the alternatives whose packages are there, by name; OpenCV is kept to one thread."""
    found: dict[str, Callable[[bytes], Any]] = {
        "Pillow draft + torchvision": pillow_draft,
        "torchvision.io + v2": torchvision_v2,
    }
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        found |= {"simplejpeg + OpenCV": simplejpeg_opencv, "OpenCV reduced": opencv_reduced}
    return found
