"""What survives a resize, in closed form, against noise sent through the real decoder and the real resize."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import dctafd
from dctafd.inputs.block_grid import RGB_TO_YCC
from dctafd.inputs.model_input import ModelInput
from dctafd.inputs.prepare import prepare
from dctafd.inputs.survival import component_axes, unresized_energy
from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.jpeg.sampling_geometry import sample_grids
from tests.support.jpeg_files import encode, photo_like

SHORT, CROP = 112, 96  # pixels of the shorter side after the resize, and of the crop
BANDS = {"low": slice(0, 2), "middle": slice(2, 4), "high": slice(4, 8)}
AMPLITUDE = 60.0
VISIBLE = 0.1  # of what is less, rounding to 8-bit samples is a part


def gray(side: int, sampling: str) -> JpegCoefficients:
    return dctafd.read(encode(np.full((side, side, 3), 128, np.uint8), quality=100, subsampling=sampling))


def with_noise(
    jpeg: JpegCoefficients, component: int, band: slice, rng: np.random.Generator
) -> JpegCoefficients:
    """Give one component uniform errors at the frequencies of a band, as a quantiser does."""
    components = []
    for index, plain in enumerate(jpeg.components):
        errors = np.zeros(plain.coefficients.shape)
        if index == component:
            errors[..., band, band] = rng.uniform(-AMPLITUDE, AMPLITUDE, errors[..., band, band].shape)
        table = np.ones((8, 8), np.uint16)
        components.append(replace(plain, coefficients=errors.round().astype(np.int16), quant_table=table))
    return replace(jpeg, components=tuple(components))


def prepared(jpeg: JpegCoefficients, resize: int | None, crop: int) -> ModelInput:
    return prepare(jpeg, resize, crop, mean=(0, 0, 0), std=(1 / 255,) * 3, history=False)


def noise_of(model_input: ModelInput, component: int) -> float:
    """Return the variance of Y, Cb or Cr in the classifier's pixels."""
    return float(np.tensordot(RGB_TO_YCC, model_input.pixels, axes=1)[component].var())


def expected_ratio(
    jpeg: JpegCoefficients, survival: NDArray[np.float32], component: int, band: slice
) -> float:
    """Return the noise that survives over that of a photo that is not resized, by `survival` of its steps."""
    factors = tuple((part.h, part.v) for part in jpeg.components)
    axes = component_axes(sample_grids(jpeg.width, jpeg.height, factors)[component])
    energies = (unresized_energy(axis.scale.ratio, axis.interpolated)[band] for axis in axes)
    energy = np.outer(*energies)
    surviving = survival.reshape(3, 8, 8)[component, band, band]
    return float(np.sqrt((surviving**2 * energy).sum() / energy.sum()))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("scale", [0.5, 0.7, 1.3, 1.9, 2.5, 3.9, 6.3, 9.0, 16.0])
def test_noise_in_the_classifiers_pixels_is_what_survival_says(scale: float, sampling: str) -> None:
    rng = np.random.default_rng(7)
    stored, unresized = gray(round(SHORT * scale), sampling), gray(192, sampling)
    for component in (0, 1):
        for band in BANDS.values():
            left, whole = 0.0, 0.0
            for _ in range(6 if component else 3):
                model_input = prepared(with_noise(stored, component, band, rng), SHORT, CROP)
                left += noise_of(model_input, component)
                whole += noise_of(prepared(with_noise(unresized, component, band, rng), None, 192), component)
            expected = expected_ratio(stored, model_input.survival, component, band)
            measured = np.sqrt(left / whole)
            if max(expected, measured) > VISIBLE:
                assert measured == pytest.approx(expected, rel=0.15), (component, band)


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_everything_survives_where_nothing_is_resized(sampling: str) -> None:
    jpeg = dctafd.read(encode(photo_like(120, 90), subsampling=sampling))
    assert (prepared(jpeg, None, 64).survival == 1).all()
    assert (prepared(jpeg, 90, 64).survival == 1).all()


def test_a_turned_photo_has_the_survival_of_its_upright_axes() -> None:
    jpeg = dctafd.read(encode(photo_like(200, 160), subsampling="4:2:2"))
    straight = prepared(jpeg, 64, 64).survival.reshape(3, 8, 8)
    turned = prepared(replace(jpeg, orientation=6), 64, 64).survival.reshape(3, 8, 8)
    np.testing.assert_allclose(turned, straight.transpose(0, 2, 1), rtol=0.02, atol=0.003)


def test_less_survives_the_more_a_photo_shrinks() -> None:
    jpegs = [gray(side, "4:2:0") for side in (128, 256, 512, 1024)]
    sums = [prepared(jpeg, 64, 64).survival.reshape(3, 64).mean(1) for jpeg in jpegs]
    assert (np.diff(np.stack(sums), axis=0) < 0).all()
