"""The data model of one JPEG file: its header facts and its quantised DCT coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ColorSpace = Literal["gray", "ycbcr", "rgb", "cmyk", "ycck"]
Process = Literal["baseline", "extended", "progressive", "arithmetic"]


_SUBSAMPLING_NAMES = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
    (1, 4): "4:4:1",
}
"""How many times finer luma is sampled than both chroma components, horizontally and vertically."""


@dataclass(frozen=True, slots=True, eq=False)
class ComponentHeader:
    """What the frame header says of one component.

    Attributes:
        name: "Y", "Cb", "Cr", "R", "G", "B", "C", "M" or "K".
        identifier: the component identifier byte of the frame header (T.81 B.2.2, Ci).
        h, v: horizontal and vertical sampling factors, 1..4.
        width, height: size in samples, ceil(image size * h / hmax) (T.81 A.1.1).
        quant_table: (8, 8) uint16, natural order [vertical frequency, horizontal frequency].
        missing_bits: (8, 8) int8, natural order: how many of the lowest bits of each coefficient some blocks
            lack because scans of a progressive file did not come or ended early, -1 for all of them; None
            where no scan is missing.
    """

    name: str
    identifier: int
    h: int
    v: int
    width: int
    height: int
    quant_table: NDArray[np.uint16]
    missing_bits: NDArray[np.int8] | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind} {self.name} {self.h}x{self.v}, {self.width} x {self.height} samples>"

    @property
    def block_rows(self) -> int:
        """Rows of 8x8 blocks that hold samples of the image."""
        return -(-self.height // 8)

    @property
    def block_columns(self) -> int:
        """Columns of 8x8 blocks that hold samples of the image."""
        return -(-self.width // 8)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Component(ComponentHeader):
    """One component with its coefficients.

    Attributes:
        coefficients: (block rows, block columns, 8, 8) int16, quantised, natural order
            [vertical frequency, horizontal frequency].
        lowest: (block rows, block columns, 10) int16, zigzag order: what `decode` takes in place of the ten
            lowest coefficients where `missing_bits` has libjpeg estimate them; None as a rule.
    """

    coefficients: NDArray[np.int16]
    lowest: NDArray[np.int16] | None = field(default=None, kw_only=True)

    @classmethod
    def of(
        cls, header: ComponentHeader, coefficients: NDArray[np.int16], lowest: NDArray[np.int16] | None = None
    ) -> Component:
        """Join a component's header facts and its coefficients."""
        return cls(
            header.name,
            header.identifier,
            header.h,
            header.v,
            header.width,
            header.height,
            header.quant_table,
            coefficients,
            missing_bits=header.missing_bits,
            lowest=lowest,
        )

    def header(self) -> ComponentHeader:
        """Return the header facts alone, so that the coefficients can be forgotten."""
        facts = {name: getattr(self, name) for name in ComponentHeader.__dataclass_fields__}
        return ComponentHeader(**facts)


@dataclass(frozen=True, slots=True, eq=False)
class JpegHeader:
    """What is known of a JPEG file without its coefficients.

    Attributes:
        width, height: size in pixels as stored, before EXIF orientation.
        color_space: "gray", "ycbcr", "rgb", "cmyk" or "ycck".
        adobe_inverted: True where an Adobe marker says that CMYK or YCCK samples are stored inverted.
        process: "baseline", "extended", "progressive" or "arithmetic".
        orientation: EXIF orientation 1..8 (1 where the file says nothing).
        components: one entry per component, in frame order.
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

    def __repr__(self) -> str:
        facts = [f"{self.width} x {self.height}", self.color_space, self.subsampling, self.process]
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<{type(self).__name__} {' '.join(facts)}, {self.file_size} bytes{warned}>"

    @property
    def subsampling(self) -> str:
        """Chroma subsampling as people name it, such as "4:2:0"; "gray" for one component."""
        return subsampling_name([(component.h, component.v) for component in self.components])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class JpegCoefficients(JpegHeader):
    """A JPEG file's header facts and quantised DCT coefficients, as `dctafd.read` returns them."""

    components: tuple[Component, ...]

    @classmethod
    def of(cls, header: JpegHeader, components: tuple[Component, ...]) -> JpegCoefficients:
        """Join a file's header facts and its components."""
        return cls(
            header.width,
            header.height,
            header.color_space,
            header.adobe_inverted,
            header.process,
            header.orientation,
            components,
            header.icc_profile,
            header.has_exif,
            header.file_size,
            header.scans,
            header.restart_interval,
            header.warnings,
        )

    def header(self) -> JpegHeader:
        """Return the header facts alone, so that the coefficients can be forgotten."""
        facts = {name: getattr(self, name) for name in JpegHeader.__dataclass_fields__}
        return JpegHeader(**facts | {"components": tuple(part.header() for part in self.components)})


def subsampling_name(factors: Sequence[tuple[int, int]]) -> str:
    """Name the sampling of an image whose components have the given (h, v) factors.

    Returns "gray" for one component; "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "4:1:0" or "4:4:1" where
    the chroma components share their factors and these divide luma's; otherwise the factors themselves, such
    as "2x2,1x1,1x2". A fourth component (K) must be sampled as luma for the short names.
    """
    if len(factors) == 1:
        return "gray"
    plain = ",".join(f"{h}x{v}" for h, v in factors)
    (h, v), *chroma = factors[:3]
    if len(factors) == 4 and factors[3] != (h, v):
        return plain
    if len(set(chroma)) != 1 or h % chroma[0][0] or v % chroma[0][1]:
        return plain
    return _SUBSAMPLING_NAMES.get((h // chroma[0][0], v // chroma[0][1]), plain)
