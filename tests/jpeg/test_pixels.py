"""`decode` against Pillow: to the bit for whatever Pillow decodes."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import dctafd
from dctafd.jpeg import pixels
from dctafd.jpeg.coefficients import Component, JpegCoefficients
from tests.support.jpeg_files import all_kinds, encode, photo_like, with_adobe, with_sampling
from tests.support.jpeg_writer import segment
from tools.places import SHARED

SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1")


def pillow(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def decoded(data: bytes) -> NDArray[np.uint8]:
    return dctafd.decode(dctafd.read(data))


def reinterpreted(factors: list[tuple[int, int]], mcus: tuple[int, int], trim: tuple[int, int]) -> bytes:
    """Return an RGB file of any sampling: the blocks of a 4:4:4 file, whose components share their tables.

    `mcus` are columns and rows of MCUs, `trim` pixels missing from the last ones.
    """
    blocks = mcus[0] * mcus[1] * sum(prod(factor) for factor in factors)
    assert blocks % 3 == 0
    data = encode(photo_like(blocks // 3 * 8, 8), 60, keep_rgb=True)
    h_max, v_max = (max(axis) for axis in zip(*factors, strict=True))
    return with_sampling(data, factors, (mcus[0] * 8 * h_max - trim[0], mcus[1] * 8 * v_max - trim[1]))


@pytest.mark.parametrize("name", sorted(all_kinds()))
def test_every_kind_of_file(name: str) -> None:
    data = all_kinds()[name]
    assert np.array_equal(decoded(data), pillow(data))


# Upsampling has other edges at each of these sizes; strong compression empties other blocks in any of them.
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(
    ("size", "quality"),
    [
        *((size, 92) for size in ((1, 1), (2, 3), (4, 5), (5, 2), (7, 9), (17, 33), (33, 17), (131, 40))),
        ((131, 40), 5),
    ],
)
def test_odd_sizes(size: tuple[int, int], sampling: str, quality: int) -> None:
    data = encode(photo_like(*size), quality, subsampling=sampling)
    assert np.array_equal(decoded(data), pillow(data))


@pytest.mark.parametrize(
    "factors",
    [
        [(3, 1), (1, 1), (1, 1)],
        [(4, 2), (1, 1), (1, 1)],
        [(2, 2), (1, 2), (2, 1)],
        [(1, 1), (2, 2), (1, 2)],
        [(4, 1), (2, 1), (2, 1)],
        [(2, 4), (1, 1), (1, 1)],
        [(1, 2), (1, 1), (1, 1)],
    ],
)
@pytest.mark.parametrize("trim", [(0, 0), (3, 5), (7, 7)])
def test_unusual_whole_ratios(factors: list[tuple[int, int]], trim: tuple[int, int]) -> None:
    data = reinterpreted(factors, (6, 4), trim)
    jpeg = dctafd.read(data)
    assert [(c.h, c.v) for c in jpeg.components] == factors
    assert np.array_equal(dctafd.decode(jpeg), pillow(data))


def flat(
    factors: list[tuple[int, int]], means: tuple[int, int, int], size: tuple[int, int]
) -> JpegCoefficients:
    """A flat YCbCr picture whose DC coefficients, at step 8, are `means`."""
    like = dctafd.read(encode(photo_like(8, 8)))
    h_max, v_max = (max(axis) for axis in zip(*factors, strict=True))
    components = []
    for index, (h, v) in enumerate(factors):
        width, height = -(-size[0] * h // h_max), -(-size[1] * v // v_max)
        blocks = np.zeros((-(-height // 8), -(-width // 8), 8, 8), np.int16)
        blocks[..., 0, 0] = means[index]
        table = np.full((8, 8), 8, np.uint16)
        components.append(Component("Y", index, h, v, width, height, table, blocks))
    facts = {name: getattr(like, name) for name in like.__dataclass_fields__}
    facts |= {"width": size[0], "height": size[1], "components": tuple(components)}
    return JpegCoefficients(**facts)


FRACTIONAL = [
    [(3, 2), (2, 1), (2, 1)],
    [(2, 3), (1, 2), (1, 2)],
    [(2, 2), (3, 3), (1, 1)],
    [(3, 1), (4, 1), (2, 1)],
]


@pytest.mark.parametrize("factors", FRACTIONAL)
def test_fractional_ratios_keep_flat_pictures_flat(factors: list[tuple[int, int]]) -> None:
    image = dctafd.decode(flat(factors, (10, 20, -30), (45, 31)))
    assert image.shape == (31, 45, 3)
    expected = Image.new("YCbCr", (1, 1), (138, 148, 98)).convert("RGB").getpixel((0, 0))
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("factors", FRACTIONAL)
def test_fractional_ratios_place_samples_as_an_exact_ramp(factors: list[tuple[int, int]]) -> None:
    """A ramp along x in one component stays a straight ramp at the picture's resolution."""
    jpeg = flat(factors, (0, 0, 0), (96, 48))
    for index, component in enumerate(jpeg.components):
        columns = component.coefficients.shape[1]
        x = np.arange(columns * 8) + 0.5
        ramp = (x * max(h for h, _ in factors) / component.h - 48).reshape(columns, 8)
        k, position = np.mgrid[0:8, 0:8]
        basis = np.cos((2 * position + 1) * k * np.pi / 16) / 2
        basis[0] /= np.sqrt(2)
        component.coefficients[:, :, 0, :] = np.rint(ramp @ basis.T * np.sqrt(8) / 8)
        image = dctafd.decode(jpeg).astype(float)
        component.coefficients[:] = 0
        if index == 0:
            inner = image[:, 8:-8, 1]
            assert np.abs(inner - (np.arange(96)[8:-8] + 0.5 - 48 + 128)).max() < 4


