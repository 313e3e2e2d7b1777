"""`prepare` against torchvision's reference transform; the block grid of a photo and of its twins."""

import io
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision import transforms

import dctafd
from dctafd.config import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from dctafd.inputs import crop_coefficients
from dctafd.inputs.geometry import ORIENTATIONS
from dctafd.inputs.model_input import ModelInput, stack_inputs
from dctafd.jpeg.coefficients import JpegCoefficients
from tests.support.jpeg_files import all_kinds, encode, exif_payload, insert_segment, photo_like

Fields = ("pixels", "coefficients", "steps", "scale")


def levels(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Undo the normalisation: (3, height, width) samples 0..255."""
    mean, std = (np.array(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels * std + mean) * 255


def reference(image: Image.Image, resize: int | None, crop: int) -> NDArray[np.float32]:
    steps: list[Callable] = [transforms.Resize(resize)] if resize else []
    steps += [transforms.CenterCrop(crop), transforms.ToTensor()]
    steps += [transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    return transforms.Compose(steps)(ImageOps.exif_transpose(image.convert("RGB"))).numpy()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def check_against_torchvision(data: bytes, resize: int | None, crop: int) -> None:
    pixels = dctafd.prepare(data, resize, crop, history=False).pixels
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, crop, crop)
    error = np.abs(levels(pixels) - levels(reference(opened(data), resize, crop)))
    assert error.max() < 1.001


@pytest.mark.parametrize("size", [(500, 375), (301, 222), (256, 256), (17, 33), (1, 1), (60, 300)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (None, 224), (200, 216), (232, 224)])
def test_pixels_are_torchvisions(size: tuple[int, int], resize: int | None, crop: int) -> None:
    check_against_torchvision(encode(photo_like(*size), 80), resize, crop)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", [96, None])
def test_pixels_of_turned_photos_are_torchvisions(orientation: int, resize: int | None) -> None:
    data = insert_segment(encode(photo_like(150, 101), 80), 0xE1, exif_payload(orientation))
    check_against_torchvision(data, resize, 80)


@pytest.mark.parametrize("name", sorted(all_kinds()))
def test_every_kind_of_file(name: str) -> None:
    check_against_torchvision(all_kinds()[name], 64, 56)


def pixel_error(pixels: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((levels(pixels) - levels(expected)) ** 2)))


# Each size is reduced in another way; chroma as its sampling has it; the quality only tells how sparse blocks
# are.
@pytest.mark.parametrize(
    ("sampling", "quality"),
    [("4:4:4", 90), ("4:2:2", 90), ("4:2:0", 90), ("4:4:0", 90), ("4:2:0", 15)],
)
@pytest.mark.parametrize("size", [(130, 129), (201, 340), (300, 259), (700, 515), (1101, 1300)])
def test_reduced_decoding_differs_no_more_than_pillows_draft(
    sampling: str, size: tuple[int, int], quality: int
) -> None:
    data = encode(photo_like(*size), quality, subsampling=sampling)
    exact = reference(opened(data), 64, 56)
    image = opened(data)
    resized = transforms.functional.resize(image, 64).size
    draft = opened(data)
    _, box = draft.draft("RGB", resized) or (None, None)
    assert draft.size != image.size
    draft = draft.resize(resized, Image.Resampling.BILINEAR, box)
    pixels = dctafd.prepare(data, 64, 56, history=False).pixels
    assert pixel_error(pixels, exact) <= pixel_error(reference(draft, None, 56), exact) + 1e-6


def assert_same(one: ModelInput, other: ModelInput) -> None:
    for name in Fields:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


# Kinds differ in their MCUs, crops in the size they are decoded at; what counts as small is read whole,
# whatever the crop.
@pytest.mark.parametrize("name", sorted(all_kinds()))
@pytest.mark.parametrize(
    ("resize", "crop", "small"), [(64, 56, 0), (24, 16, 0), (8, 8, 0), (64, 56, 1 << 20)]
)
def test_a_source_gives_what_its_coefficients_give(
    name: str, resize: int, crop: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_coefficients, "SMALL", small)
    data = all_kinds()[name]
    assert_same(dctafd.prepare(data, resize, crop), dctafd.prepare(dctafd.read(data), resize, crop))


def turned_twin(jpeg: JpegCoefficients, orientation: int) -> JpegCoefficients:
    """Return the photo stored so that `orientation` brings it upright again; sizes are whole MCUs.

    Mirroring is its own inverse, and a transposed picture is mirrored along its own, the other, axes.
    """
    turn = ORIENTATIONS[orientation]
    components = []
    for component in jpeg.components:
        blocks, table = component.coefficients, component.quant_table
        factors = component.h, component.v
        size = component.width, component.height
        if turn.transpose:
            blocks, table = blocks.transpose(1, 0, 3, 2), table.T
            factors, size = factors[::-1], size[::-1]
        signs = np.ones((8, 8), np.int16)
        if turn.mirror_x:
            blocks, signs[:, 1::2] = blocks[:, ::-1], -1
        if turn.mirror_y:
            blocks, signs[1::2] = blocks[::-1], signs[1::2] * -1
        changed: dict[str, Any] = {"h": factors[0], "v": factors[1], "width": size[0], "height": size[1]}
        changed["quant_table"] = np.ascontiguousarray(table)
        changed["coefficients"] = np.ascontiguousarray(blocks * signs)
        components.append(replace(component, **changed))
    width, height = (jpeg.height, jpeg.width) if turn.transpose else (jpeg.width, jpeg.height)
    return replace(jpeg, width=width, height=height, orientation=orientation, components=tuple(components))


# 4:2:2 is another sampling once it is turned; the other crops see other blocks of the same turned grid.
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("sampling", "resize", "crop"),
    [("4:4:4", 96, 80), ("4:2:0", 96, 80), ("4:2:2", 96, 80), ("4:2:0", None, 64), ("4:2:2", 40, 32)],
)
def test_a_turned_twin_gives_the_same_grid(
    orientation: int, sampling: str, resize: int | None, crop: int
) -> None:
    jpeg = dctafd.read(encode(photo_like(208, 144), 40, subsampling=sampling))
    twin = dctafd.prepare(turned_twin(jpeg, orientation), resize, crop)
    upright = dctafd.prepare(jpeg, resize, crop)
    for name in ("coefficients", "steps", "scale"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(upright, name), name)
    assert np.abs(levels(twin.pixels) - levels(upright.pixels)).mean() < 1


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_cropped_twin_gives_the_same_grid(sampling: str, orientation: int) -> None:
    jpeg = dctafd.read(encode(photo_like(208, 176), 40, subsampling=sampling))
    jpeg = replace(jpeg, orientation=orientation)
    components = []
    for component in jpeg.components:
        margin = 16 * component.h // jpeg.components[0].h // 8
        blocks = component.coefficients[margin:-margin, margin:-margin]
        components.append(
            replace(component, coefficients=blocks, height=blocks.shape[0] * 8, width=blocks.shape[1] * 8)
        )
    twin = replace(jpeg, width=176, height=144, components=tuple(components))
    whole, cropped = dctafd.prepare(jpeg, None, 96), dctafd.prepare(twin, None, 96)
    for name in ("coefficients", "steps", "scale"):
        np.testing.assert_array_equal(getattr(cropped, name), getattr(whole, name), name)


def test_cells_hold_the_block_under_their_centre() -> None:
    jpeg = dctafd.read(encode(photo_like(96, 96), 50, subsampling="4:2:0"))
    item = dctafd.prepare(jpeg, None, 64)
    y, cb, _ = (
        component.coefficients * component.quant_table.astype(np.float32) for component in jpeg.components
    )
    assert np.array_equal(item.coefficients[:64, 3, 5].reshape(8, 8), y[2 + 3, 2 + 5])
    assert np.array_equal(item.coefficients[64:128, 3, 5].reshape(8, 8), cb[(2 + 3) // 2, (2 + 5) // 2])
    expected = np.concatenate([component.quant_table.ravel() for component in jpeg.components])
    assert np.array_equal(item.steps, expected)


def test_cells_outside_the_picture_are_zero() -> None:
    item = dctafd.prepare(encode(photo_like(40, 200), 60), None, 80)
    occupied = np.abs(item.coefficients).max(axis=0) > 0
    assert np.array_equal(occupied.any(axis=0), [False, False, *[True] * 5, False, False, False])


def test_coefficients_are_clipped() -> None:
    jpeg = dctafd.read(encode(photo_like(64, 64, 1), 90))
    table = np.full((8, 8), 65535, np.uint16)
    component = replace(jpeg.components[0], quant_table=table)
    item = dctafd.prepare(replace(jpeg, components=(component,)), None, 64, history=False)
    assert np.abs(item.coefficients).max() == 16384
    assert item.steps[:64].max() == 65535


def test_gray_has_no_chroma() -> None:
    item = dctafd.prepare(encode(photo_like(64, 64, 1), 60), None, 64)
    assert np.abs(item.coefficients[:64]).max() > 0
    assert not item.coefficients[64:].any()
    assert item.steps[:64].all()
    assert not item.steps[64:].any()


def dct(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transform of the first 8x8 samples."""
    k, x = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis @ (plane[:8, :8] - 128.0) @ basis.T


def test_rgb_blocks_become_ycbcr() -> None:
    pixels = photo_like(16, 16)
    item = dctafd.prepare(encode(pixels, 100, keep_rgb=True), None, 16)
    ycc = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    for index in range(3):
        block = item.coefficients[64 * index : 64 * index + 64, 0, 0].reshape(8, 8)
        np.testing.assert_allclose(block, dct(ycc[..., index].astype(float)), atol=5)


@pytest.mark.parametrize("name", ["cmyk", "ycck"])
def test_cmyk_blocks_are_nearly_those_of_the_picture_without_black(name: str) -> None:
    pixels = photo_like(16, 16, 4)
    pixels[..., 3] = 0
    data = all_kinds()[name] if name == "ycck" else encode(pixels, 100, mode="CMYK")
    if name == "ycck":
        jpeg = dctafd.read(data)
        components = list(jpeg.components)
        black = np.zeros_like(components[3].coefficients)
        black[..., 0, 0] = 1016 // int(components[3].quant_table[0, 0])
        components[3] = replace(components[3], coefficients=black)
        jpeg = replace(jpeg, components=tuple(components))
    else:
        jpeg = dctafd.read(data)
    item = dctafd.prepare(jpeg, None, 16)
    shown = Image.fromarray(dctafd.decode(jpeg, (0, 0, jpeg.width, jpeg.height)))
    left, top = (jpeg.width - 16) // 2, (jpeg.height - 16) // 2
    cell_x, cell_y = (left + 4) // 8 * 8, (top + 4) // 8 * 8
    luma = np.asarray(shown.convert("YCbCr"))[cell_y:, cell_x:, 0].astype(float)
    block = item.coefficients[:64, 0, 0].reshape(8, 8)
    expected = dct(luma)
    assert np.corrcoef(block.ravel(), expected.ravel())[0, 1] > 0.95
    assert np.sign(block[0, 0]) == np.sign(expected[0, 0])


def test_a_large_photo_costs_little_memory() -> None:
    """Its coefficients alone would be 2 bytes * 1.5 * 12 megapixels = 36 MB."""
    data = encode(np.tile(photo_like(250, 200), (15, 16, 1)), 75)
    dctafd.prepare(data)
    tracemalloc.start()
    dctafd.prepare(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6 + len(data)


def test_coefficients_that_do_not_fit_their_component_are_refused() -> None:
    jpeg = dctafd.read(encode(photo_like(64, 64, 1)))
    component = replace(jpeg.components[0], coefficients=jpeg.components[0].coefficients[:-1])
    with pytest.raises(ValueError, match="blocks"):
        dctafd.prepare(replace(jpeg, components=(component,)), 64, 56)


def test_header_is_light_and_complete() -> None:
    data = encode(photo_like(93, 61), 75)
    item = dctafd.prepare(data, 64, 56)
    jpeg = dctafd.read(data)
    assert not isinstance(item.header, JpegCoefficients)
    assert (item.header.width, item.header.height, item.header.subsampling) == (93, 61, jpeg.subsampling)
    assert item.header.file_size == len(data)
    assert not hasattr(item.header.components[0], "coefficients")


def test_history_is_optional() -> None:
    assert dctafd.prepare(encode(photo_like(64, 64)), 64, 56, history=False).primary_quality is None


@pytest.mark.parametrize(("resize", "crop"), [(256, 220), (256, 0), (0, 224), (256, -8), (-1, 224)])
def test_senseless_sizes_are_refused(resize: int, crop: int) -> None:
    with pytest.raises(ValueError, match="crop"):
        dctafd.prepare(encode(photo_like(8, 8)), resize, crop)


def test_damage_is_reported_or_refused() -> None:
    data = encode(photo_like(93, 61), 75)[:-700]
    assert dctafd.prepare(data, 64, 56).header.warnings
    with pytest.raises(dctafd.CorruptJpegError):
        dctafd.prepare(data, 64, 56, strict=True)


def test_arrays_of_an_input_are_the_callers_own() -> None:
    first, second = (dctafd.prepare(encode(photo_like(64, 56), 60), 64, 56) for _ in range(2))
    for name in (*Fields, "survival"):
        array = getattr(first, name)
        if isinstance(array, np.ndarray):
            assert array.flags.writeable, name
            array[...] = 0
            assert getattr(second, name).any(), name


def test_threads_that_use_memory_again_do_not_share_it() -> None:
    """Photos of several sizes and kinds, many times in several threads: each gives what it gives alone."""
    photos = [encode(photo_like(width, height), 80) for width, height in ((300, 200), (90, 400), (1300, 900))]
    photos.append(all_kinds()["gray"])
    alone = [dctafd.prepare(data, 64, 64) for data in photos]
    kept = [{name: getattr(item, name).copy() for name in Fields} for item in alone]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda data: dctafd.prepare(data, 64, 64), photos * 8))
    for index, item in enumerate(again):
        for name in Fields:
            expected = kept[index % len(photos)][name]
            assert np.array_equal(getattr(item, name), expected)
            assert np.array_equal(getattr(alone[index % len(photos)], name), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 256.5}, "resize positive"),
        ({"crop": 224.0}, "multiple of 8"),
        ({"mean": (1, 2)}, "three numbers"),
        ({"std": (1, 0, 1)}, "above 0"),
        ({"thumbnail": 0}, "thumbnail"),
        ({"thumbnail": 5000}, "thumbnail"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dctafd.prepare(encode(photo_like(40, 40)), **options)


def test_preprocessing_stands_for_sizes_and_normalisation() -> None:
    data = encode(photo_like(90, 70))
    wanted = Preprocessing(64, 48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    one = dctafd.prepare(data, preprocessing=wanted)
    other = dctafd.prepare(data, 64, 48, mean=wanted.mean, std=wanted.std)
    assert np.array_equal(one.pixels, other.pixels)
    assert one.pixels.shape == (3, 48, 48)


def test_a_batch_has_one_crop_size() -> None:
    data = encode(photo_like(90, 70))
    with pytest.raises(ValueError, match="not of 32 and 64"):
        stack_inputs([dctafd.prepare(data, 64, 64), dctafd.prepare(data, 64, 32)])
    with pytest.raises(ValueError, match="not of none"):
        stack_inputs([])
