"""Every file of ../shared/corpus gives coefficients equal to jpeglib's, or a named error."""

from pathlib import Path

import numpy as np
import pytest

import dctafd
from dctafd.errors import UnsupportedJpegError

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FILES, reason="needs the data folder ../shared/corpus"),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_equal_to_jpeglib_or_a_named_error(path, capfd):
    if "monkey12" in path.name:
        with pytest.raises(UnsupportedJpegError, match="12 bits"):
            dctafd.read(path)
        return
    jpeg = dctafd.read(path)
    reference = dctafd.read(path, engine="jpeglib")
    for ours, theirs in zip(jpeg.components, reference.components, strict=True):
        np.testing.assert_array_equal(ours.coefficients, theirs.coefficients)
    capfd.readouterr()


def test_size_mode_and_orientation_are_pillows(recwarn):
    from PIL import Image

    for path in FILES:
        if "monkey12" in path.name:
            continue
        with Image.open(path) as image:
            header = dctafd.read(path)
            assert (header.width, header.height) == image.size, path.name
            assert {"gray": "L", "cmyk": "CMYK", "ycck": "CMYK"}.get(header.color_space, "RGB") == image.mode