def regions(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    rng = np.random.default_rng(width)
    for _ in range(40):
        left, right = sorted(rng.choice(width + 1, 2, replace=False).tolist())
        top, bottom = sorted(rng.choice(height + 1, 2, replace=False).tolist())
        yield left, top, right, bottom
    yield 0, 0, 1, 1
    yield width - 1, height - 1, width, height


def check_regions(jpeg: JpegCoefficients) -> None:
    whole = dctafd.decode(jpeg)
    for left, top, right, bottom in regions(jpeg.width, jpeg.height):
        part = dctafd.decode(jpeg, (left, top, right, bottom))
        assert np.array_equal(part, whole[top:bottom, left:right]), (left, top, right, bottom)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_region_is_a_crop_of_the_whole(sampling: str) -> None:
    check_regions(dctafd.read(encode(photo_like(93, 61), 80, subsampling=sampling)))


@pytest.mark.parametrize("factors", [*FRACTIONAL, [(4, 2), (1, 1), (1, 2)]])
def test_a_region_of_an_unusual_sampling_is_a_crop_of_the_whole(factors: list[tuple[int, int]]) -> None:
    jpeg = flat(factors, (0, 0, 0), (77, 59))
    rng = np.random.default_rng(4)
    for component in jpeg.components:
        component.coefficients[:] = rng.integers(-9, 10, component.coefficients.shape)
    check_regions(jpeg)


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(photo_like(70, 300), 80, subsampling="4:2:0")
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 70 * 64)
    assert np.array_equal(decoded(data), pillow(data))


@pytest.mark.parametrize("region", [(0, 0, 0, 5), (3, 3, 3, 3), (-1, 0, 5, 5), (0, 0, 94, 5), (5, 0, 2, 9)])
def test_a_region_outside_the_picture_is_refused(region: tuple[int, int, int, int]) -> None:
    jpeg = dctafd.read(encode(photo_like(93, 61)))
    with pytest.raises(ValueError, match="region"):
        dctafd.decode(jpeg, region)


