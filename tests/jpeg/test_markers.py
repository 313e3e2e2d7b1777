import io
import struct
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import dctafd
from dctafd.errors import CorruptJpegError, LimitExceededError, NotAJpegError, UnsupportedJpegError
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL
from tests.support.jpeg_files import all_kinds, encode, exif_payload, insert_segment, photo_like, with_adobe
from tests.support.jpeg_writer import frame_of, random_coefficients, segment, write_sequential

GRAY = encode(photo_like(24, 16, 1))


def replaced(data: bytes, marker: int, change: Callable[[bytes], bytes]) -> bytes:
    """Return `data` with `change` applied to the payload of its first segment of this kind."""
    start = data.find(bytes([0xFF, marker]))
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return data[:start] + segment(marker, change(data[start + 4 : end])) + data[end:]


def patched(offset: int, value: int) -> Callable[[bytes], bytes]:
    return lambda payload: payload[:offset] + bytes([value]) + payload[offset + 1 :]


def test_zigzag_order_starts_and_ends_as_in_the_standard() -> None:
    assert ZIGZAG_TO_NATURAL[:10].tolist() == [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]
    assert ZIGZAG_TO_NATURAL[-3:].tolist() == [55, 62, 63]
    assert sorted(ZIGZAG_TO_NATURAL) == list(range(64))


@pytest.mark.parametrize("data", [b"", b"\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\0\xff\xd8" + GRAY])
def test_other_bytes_are_no_jpeg(data: bytes) -> None:
    with pytest.raises(NotAJpegError):
        parse_markers(data)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF])
