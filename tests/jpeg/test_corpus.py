"""Every file of ../shared/corpus gives coefficients equal to jpeglib's, or a named error."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dctafd
from dctafd.errors import UnsupportedJpegError
from dctafd.jpeg.markers import parse_markers
from tests.support.mutations import damaged_scan
from tools.places import SHARED

FILES = sorted(path for path in (SHARED / "corpus").glob("*/*") if path.is_file())

pytestmark = pytest.mark.shared("corpus")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_equal_to_jpeglib_or_a_named_error(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "monkey12" in path.name:
        with pytest.raises(UnsupportedJpegError, match="12 bits"):
            dctafd.read(path)
        return
    jpeg = dctafd.read(path)
    reference = dctafd.read(path, engine="jpeglib")
    for ours, theirs in zip(jpeg.components, reference.components, strict=True):
        np.testing.assert_array_equal(ours.coefficients, theirs.coefficients)
    capfd.readouterr()


def test_size_mode_and_orientation_are_pillows(recwarn: pytest.WarningsRecorder) -> None:
    for path in FILES:
        if "monkey12" in path.name:
            continue
        with Image.open(path) as image:
            header = dctafd.read(path)
            assert (header.width, header.height) == image.size, path.name
            assert {"gray": "L", "cmyk": "CMYK", "ycck": "CMYK"}.get(header.color_space, "RGB") == image.mode


DAMAGED_OTHERWISE: dict[str, str] = {}
"""Damaged copies whose pixels differ from Pillow's, by name and number, and why: none is known."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_damaged_copies_decode_as_with_pillow(path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Cut, overwritten, shortened and with stray restart markers: where Pillow still shows it, so do we."""
    data = path.read_bytes()
    if "monkey12" in path.name or len(data) > 300_000:
        pytest.skip("not read, or too large to decode many times")
    if not any(scan.end > scan.start for scan in parse_markers(data).scans):
        pytest.skip("holds no entropy-coded data")
    rng = random.Random(path.name)
    for number in range(3):
        changed = damaged_scan(data, rng)
        try:
            with Image.open(io.BytesIO(changed)) as image:
                expected = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError):
            continue
        same = np.array_equal(dctafd.decode(dctafd.read(changed)), expected)
        assert same != (f"{path.name} {number}" in DAMAGED_OTHERWISE)