def test_components_with_too_few_blocks_are_refused() -> None:
    jpeg = flat([(2, 2), (1, 1), (1, 1)], (0, 0, 0), (64, 64))
    short = replace(jpeg.components[1], coefficients=jpeg.components[1].coefficients[:-1])
    with pytest.raises(ValueError, match="blocks"):
        dctafd.decode(replace(jpeg, components=(jpeg.components[0], short, jpeg.components[2])))


def test_coefficients_may_be_a_view() -> None:
    jpeg = flat([(1, 1)] * 3, (5, 0, 0), (64, 64))
    views = [replace(c, coefficients=c.coefficients[::-1, ::-1]) for c in jpeg.components]
    turned = dctafd.decode(replace(jpeg, components=tuple(views)))
    assert np.array_equal(turned, dctafd.decode(jpeg))


def test_cmyk_is_inverted_whatever_the_adobe_marker_says() -> None:
    data = encode(photo_like(20, 20, 4), mode="CMYK")
    for transform in (0, 2):
        changed = with_adobe(data, transform)
        assert np.array_equal(decoded(changed), pillow(changed))


def test_extreme_coefficients_wrap_like_pillows() -> None:
    """Larger steps than the encoder had lift coefficients far beyond the range of samples."""
    data = encode(photo_like(160, 160, 1), 100)
    start = data.index(b"\xff\xdb") + 5
    for step in (3, 40, 255):
        tables = data[:start] + bytes([step]) * 64 + data[start + 64 :]
        assert np.array_equal(decoded(tables), pillow(tables))


@pytest.mark.parametrize("step", [40, 8000, 32767, 32768, 36864, 65535])
@pytest.mark.parametrize("place", [0, 1, 2, 20])
@pytest.mark.parametrize("pixels", [photo_like(96, 96, 1), np.full((96, 96), 255, np.uint8)])
def test_one_step_as_large_as_16_bits_allow(step: int, place: int, pixels: NDArray[np.uint8]) -> None:
    """Such products leave 16 bits; blocks that are zero below their first row take libjpeg's short cut."""
    data = encode(pixels, 90)
    start = data.index(b"\xff\xdb")
    values = [1] * 64
    values[place] = step
    table = segment(0xDB, b"\x10" + b"".join(value.to_bytes(2, "big") for value in values))
    data = data[:start] + table + data[start + 4 + 65 :]
    jpeg = dctafd.read(data, strict=True)
    assert jpeg.components[0].quant_table.max() == step
    assert np.array_equal(dctafd.decode(jpeg), pillow(data))


@pytest.mark.parametrize("step", [1, 3, 40, 255])
def test_an_eighth_of_the_size_wraps_like_pillows_draft(step: int) -> None:
    data = encode(photo_like(160, 160, 1), 100)
    start = data.index(b"\xff\xdb") + 5
    data = data[:start] + bytes([step]) * 64 + data[start + 64 :]
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (20, 20))
        expected = np.asarray(image)
    jpeg = dctafd.read(data)
    out = np.empty((20, 20, 3), np.uint8)
    pixels.decode_window(jpeg, [jpeg.components[0].coefficients], (0, 0, 20, 20), out=out, reduction=8)
    assert np.array_equal(out[..., 0], expected)


@pytest.mark.shared("corpus")
def test_corpus_decodes_as_with_pillow() -> None:
    """What Pillow reads decodes the same; it refuses the 12-bit file and two that are cut short."""
    compared, refused = 0, []
    for path in sorted((SHARED / "corpus").glob("*/*")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = pillow(path.read_bytes())
            except OSError:
                refused.append(path.name)
                continue
        assert np.array_equal(dctafd.decode(dctafd.read(path)), expected), path.name
        compared += 1
    assert compared >= 60
    assert refused == [
        "testimages_monkey12.jpg",
        "Tests_images_truncated_jpeg.jpg",
        "Tests_images_ultrahdr.jpg",
    ]
