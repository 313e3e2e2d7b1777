"""Limits that are checked before anything is allocated for a file."""

from dctafd.config import Limits
from dctafd.errors import LimitExceededError
from dctafd.jpeg.structure import JpegStructure

_SPARE_BYTES = 64 * 2**20
_BYTES_PER_PIXEL = 6
_SPARE_COEFFICIENTS = 2**22
_FREE_PASSES = 20
_FREE_ARITHMETIC_BLOCKS = 2_000_000
_BLOCKS_PER_BYTE = 64


def max_file_bytes(max_pixels: int) -> int:
    """Return the largest file that is read: six bytes a pixel and 64 MiB of application data."""
    return _BYTES_PER_PIXEL * max_pixels + _SPARE_BYTES


def check_limits(structure: JpegStructure, file_size: int, limits: Limits) -> None:
    """Refuse images whose size or whose number of scans would cost too much memory or time.

    Besides `limits.max_pixels`, bounds the coefficients (thin images are padded to whole blocks) and the
    work: the blocks of all scans together are at most 20 times the image's blocks, plus 64 for each byte.
    For arithmetic coding, where libjpeg decodes every block however little data there is, 2 million take
    the place of those 20 times.

    Raises:
        LimitExceededError: saying which limit and by how much.
    """
    frame, max_pixels = structure.frame, limits.max_pixels
    pixels = frame.width * frame.height
    if pixels > max_pixels:
        raise LimitExceededError(f"{frame.width} x {frame.height} pixels; max_pixels is {max_pixels}")
    counts = frame.block_counts
    blocks = sum(counts)
    if 64 * blocks > 4 * max_pixels + _SPARE_COEFFICIENTS:
        raise LimitExceededError(f"{64 * blocks} coefficients, too many for max_pixels {max_pixels}")
    visits = sum([counts[index] for scan in structure.scans for index in scan.indices])
    free = _FREE_ARITHMETIC_BLOCKS if frame.arithmetic else _FREE_PASSES * blocks
    if visits > free + _BLOCKS_PER_BYTE * file_size:
        raise LimitExceededError(f"{len(structure.scans)} scans visit {visits} blocks, for {file_size} bytes")
