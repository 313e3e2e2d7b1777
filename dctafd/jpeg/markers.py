"""The marker parser: bytes -> `JpegStructure`, every length, count and table index checked (T.81 Annex B).

Follows libjpeg where the standard leaves room: junk and fill bytes before a marker are skipped, unknown
APPn segments ignored, restart markers outside scans passed over. Damage before the first scan raises; after
it, what was understood is kept and `JpegStructure.damage` says why parsing stopped.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dctafd.config import MAX_SCANS
from dctafd.errors import CorruptJpegError, LimitExceededError, UnsupportedJpegError
from dctafd.jpeg.exif import EXIF_SIGNATURE, XMP_SIGNATURE, find_orientation
from dctafd.jpeg.foreign import START_BYTES, not_a_jpeg
from dctafd.jpeg.huffman_tables import STANDARD_AC, STANDARD_DC
from dctafd.jpeg.segments import read_frame, read_huffman_tables, read_quant_tables, read_scan_header
from dctafd.jpeg.structure import (
    SOF_ARITHMETIC,
    SOF_ARITHMETIC_PROGRESSIVE,
    SOF_BASELINE,
    SOF_EXTENDED,
    SOF_PROGRESSIVE,
    Frame,
    HuffmanSpec,
    JpegStructure,
    Scan,
)
from dctafd_native.entropy_segments import find_scan_end

SOI, EOI, SOS, DQT, DNL, DRI, DHT, DAC = 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xC4, 0xCC
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
COM, TEM = 0xFE, 0x01

MAX_SEGMENTS = 65_536
"""Marker segments in one file; real files have tens, at most a few thousand (ICC and EXIF in pieces)."""

_SUPPORTED_FRAMES = (
    SOF_BASELINE,
    SOF_EXTENDED,
    SOF_PROGRESSIVE,
    SOF_ARITHMETIC,
    SOF_ARITHMETIC_PROGRESSIVE,
)
_UNSUPPORTED_FRAMES = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical lossless",
    0xC8: "JPEG extensions",
    0xCB: "lossless arithmetic",
    0xCD: "hierarchical arithmetic",
    0xCE: "hierarchical arithmetic",
    0xCF: "hierarchical lossless arithmetic",
}
_SKIPPED_BY_LIBJPEG = {COM, DNL, *range(APP0, APP0 + 16)}
"""Segments whose length libjpeg does not check (jdmarker.c, skip_variable and get_interesting_appn)."""

_DEFAULT_CONDITIONING = bytes([0x10] * 4 + [5] * 4)
"""T.81 F.1.4.4.1.4 and F.1.4.4.2: L = 0, U = 1 for DC, Kx = 5 for AC."""

_ANY_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_SEGMENT_HEAD = struct.Struct(">BBH")
"""FF, the marker's second byte, and the segment's length from here on."""


def parse_markers(data: bytes, *, max_scans: int = MAX_SCANS) -> JpegStructure:
    """Parse the marker segments of the JPEG image at the start of `data`.

    Args:
        data: the file's bytes; what follows the first image's EOI (such as an MPO's second image) is left.
        max_scans: scans allowed.

    Raises:
        NotAJpegError: `data` does not start with SOI.
        UnsupportedJpegError: 12-bit, lossless, hierarchical, or 2 or more than 4 components.
        CorruptJpegError: the segments up to the first scan contradict the standard, or there is no scan.
        LimitExceededError: more than `max_scans` scans or `MAX_SEGMENTS` segments.
    """
    if data[:2] != b"\xff\xd8":
        raise not_a_jpeg(data[:START_BYTES])
    parser = _Parser(data, max_scans)
    parser.run()
    return parser.structure()


class _Parser:
    """The state that marker segments change, and one method per kind of segment."""

    def __init__(self, data: bytes, max_scans: int) -> None:
        self.data = data
        self.position = 2
        self.max_scans = max_scans
        self.frame: Frame | None = None
        self.scans: list[Scan] = []
        self.quant_tables: list[NDArray[np.uint16] | None] = [None] * 4
        self.component_tables: dict[int, NDArray[np.uint16]] = {}
        self.dc_tables: list[HuffmanSpec | None] = [None] * 4
        self.ac_tables: list[HuffmanSpec | None] = [None] * 4
        self.conditioning = _DEFAULT_CONDITIONING
        self.restart_interval = 0
        self.jfif = False
        self.adobe_transform: int | None = None
        self.has_exif = False
        self.exif: list[bytes] = []
        self.xmp = b""
        self.icc_chunks: dict[int, bytes] = {}
        self.icc_total = 0
        self.complete = False
        self.warnings: list[str] = []
        self.damage: list[str] = []

    def run(self) -> None:
        """Parse to EOI; once there is a scan, damage ends the parsing instead of raising."""
        try:
            left = MAX_SEGMENTS
            while left := left - self._read_plain_segments(left):
                if not self._read_segment():
                    break
                left -= 1
            else:
                raise LimitExceededError(f"more than {MAX_SEGMENTS} marker segments")
            self._check_height()
        except CorruptJpegError as error:
            if not self.scans or not self._height_is_known():
                raise
            self.damage.append(str(error))
        if not self.scans:
            raise CorruptJpegError("the file holds no scan: there is no image in it")

    def structure(self) -> JpegStructure:
        """Return what was parsed."""
        assert self.frame is not None
        tables = []
        for index, component in enumerate(self.frame.components):
            # A component that no scan holds takes the table that was defined last.
            table = self.component_tables.get(index, self.quant_tables[component.quant_index])
            if table is None:
                raise CorruptJpegError(f"component {index} has no scan and no quantisation table")
            tables.append(table)
        return JpegStructure(
            frame=self.frame,
            scans=tuple(self.scans),
            quant_tables=tuple(tables),
            jfif=self.jfif,
            adobe_transform=self.adobe_transform,
            orientation=find_orientation(b"".join(self.exif), self.xmp),
            has_exif=self.has_exif,
            icc_profile=self._icc_profile(),
            end=self.position,
            complete=self.complete,
            warnings=tuple(self.warnings),
            damage=tuple(self.damage),
        )

    def _read_segment(self) -> bool:
        """Read the next segment; False at EOI or where the file ends after a scan."""
        marker = self._next_marker()
        if marker is None:
            if not self.scans:
                raise CorruptJpegError("the file ends before its first scan")
            self.position = len(self.data)
            self.damage.append("the file ends without an EOI marker")
            return False
        if marker == EOI:
            self.complete = True
            return False
        if 0xD0 <= marker <= 0xD7 or marker == TEM:
            return True
        if marker == SOI:
            raise CorruptJpegError("a second SOI marker inside the image")
        if marker < 0xC0:
            raise CorruptJpegError(f"reserved marker FF {marker:02X}")
        self._dispatch(marker, self._segment_payload(marker))
        return True

    def _read_plain_segments(self, most: int) -> int:
        """Read the next segments while they are whole, right here, and of `_HANDLERS`: the fast way for most.

        Returns:
            How many they were, at most `most`.
        """
        data, last_start = self.data, len(self.data) - _SEGMENT_HEAD.size
        for number in range(most):
            start = self.position
            if start > last_start:
                return number
            fill, marker, length = _SEGMENT_HEAD.unpack_from(data, start)
            handler = _HANDLERS.get(marker)
            end = start + 2 + length
            if fill != 0xFF or handler is None or length < 2 or end > len(data):
                return number
            self.position = end
            handler(self, data[start + 4 : end])
        return most

    def _next_marker(self) -> int | None:
        """Move behind the next marker and return its second byte; None where there is none."""
        match = _ANY_MARKER.search(self.data, self.position)
        if match is None:
            return None
        start = match.start()
        if start > self.position and self.data[self.position : start].strip(b"\xff"):
            self._warn(f"{start - self.position} bytes of junk before a marker were skipped")
        self.position = start + 2
        return self.data[start + 1]

    def _segment_payload(self, marker: int) -> bytes:
        length = int.from_bytes(self.data[self.position : self.position + 2], "big")
        if length < 2 and marker in _SKIPPED_BY_LIBJPEG and self.position + 2 <= len(self.data):
            self._warn(f"segment FF {marker:02X} has length {length}; it counts as empty")
            length = 2
        end = self.position + length
        if length < 2 or end > len(self.data):
            raise CorruptJpegError(f"segment FF {marker:02X} has length {length}, beyond its data")
        payload = self.data[self.position + 2 : end]
        self.position = end
        return payload

    def _dispatch(self, marker: int, payload: bytes) -> None:
        handler = _HANDLERS.get(marker)
        if handler is not None:
            handler(self, payload)
        elif marker in _UNSUPPORTED_FRAMES:
            self._check_first_frame()
            raise UnsupportedJpegError(f"{_UNSUPPORTED_FRAMES[marker]} JPEG (FF {marker:02X})")

    def _check_first_frame(self) -> None:
        if self.frame is not None:
            raise CorruptJpegError("more than one frame header")

    def _read_frame(self, marker: int, payload: bytes) -> None:
        self._check_first_frame()
        self.frame = read_frame(marker, payload)
        if not self.frame.arithmetic and not self.frame.progressive:
            self._fill_in_standard_tables()

    def _fill_in_standard_tables(self) -> None:
        """Motion JPEG frames leave out DHT and mean those of T.81 K.3 (libjpeg-turbo: std_huff_tables)."""
        for index in range(2):
            self.dc_tables[index] = self.dc_tables[index] or STANDARD_DC[index]
            self.ac_tables[index] = self.ac_tables[index] or STANDARD_AC[index]

    def _read_quant_tables(self, payload: bytes) -> None:
        for index, table, has_zeros in read_quant_tables(payload):
            if has_zeros:
                self._warn(f"quantisation table {index} holds zeros")
            self.quant_tables[index] = table

    def _read_huffman_tables(self, payload: bytes) -> None:
        for table_class, index, spec in read_huffman_tables(payload):
            tables = self.ac_tables if table_class else self.dc_tables
            tables[index] = spec

    def _read_conditioning(self, payload: bytes) -> None:
        if len(payload) % 2:
            raise CorruptJpegError("a damaged DAC segment")
        conditioning = bytearray(self.conditioning)
        for destination, value in zip(payload[::2], payload[1::2], strict=True):
            table_class, index = destination >> 4, destination & 15
            bad_value = value & 15 > value >> 4 if table_class == 0 else not 1 <= value <= 63
            if table_class > 1 or index > 3 or bad_value:
                raise CorruptJpegError("a damaged DAC segment")
            conditioning[4 * table_class + index] = value
        self.conditioning = bytes(conditioning)

    def _read_restart_interval(self, payload: bytes) -> None:
        if len(payload) != 2:
            raise CorruptJpegError("a damaged DRI segment")
        self.restart_interval = int.from_bytes(payload, "big")

    def _read_number_of_lines(self, payload: bytes) -> None:
        """Take the height from DNL (T.81 B.2.5) where the frame left it open; libjpeg knows no DNL at all."""
        if self._height_is_known():
            assert self.frame is not None
            if int.from_bytes(payload, "big") != self.frame.height:
                self._warn("a DNL segment contradicts the frame's height, which counts")
        elif self.frame is None:
            self._warn("a DNL segment before the frame header was passed over")
        elif len(payload) == 2:
            self.frame = replace(self.frame, height=int.from_bytes(payload, "big"))
        else:
            raise CorruptJpegError("a damaged DNL segment")

    def _height_is_known(self) -> bool:
        return self.frame is not None and self.frame.height > 0

    def _check_height(self) -> None:
        if self.scans and not self._height_is_known():
            raise CorruptJpegError("the image has a height of 0 and no DNL segment that says it")

    def _read_scan(self, payload: bytes) -> None:
        if self.frame is None:
            raise CorruptJpegError("a scan before the frame header")
        components, (spectral_start, spectral_end, approximation) = read_scan_header(
            self.frame.components, payload
        )
        if len(self.scans) >= self.max_scans:
            raise LimitExceededError(f"more than {self.max_scans} scans")
        for component in components:
            self._latch_quant_table(component.index)
        start = self.position
        self.position = find_scan_end(np.frombuffer(self.data, dtype=np.uint8), start)
        self.scans.append(
            Scan(
                components=components,
                spectral_start=spectral_start,
                spectral_end=spectral_end,
                approximation_high=approximation >> 4,
                approximation_low=approximation & 15,
                start=start,
                end=self.position,
                restart_interval=self.restart_interval,
                dc_tables=tuple(self.dc_tables),
                ac_tables=tuple(self.ac_tables),
                conditioning=self.conditioning,
            )
        )

    def _latch_quant_table(self, index: int) -> None:
        """Keep the table in force at a component's first scan (libjpeg: latch_quant_tables)."""
        assert self.frame is not None
        quant_index = self.frame.components[index].quant_index
        table = self.quant_tables[quant_index]
        if index in self.component_tables:
            return
        if table is None:
            raise CorruptJpegError(f"quantisation table {quant_index} is used but not defined")
        self.component_tables[index] = table

    def _read_app0(self, payload: bytes) -> None:
        self.jfif = self.jfif or (not self.scans and len(payload) >= 14 and payload[:5] == b"JFIF\0")

    def _read_app1(self, payload: bytes) -> None:
        """Keep EXIF and XMP from before the first scan; Pillow does not look behind it."""
        if payload.startswith(EXIF_SIGNATURE):
            self.has_exif = True
            if not self.scans:
                self.exif.append(payload[len(EXIF_SIGNATURE) :])
        elif payload.startswith(XMP_SIGNATURE) and not self.scans:
            self.xmp = payload[len(XMP_SIGNATURE) :]

    def _read_app2(self, payload: bytes) -> None:
        if payload[:12] != b"ICC_PROFILE\0" or len(payload) < 14:
            return
        self.icc_chunks.setdefault(payload[12], payload[14:])
        self.icc_total = self.icc_total or payload[13]

    def _icc_profile(self) -> bytes | None:
        if not self.icc_chunks:
            return None
        if set(self.icc_chunks) != set(range(1, self.icc_total + 1)):
            self.warnings.append("the ICC profile is incomplete")
            return None
        return b"".join(self.icc_chunks[number] for number in sorted(self.icc_chunks))

    def _read_app14(self, payload: bytes) -> None:
        if not self.scans and len(payload) >= 12 and payload[:5] == b"Adobe":
            self.adobe_transform = payload[11]

    def _warn(self, message: str) -> None:
        if message not in self.warnings and len(self.warnings) < 20:
            self.warnings.append(message)


def _frame_reader(marker: int) -> Callable[[_Parser, bytes], None]:
    return lambda parser, payload: parser._read_frame(marker, payload)


_HANDLERS: dict[int, Callable[[_Parser, bytes], None]] = {
    **{marker: _frame_reader(marker) for marker in _SUPPORTED_FRAMES},
    DQT: _Parser._read_quant_tables,
    DHT: _Parser._read_huffman_tables,
    DAC: _Parser._read_conditioning,
    DRI: _Parser._read_restart_interval,
    DNL: _Parser._read_number_of_lines,
    SOS: _Parser._read_scan,
    APP0: _Parser._read_app0,
    APP1: _Parser._read_app1,
    APP2: _Parser._read_app2,
    APP14: _Parser._read_app14,
}