def test_other_processes_are_unsupported(marker: int) -> None:
    data = GRAY.replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    with pytest.raises(UnsupportedJpegError):
        parse_markers(data)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (patched(0, 12), UnsupportedJpegError),
        (lambda p: p[:5] + b"\2" + p[6:] + p[6:], UnsupportedJpegError),
        (lambda p: p[:5] + b"\7" + 7 * p[6:9], UnsupportedJpegError),
        (lambda p: p[:5] + b"\0", UnsupportedJpegError),
        (lambda p: p[:4], CorruptJpegError),
        (lambda p: p + b"\0", CorruptJpegError),
        (lambda p: p[:3] + b"\0\0" + p[5:], CorruptJpegError),
        (lambda p: p[:1] + b"\0\0" + p[3:], CorruptJpegError),
        (patched(7, 0x01), CorruptJpegError),
        (patched(7, 0x50), CorruptJpegError),
        (patched(8, 4), CorruptJpegError),
    ],
)
def test_bad_frame_headers_are_named(change: Callable[..., Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_markers(replaced(GRAY, 0xC0, change))


@pytest.mark.parametrize(
    ("marker", "change"),
    [
        (0xDB, patched(0, 0x04)),
        (0xDB, patched(0, 0x20)),
        (0xDB, patched(0, 0x10)),
        (0xDB, lambda p: p[:40]),
        (0xDB, patched(0, 0x01)),
        (0xC4, patched(0, 0x04)),
        (0xC4, patched(0, 0x20)),
        (0xC4, lambda p: p[:10]),
        (0xC4, patched(5, 0xFF)),
        (0xDA, lambda p: b"\5" + p[1:]),
        (0xDA, lambda p: p[:3]),
        (0xDA, lambda p: b""),
        (0xDA, patched(1, 77)),
        (0xDA, patched(2, 0x40)),
        (0xDA, patched(2, 0x04)),
    ],
)
def test_bad_tables_and_scan_headers_are_named(marker: int, change: Callable[..., Any]) -> None:
    with pytest.raises(CorruptJpegError):
        parse_markers(replaced(GRAY, marker, change))


@pytest.mark.parametrize("payload", [b"\x00\x01\x02", b"\x04\x10", b"\x00\x01", b"\x10\x00", b"\x10\x40"])
def test_bad_arithmetic_conditioning_is_named(payload: bytes) -> None:
    with pytest.raises(CorruptJpegError, match="DAC"):
        parse_markers(insert_segment(GRAY, 0xCC, payload))


@pytest.mark.parametrize("payload", [b"", b"\1", b"\0\1\2"])
def test_wrong_length_of_a_two_byte_segment_is_named(payload: bytes) -> None:
    with pytest.raises(CorruptJpegError):
        parse_markers(insert_segment(GRAY, 0xDD, payload))
    open_height = replaced(GRAY, 0xC0, lambda frame: frame[:1] + b"\0\0" + frame[3:])
    scan = open_height.find(b"\xff\xda")
    with pytest.raises(CorruptJpegError):
        parse_markers(open_height[:scan] + segment(0xDC, payload) + open_height[scan:])


def test_segments_out_of_place_are_named() -> None:
    with pytest.raises(CorruptJpegError, match="second SOI"):
        parse_markers(GRAY[:2] + GRAY)
    with pytest.raises(CorruptJpegError, match="no scan"):
        parse_markers(b"\xff\xd8\xff\xd9")
    with pytest.raises(CorruptJpegError, match="before its first scan"):
        parse_markers(GRAY[: GRAY.find(b"\xff\xda")])
    with pytest.raises(CorruptJpegError, match="before the frame"):
        parse_markers(b"\xff\xd8" + segment(0xDA, b"\1\1\0\0\x3f\0"))
    with pytest.raises(CorruptJpegError, match="reserved"):
        parse_markers(GRAY[:2] + b"\xff\x02" + GRAY[2:])
    for marker, length in ((0xDB, b"\0\0"), (0xC4, b"\0\1"), (0xE5, b"\xff\xff"), (0xFE, b"\xff\xff")):
        with pytest.raises(CorruptJpegError, match="length"):
            parse_markers(GRAY[:2] + bytes([0xFF, marker]) + length + GRAY[2:])
    frame = GRAY[GRAY.find(b"\xff\xc0") : GRAY.find(b"\xff\xc4")]
    with pytest.raises(CorruptJpegError, match="more than one frame"):
        parse_markers(GRAY[:2] + frame + GRAY[2:])


def test_too_many_blocks_in_an_mcu() -> None:
    frame = frame_of(16, 16, [(4, 2), (2, 1), (1, 1)])
    data = write_sequential(frame, random_coefficients(frame), scans=[[0], [1], [2]])
    joined = data.replace(segment(0xDA, b"\1\1\0\0\x3f\0"), segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0"), 1)
    with pytest.raises(CorruptJpegError, match="10 blocks"):
        parse_markers(joined)


@pytest.mark.parametrize("junk", [b"\0\1\2", b"\xff\xff\xff", b"\xff\x00", b"\xff\xd3", b"\xff\x01"])
def test_junk_fill_bytes_and_stray_markers_before_a_segment(junk: bytes) -> None:
    clean = dctafd.read(GRAY)
    jpeg = dctafd.read(GRAY[:2] + junk + GRAY[2:], strict=True)
    np.testing.assert_array_equal(jpeg.components[0].coefficients, clean.components[0].coefficients)
    assert bool(jpeg.warnings) == (junk[0] == 0 or junk == b"\xff\0")


def pillows_pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


SHORT = (0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xDC)


def with_segment_before(data: bytes, marker: int, inserted: bytes) -> bytes:
    start = data.find(bytes([0xFF, marker]))
    return data[:start] + inserted + data[start:]


# Each marker has a reader of its own, and after the last scan segments are passed over by another one.
@pytest.mark.parametrize(
    ("marker", "length", "before"),
    [
        *((marker, length, 0xC4) for marker in SHORT for length in (0, 1)),
        *((marker, 1, before) for marker in (0xFE, 0xEE) for before in (0xDB, 0xC0, 0xDA)),
        *((marker, 0, 0xD9) for marker in SHORT),
    ],
)
def test_a_length_below_two_counts_as_none_where_libjpeg_does_not_look(
    marker: int, length: int, before: int
) -> None:
    inserted = bytes([0xFF, marker, 0, length])
    data = with_segment_before(GRAY, before, inserted)
    jpeg = dctafd.read(data, strict=True)
    assert f"segment FF {marker:02X} has length {length}; it counts as empty" in jpeg.warnings
    np.testing.assert_array_equal(dctafd.decode(jpeg), pillows_pixels(data))


@pytest.mark.parametrize(
    "payload", [(16).to_bytes(2, "big"), (900).to_bytes(2, "big"), b"", b"\1", b"\0\1\2"]
)
@pytest.mark.parametrize("before", [0xDB, 0xC0, 0xC4, 0xDA, 0xD9])
def test_dnl_counts_only_where_the_height_is_open(payload: bytes, before: int) -> None:
    """libjpeg passes over every DNL segment; so do we, saying so, where the frame header has the height."""
    data = with_segment_before(GRAY, before, segment(0xDC, payload))
    jpeg = dctafd.read(data, strict=True)
    assert (jpeg.width, jpeg.height) == (24, 16)
    agrees = before not in (0xDB, 0xC0) and payload == (16).to_bytes(2, "big")
    assert bool(jpeg.warnings) != agrees
    np.testing.assert_array_equal(dctafd.decode(jpeg), pillows_pixels(data))


def test_second_image_behind_the_first_is_left() -> None:
    structure = parse_markers(GRAY + all_kinds()["4:4:4 baseline"])
    assert structure.end == len(GRAY)
    assert len(structure.frame.components) == 1


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(order: str, orientation: int) -> None:
    jpeg = dctafd.read(insert_segment(GRAY, 0xE1, exif_payload(orientation, order)))
    assert jpeg.orientation == orientation
    assert jpeg.has_exif


def test_every_prefix_and_byte_of_exif_is_survived() -> None:
    payload = exif_payload(6)
    for length in range(len(payload)):
        assert dctafd.read(insert_segment(GRAY, 0xE1, payload[:length])).orientation in (1, 6)
    for offset in range(6, len(payload)):
        for value in (0, 255):
            changed = payload[:offset] + bytes([value]) + payload[offset + 1 :]
            assert dctafd.read(insert_segment(GRAY, 0xE1, changed)).orientation in range(1, 9)


def pillows_orientation(data: bytes) -> int:
    """How Pillow's `exif_transpose` turns a file: what it does not know it does not turn."""
    with Image.open(io.BytesIO(data)) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = image.getexif().get(0x0112, 1)
        return int(value) if not isinstance(value, (bytes, str, tuple)) and value in range(1, 9) else 1


def tiff_with_orientation(order: str, kind: int, count: int, value: bytes, pad: int = 0) -> bytes:
    """An EXIF payload whose one entry has any type and count; values over four bytes lie behind `pad`."""
    if len(value) > 4:
        field, behind = (26 + pad).to_bytes(4, order), bytes(pad) + value  # type: ignore[arg-type]
    else:
        field, behind = value.ljust(4, b"\0"), b""
    marks = {"big": b"MM\0*", "little": b"II*\0"}[order]
    numbers = [(8, 4), (1, 2), (0x0112, 2), (kind, 2), (count, 4)]
    head = b"".join(number.to_bytes(size, order) for number, size in numbers)  # type: ignore[arg-type]
    return b"Exif\0\0" + marks + head + field + bytes(4) + behind


ANY_TYPE = [
    (1, "B"), (2, "B"), (3, "H"), (4, "L"), (6, "b"), (7, "B"), (8, "h"), (9, "l"), (11, "f"), (12, "d"),
    (13, "L"), (16, "Q"), (99, "H"),
]  # fmt: skip


# Types differ in the size of a value, and with it in how many lie in the field itself; what is no orientation
# (0 and 9) and the order of bytes are told apart after that, the same for all types.
@pytest.mark.parametrize(
    ("order", "kind", "form", "values"),
    [
        *(("big", *one, values) for one in ANY_TYPE for values in ([6], [8, 3], [3, 0, 0, 9, 9], [])),
        *(("big", 3, "H", [value]) for value in (0, 9)),
        *(("little", *one, values) for one in ((1, "B"), (3, "H"), (16, "Q")) for values in ([6], [8, 3])),
    ],
)
def test_orientation_of_any_type_and_count_is_pillows(
    order: str, kind: int, form: str, values: list[int]
) -> None:
    value = struct.pack((">" if order == "big" else "<") + form * len(values), *values)
    for pad in (0, 7):
        payload = tiff_with_orientation(order, kind, len(values), value, pad)
        data = insert_segment(GRAY, 0xE1, payload)
        assert dctafd.read(data).orientation == pillows_orientation(data)


@pytest.mark.parametrize("kind", [5, 10])
@pytest.mark.parametrize("pair", [(6, 1), (16, 2), (7, 2), (3, 0)])
def test_orientation_as_a_rational_is_pillows(kind: int, pair: tuple[int, int]) -> None:
    data = insert_segment(GRAY, 0xE1, tiff_with_orientation("big", kind, 1, struct.pack(">LL", *pair)))
    assert dctafd.read(data).orientation == pillows_orientation(data)


def test_exif_is_looked_for_before_the_first_scan_only() -> None:
    six, eight = segment(0xE1, exif_payload(6)), segment(0xE1, exif_payload(8))
    five = exif_payload(5)
    in_pieces = segment(0xE1, five[:20]) + segment(0xE1, b"Exif\0\0" + five[20:])
    for data in (
        with_segment_before(GRAY, 0xD9, six),
        with_segment_before(with_segment_before(GRAY, 0xD9, six), 0xDB, eight),
        with_segment_before(encode(photo_like(24, 16), progressive=True), 0xD9, six),
        with_segment_before(GRAY, 0xDA, six),
        with_segment_before(GRAY, 0xDB, six + eight),
        with_segment_before(GRAY, 0xDB, segment(0xE1, b"Exif\0\0" + five)),
        with_segment_before(GRAY, 0xDB, in_pieces),
    ):
        assert dctafd.read(data).orientation == pillows_orientation(data)


XMP = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.mark.parametrize("xmp", [
    [b'<rdf tiff:Orientation="6"/>'],
    [b"<tiff:Orientation>8</tiff:Orientation>"],
    [b"<tiff:Orientation> 8</tiff:Orientation>"],
    [b"tiff:Orientation='3'"],
    [b'tiff:Orientation="9"'],
    [b'tiff:Orientation="0" tiff:Orientation="5"'],
    [b'tiff:Orientation="6"', b'tiff:Orientation="3"'],
    [b'tiff:Orientation="6"', b"nothing"],
])  # fmt: skip
@pytest.mark.parametrize(
    "exif",
    [b"", exif_payload(7), exif_payload(0), exif_payload(9), exif_payload(3).replace(b"\1\x12", b"\1\x13")],
)
def test_orientation_from_xmp_is_pillows(xmp: list[bytes], exif: bytes) -> None:
    segments = b"".join(segment(0xE1, XMP + text) for text in xmp) + (segment(0xE1, exif) if exif else b"")
    for before in (0xDB, 0xD9):
        data = with_segment_before(GRAY, before, segments)
        assert dctafd.read(data).orientation == pillows_orientation(data)


def test_icc_profile_in_pieces() -> None:
    profile = bytes(range(256)) * 300
    assert dctafd.read(encode(photo_like(8, 8), icc_profile=profile)).icc_profile == profile
    piece = b"ICC_PROFILE\0\2\3" + b"second of three"
    jpeg = dctafd.read(insert_segment(GRAY, 0xE2, piece))
    assert jpeg.icc_profile is None
    assert jpeg.warnings == ("the ICC profile is incomplete",)


@pytest.mark.parametrize(
    ("name", "color_space", "names"),
    [
        ("gray", "gray", ["Y"]),
        ("4:2:0 baseline", "ycbcr", ["Y", "Cb", "Cr"]),
        ("rgb", "rgb", ["R", "G", "B"]),
        ("rgb adobe", "rgb", ["R", "G", "B"]),
        ("cmyk", "cmyk", ["C", "M", "Y", "K"]),
        ("ycck", "ycck", ["Y", "Cb", "Cr", "K"]),
    ],
)
def test_color_space(name: str, color_space: str, names: list[str]) -> None:
    jpeg = dctafd.read(all_kinds()[name])
    assert jpeg.color_space == color_space
    assert [component.name for component in jpeg.components] == names
    assert jpeg.adobe_inverted == (len(names) == 4)


def test_letters_as_identifiers_mean_rgb_without_other_signs() -> None:
    frame = frame_of(8, 8, [(1, 1)] * 3)
    data = write_sequential(frame, random_coefficients(frame), tables=False)
    for old, new in zip(b"\1\2\3", b"RGB", strict=True):
        data = data.replace(bytes([old, 0x11, 0]), bytes([new, 0x11, 0]))
    data = data.replace(b"\3\1\0\2\0\3\0\0\x3f", b"\3R\0G\0B\0\0\x3f")
    assert dctafd.read(data).color_space == "rgb"
    assert dctafd.read(insert_segment(data, 0xE0, b"JFIF\0" + bytes(9))).color_space == "ycbcr"
    assert dctafd.read(with_adobe(data, 1)).color_space == "ycbcr"


def test_16_bit_quantisation_tables() -> None:
    values = list(range(200, 264))
    payload = b"\x10" + b"".join(value.to_bytes(2, "big") for value in values)
    table = dctafd.read(replaced(GRAY, 0xDB, lambda _: payload)).components[0].quant_table
    assert table.dtype == np.uint16
    assert table.reshape(64)[ZIGZAG_TO_NATURAL].tolist() == values


def test_a_table_changed_between_scans_keeps_to_its_scan() -> None:
    frame = frame_of(8, 8, [(1, 1)] * 3)
    data = write_sequential(frame, random_coefficients(frame), scans=[[0], [1, 2]])
    second = data.rfind(b"\xff\xda")
    data = data[:second] + segment(0xDB, b"\0" + b"\x09" * 64) + data[second:]
    jpeg = dctafd.read(data)
    assert jpeg.components[0].quant_table[0, 0] == 1
    assert (jpeg.components[1].quant_table == 9).all()


def test_scan_and_segment_limits() -> None:
    frame = frame_of(8, 8, [(1, 1)])
    data = write_sequential(frame, random_coefficients(frame), scans=[[0]] * 5)
    assert len(parse_markers(data, max_scans=5).scans) == 5
    with pytest.raises(LimitExceededError, match="more than 4 scans"):
        parse_markers(data, max_scans=4)
    with pytest.raises(LimitExceededError, match="segments"):
        parse_markers(GRAY[:2] + b"\xff\xe5\0\2" * 70_000 + GRAY[2:])
