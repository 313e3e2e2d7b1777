"""Damaged entropy-coded data: what libjpeg recovers, we recover, and we say how much is missing."""

import random
from typing import Any

import numpy as np
import pytest

import dctafd
from dctafd.errors import CorruptJpegError, DctafdError
from dctafd.jpeg import jpeglib_engine, numba_engine
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.partial import ComponentPlan
from tests.support.jpeg_files import all_kinds, encode, photo_like
from tests.support.mutations import damaged_scan


@pytest.mark.parametrize("name", all_kinds())
def test_recovered_coefficients_equal_libjpegs(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(name)
    compared = 0
    for _ in range(8):
        data = damaged_scan(all_kinds()[name], rng)
        try:
            structure = parse_markers(data)
            plans = [ComponentPlan.everything(*shape) for shape in structure.frame.blocks]
            theirs = jpeglib_engine.decode(data, structure, plans).components
        except DctafdError:
            continue
        ours = numba_engine.decode(data, structure, plans).components
        for mine, reference in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.corners, reference.corners)
        compared += 1
    assert compared > 0
    capfd.readouterr()  # libjpeg reports damage on stderr


def test_truncated_file_says_what_is_missing() -> None:
    data = encode(photo_like(128, 128), 90, subsampling="4:4:4")
    scan = parse_markers(data).scans[0]
    cut = data[: scan.start + (scan.end - scan.start) // 2]
    jpeg = dctafd.read(cut)
    assert any("without an EOI" in warning for warning in jpeg.warnings)
    shares = [warning for warning in jpeg.warnings if "of its blocks missing" in warning]
    assert [warning.split(":")[0] for warning in shares] == ["component Y", "component Cb", "component Cr"]
    share = float(shares[0].split(": ")[1].split(" %")[0])
    empty = 100 * float((~jpeg.components[0].coefficients.any(axis=(2, 3))).mean())
    assert abs(share - empty) < 2
    with pytest.raises(CorruptJpegError, match="missing"):
        dctafd.read(cut, strict=True)


def test_lost_restart_interval_costs_only_itself() -> None:
    pixels = photo_like(128, 64)
    data = encode(pixels, 90, restart_marker_rows=1)
    clean = dctafd.read(data)
    second = data.find(b"\xff\xd1")
    broken = data[: data.find(b"\xff\xd0") + 2] + data[second:]
    jpeg = dctafd.read(broken)
    assert any("missing" in warning for warning in jpeg.warnings)
    expected = clean.components[0].coefficients
    found = jpeg.components[0].coefficients
    same = (expected == found).all(axis=(1, 2, 3))
    assert same.sum() >= expected.shape[0] - 2
    assert not same.all()


@pytest.mark.parametrize("engine", ["numba", "jpeglib"])
def test_missing_eoi_alone_is_a_warning(engine: Any, capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(photo_like(32, 32))
    jpeg = dctafd.read(data[:-2], engine=engine)
    assert jpeg.warnings == ("the file ends without an EOI marker",)
    np.testing.assert_array_equal(
        jpeg.components[0].coefficients, dctafd.read(data).components[0].coefficients
    )
    with pytest.raises(CorruptJpegError, match="EOI"):
        dctafd.read(data[:-2], engine=engine, strict=True)
    capfd.readouterr()


def test_damage_in_a_later_scan_keeps_the_earlier_ones() -> None:
    data = encode(photo_like(64, 64), 75, progressive=True)
    third = parse_markers(data).scans[2]
    broken = bytearray(data)
    broken[third.start - 1] = 0xFF  # Ah, Al of the third scan
    jpeg = dctafd.read(bytes(broken))
    assert any(warning.startswith("scan 3 of") for warning in jpeg.warnings)
    assert jpeg.components[0].coefficients[..., 0, 0].any()
