"""What is said of files that are no JPEG."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

import dctafd
from dctafd.errors import NotAJpegError
from dctafd.jpeg.foreign import not_a_jpeg


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WebP", "PDF", "JPEG2000", "ICO"])
def test_pictures_that_pillow_writes_are_named(kind: str) -> None:
    name = {"JPEG2000": "JPEG 2000"}.get(kind, kind)
    with pytest.raises(NotAJpegError, match=rf"this is an? .*{name}.*; dctafd reads JPEG"):
        dctafd.read(picture(kind))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "an AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL"),
        (b"\xef\xbb\xbf \r\n<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"<HTML><head>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "an XML file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b'{"error": "not found"}\n', "a text file"),
        (b"PK\3\4\x14\0", "a zip archive"),
        (b"\0" * 100, "a file of zeros"),
    ],
)
def test_what_else_is_called_jpg_is_named(start: bytes, kind: str) -> None:
    assert str(not_a_jpeg(start)).startswith(f"this is {kind}")
    assert str(not_a_jpeg(start)).endswith("; dctafd reads JPEG")


def test_an_empty_file_and_one_of_unknown_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(NotAJpegError, match="the file is empty"):
        dctafd.read(tmp_path / "empty.jpg")
    with pytest.raises(NotAJpegError, match="does not start with the bytes FF D8"):
        dctafd.read(os.urandom(0) + b"\x80\x81\x82" * 30)


def test_a_url_is_no_file(tmp_path: Path) -> None:
    for name in ("https://example.org/a.jpg", "s3://bucket/a.jpg", "file:///a.jpg"):
        with pytest.raises(FileNotFoundError, match="this is a URL"):
            dctafd.read(name)
    with pytest.raises(FileNotFoundError) as caught:
        dctafd.read(tmp_path / "missing.jpg")
    assert "URL" not in str(caught.value)
