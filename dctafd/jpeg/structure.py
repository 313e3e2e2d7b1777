"""What the marker segments of a JPEG file say, before any entropy-coded data is decoded.

`dctafd.jpeg.markers.parse_markers` makes these; the engines read scans from them. Most are named tuples,
which are made and hashed several times as fast as frozen dataclasses: with small photos that tells.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd_native.zigzag import ZIGZAG

SOF_BASELINE = 0xC0
SOF_EXTENDED = 0xC1
SOF_PROGRESSIVE = 0xC2
SOF_ARITHMETIC = 0xC9
SOF_ARITHMETIC_PROGRESSIVE = 0xCA


ZIGZAG_TO_NATURAL = np.array(ZIGZAG, dtype=np.intp)
"""(64,) natural index (row * 8 + column) of the k-th coefficient in zigzag order (T.81 Figure A.6)."""
ZIGZAG_TO_NATURAL.flags.writeable = False


class FrameComponent(NamedTuple):
    """One component of the frame header (T.81 B.2.2): identifier Ci, factors Hi x Vi, table Tqi."""

    identifier: int
    h: int
    v: int
    quant_index: int


@dataclass(frozen=True)
class Frame:
    """The frame header (T.81 B.2.2); height 0 until a DNL segment has said it."""

    marker: int
    width: int
    height: int
    components: tuple[FrameComponent, ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.marker, self.width, self.height, self.components))

    def __hash__(self) -> int:
        """Worked out once, as frames are keys of caches."""
        return self._hash

    @property
    def arithmetic(self) -> bool:
        """Whether the entropy coding is arithmetic."""
        return self.marker in (SOF_ARITHMETIC, SOF_ARITHMETIC_PROGRESSIVE)

    @property
    def progressive(self) -> bool:
        """Whether scans carry spectral bands and bit planes."""
        return self.marker in (SOF_PROGRESSIVE, SOF_ARITHMETIC_PROGRESSIVE)

    @cached_property
    def h_max(self) -> int:
        """Largest horizontal sampling factor."""
        return max(component.h for component in self.components)

    @cached_property
    def v_max(self) -> int:
        """Largest vertical sampling factor."""
        return max(component.v for component in self.components)

    @property
    def mcu_rows(self) -> int:
        """Rows of MCUs of an interleaved scan (T.81 A.2.3)."""
        return -(-self.height // (8 * self.v_max))

    @property
    def mcu_columns(self) -> int:
        """Columns of MCUs of an interleaved scan (T.81 A.2.3)."""
        return -(-self.width // (8 * self.h_max))

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) in samples of each component (T.81 A.1.1)."""
        return tuple(
            (-(-self.height * component.v // self.v_max), -(-self.width * component.h // self.h_max))
            for component in self.components
        )

    @cached_property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of 8x8 blocks that hold samples of the image, of each component."""
        return tuple((-(-height // 8), -(-width // 8)) for height, width in self.sizes)

    @cached_property
    def block_counts(self) -> tuple[int, ...]:
        """How many `blocks` that are, of each component."""
        return tuple(rows * columns for rows, columns in self.blocks)


class HuffmanSpec(NamedTuple):
    """A Huffman table as a DHT segment gives it (T.81 B.2.4.2); hashable, so that derived tables are cached.

    Attributes:
        counts: 16 bytes, the number of codes of each length 1..16 (BITS).
        symbols: the symbols in order of increasing code (HUFFVAL).
    """

    counts: bytes
    symbols: bytes


@dataclass(frozen=True, slots=True)
class ScanComponent:
    """One component of a scan header (T.81 B.2.3): its index in the frame and its table destinations."""

    index: int
    dc_table: int
    ac_table: int


class Scan(NamedTuple):
    """One scan header (T.81 B.2.3), where its entropy-coded data lies and the tables in force for it.

    Attributes:
        components: the scan's components in their order.
        spectral_start, spectral_end: Ss and Se.
        approximation_high, approximation_low: Ah and Al.
        start, end: the entropy-coded data is ``data[start:end]``, restart markers included.
        restart_interval: MCUs between restart markers, 0 for none.
        dc_tables, ac_tables: the Huffman tables of destinations 0..3, None where undefined.
        conditioning: arithmetic conditioning values of DC destinations 0..3, then AC (T.81 B.2.4.3).
    """

    components: tuple[ScanComponent, ...]
    spectral_start: int
    spectral_end: int
    approximation_high: int
    approximation_low: int
    start: int
    end: int
    restart_interval: int
    dc_tables: tuple[HuffmanSpec | None, ...]
    ac_tables: tuple[HuffmanSpec | None, ...]
    conditioning: bytes

    @property
    def indices(self) -> tuple[int, ...]:
        """Which of the frame's components these are."""
        return tuple([component.index for component in self.components])


class JpegStructure(NamedTuple):
    """All that the marker segments of one image say.

    Attributes:
        frame: the frame header, its height known.
        scans: the scans in file order; at least one.
        quant_tables: (8, 8) uint16 in natural order, one a frame component: the table in force at the
            component's first scan.
        jfif: whether a JFIF segment comes before the first scan.
        adobe_transform: the Adobe segment's colour transform 0..255, or None without such a segment.
        orientation: EXIF orientation 1..8.
        has_exif: whether there is an EXIF segment.
        icc_profile: the ICC profile put together from its segments, or None.
        end: offset just after EOI, or after the last byte that was understood.
        complete: whether EOI was reached.
        warnings: oddities that cost no coefficient.
        damage: why coefficients may be missing or wrong; `strict` reading refuses the file.
    """

    frame: Frame
    scans: tuple[Scan, ...]
    quant_tables: tuple[NDArray[np.uint16], ...]
    jfif: bool
    adobe_transform: int | None
    orientation: int
    has_exif: bool
    icc_profile: bytes | None
    end: int
    complete: bool
    warnings: tuple[str, ...]
    damage: tuple[str, ...]
