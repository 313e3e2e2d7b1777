"""Small JPEG files made on the fly with Pillow, for the tests of every package.

`photo_like` gives pixels with edges, gradients and noise; `encode` compresses them; `all_kinds` is a
dictionary of one small file a kind (samplings, colour spaces, progressive, restart intervals, odd sizes).
"""

import io
from functools import cache
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
"""The samplings that Pillow writes; `encode` makes "4:4:0" and "4:1:1" with simplejpeg."""


def photo_like(width: int, height: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Return (height, width, channels) uint8 pixels (no last axis for one channel): waves, edges, noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(channels):
        a, b, phase = rng.uniform(0.02, 0.2, 3)
        plane = 128 + 70 * np.sin(a * x + phase * 30) * np.cos(b * y) + 0.3 * x - 0.2 * y
        plane += np.where((x // 13 + y // 9) % 2 == channel % 2, 25, -25)
        planes.append(plane + rng.normal(0, 6, plane.shape))
    pixels = np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def encode(pixels: NDArray[np.uint8], quality: int = 75, mode: str | None = None, **options: Any) -> bytes:
    """Compress pixels; `options` go to Pillow's JPEG writer (subsampling, progressive, ...).

    `mode` is Pillow's, by default "L" or "RGB". Baseline "4:4:0" and "4:1:1" are left to simplejpeg.
    """
    if options.get("subsampling") in ("4:4:0", "4:1:1"):
        return simplejpeg.encode_jpeg(
            pixels, quality, colorsubsampling=options["subsampling"].replace(":", "")
        )
    buffer = io.BytesIO()
    mode = mode or ("L" if pixels.ndim == 2 else "RGB")
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def with_sampling(data: bytes, factors: list[tuple[int, int]], size: tuple[int, int] | None = None) -> bytes:
    """Return a 4:4:4 or gray file whose frame header claims other (h, v) factors (and (width, height)).

    The entropy-coded data is left as it is, so its blocks fall on other places and may not suffice.
    """
    start = next(data.find(bytes([0xFF, marker])) for marker in (0xC0, 0xC2) if bytes([0xFF, marker]) in data)
    frame = bytearray(data)
    if size is not None:
        frame[start + 5 : start + 9] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    for index, (h, v) in enumerate(factors):
        frame[start + 11 + 3 * index] = h << 4 | v
    return bytes(frame)


def insert_segment(data: bytes, marker: int, payload: bytes) -> bytes:
    """Insert a marker segment just after SOI."""
    segment = bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload
    return data[:2] + segment + data[2:]


def exif_payload(orientation: int, order: str = "big") -> bytes:
    """Return an APP1 payload whose only field is the orientation; `order` is "big" or "little"."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)  # type: ignore[arg-type]

    tiff = (b"MM" if order == "big" else b"II") + number(42, 2) + number(8, 4) + number(1, 2)
    tiff += number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + b"\0\0" + number(0, 4)
    return b"Exif\0\0" + tiff


def with_adobe(data: bytes, transform: int) -> bytes:
    """Return the file without its JFIF segment and with an Adobe segment of this colour transform."""
    found = data.find(b"\xff\xee\0\x0eAdobe")
    if found >= 0:
        return data[: found + 15] + bytes([transform]) + data[found + 16 :]
    if data[2:4] == b"\xff\xe0":
        data = data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]
    return insert_segment(data, 0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


@cache
def all_kinds() -> dict[str, bytes]:
    """Return one small file a kind, by name."""
    color = photo_like(93, 61)
    kinds = {
        f"{name} {'progressive' if progressive else 'baseline'}": encode(
            color, 75, subsampling=name, progressive=progressive
        )
        for name in SAMPLINGS
        for progressive in (False, True)
    }
    kinds["4:4:0 baseline"] = encode(color, subsampling="4:4:0")
    kinds["4:1:1 baseline"] = encode(color, subsampling="4:1:1")
    gray = photo_like(50, 70, 1)
    cmyk = photo_like(45, 37, 4)
    kinds["gray"] = encode(gray)
    kinds["gray progressive"] = encode(gray, progressive=True)
    kinds["gray 2x2"] = with_sampling(encode(gray), [(2, 2)])
    kinds["optimised tables"] = encode(color, 90, optimize=True)
    kinds["quality 1"] = encode(color, 1)
    kinds["quality 100"] = encode(color, 100, subsampling="4:4:4")
    kinds["noise quality 100"] = encode(
        np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8), 100, subsampling="4:4:4"
    )
    kinds["restart every MCU"] = encode(color, restart_marker_blocks=1)
    kinds["restart every row"] = encode(color, restart_marker_rows=1)
    kinds["restart every 3 progressive"] = encode(color, restart_marker_blocks=3, progressive=True)
    kinds["cmyk"] = encode(cmyk, mode="CMYK")
    kinds["cmyk progressive"] = encode(cmyk, mode="CMYK", progressive=True)
    kinds["ycck"] = with_adobe(encode(cmyk, mode="CMYK"), 2)
    kinds["rgb"] = encode(color, keep_rgb=True)
    kinds["rgb adobe"] = with_adobe(encode(color, subsampling="4:4:4"), 0)
    kinds["one pixel"] = encode(photo_like(1, 1))
    kinds["one column"] = encode(photo_like(1, 40))
    kinds["one row"] = encode(photo_like(40, 1), progressive=True)
    for size in ((7, 9), (8, 8), (16, 16), (17, 33), (31, 15)):
        kinds[f"{size[0]}x{size[1]}"] = encode(photo_like(*size))
    kinds["exif 6"] = insert_segment(encode(color), 0xE1, exif_payload(6))
    kinds["app segments"] = insert_segment(encode(color, icc_profile=bytes(70_000)), 0xE5, b"anything")
    return kinds
