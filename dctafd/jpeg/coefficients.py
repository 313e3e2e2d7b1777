"""The data model of one JPEG file: its header facts and its quantised DCT coefficients."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ColorSpace = Literal["gray", "ycbcr", "rgb", "cmyk", "ycck"]
Process = Literal["baseline", "extended", "progressive", "arithmetic"]


@dataclass(frozen=True, slots=True, eq=False)
class ComponentHeader:
    """What the frame header says of one component.

    Attributes:
        name: "Y", "Cb", "Cr", "R", "G", "B", "C", "M" or "K".
        identifier: the component identifier byte of the frame header (T.81 B.2.2, Ci).
        h, v: horizontal and vertical sampling factors, 1..4.
        width, height: size in samples, ceil(image size * h / hmax) (T.81 A.1.1).
        quant_table: (8, 8) uint16, natural order [vertical frequency, horizontal frequency].
    """

    name: str
    identifier: int
    h: int
    v: int
    width: int
    height: int
    quant_table: NDArray[np.uint16]

    @property
    def block_rows(self) -> int:
        """Rows of 8x8 blocks that hold samples of the image."""
        return -(-self.height // 8)

    @property
    def block_columns(self) -> int:
        """Columns of 8x8 blocks that hold samples of the image."""
        return -(-self.width // 8)


@dataclass(frozen=True, slots=True, eq=False)
class Component(ComponentHeader):
    """One component with its coefficients.

    Attributes:
        coefficients: (block rows, block columns, 8, 8) int16, quantised, natural order
            [vertical frequency, horizontal frequency].
    """

    coefficients: NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class JpegHeader:
    """What is known of a JPEG file without its coefficients.

    Attributes:
        width, height: size in pixels as stored, before EXIF orientation.
        color_space: "gray", "ycbcr", "rgb", "cmyk" or "ycck".
        adobe_inverted: True where an Adobe marker says that CMYK or YCCK samples are stored inverted.
        process: "baseline", "extended", "progressive" or "arithmetic".
        orientation: EXIF orientation 1..8 (1 where the file says nothing).
        components: one entry a component, in frame order.
        icc_profile: the embedded ICC profile, or None.
        has_exif: whether there is an EXIF segment.
        file_size: bytes of the source.
        scans: scans that were read.
        restart_interval: MCUs between restart markers, 0 for none.
        warnings: what was wrong with the file but did not prevent reading it.
    """

    width: int
    height: int
    color_space: ColorSpace
    adobe_inverted: bool
    process: Process
    orientation: int
    components: tuple[ComponentHeader, ...]
    icc_profile: bytes | None
    has_exif: bool
    file_size: int
    scans: int
    restart_interval: int
    warnings: tuple[str, ...]

    @property
    def subsampling(self) -> str:
        """Chroma subsampling as people name it, such as "4:2:0"; "gray" for one component."""
        from dctafd.jpeg.subsampling import subsampling_name

        return subsampling_name([(component.h, component.v) for component in self.components])


@dataclass(frozen=True, slots=True, eq=False)
class JpegCoefficients(JpegHeader):
    """A JPEG file's header facts and quantised DCT coefficients, as `dctafd.read` returns them."""

    components: tuple[Component, ...]
