"""What the markers mean: colour space, component names and process, as libjpeg decides them."""

from functools import lru_cache

import numpy as np

from dctafd.jpeg.coefficients import ColorSpace, ComponentHeader, JpegHeader, Process
from dctafd.jpeg.structure import SOF_BASELINE, Frame, JpegStructure

_COMPONENT_NAMES: dict[ColorSpace, tuple[str, ...]] = {
    "gray": ("Y",),
    "ycbcr": ("Y", "Cb", "Cr"),
    "rgb": ("R", "G", "B"),
    "cmyk": ("C", "M", "Y", "K"),
    "ycck": ("Y", "Cb", "Cr", "K"),
}


def color_space(structure: JpegStructure) -> ColorSpace:
    """Decide the colour space as libjpeg does (jdapimin.c, default_decompress_parms).

    Three components: YCbCr with a JFIF segment; as the Adobe segment says; RGB where the identifiers are the
    letters R, G, B; otherwise YCbCr. Four: CMYK, unless an Adobe segment says YCCK.
    """
    count = len(structure.frame.components)
    transform = structure.adobe_transform
    if count == 1:
        return "gray"
    if count == 4:
        return "cmyk" if transform is None or transform == 0 else "ycck"
    if structure.jfif:
        return "ycbcr"
    if transform is not None:
        return "rgb" if transform == 0 else "ycbcr"
    identifiers = bytes(component.identifier for component in structure.frame.components)
    return "rgb" if identifiers == b"RGB" else "ycbcr"


def process(structure: JpegStructure) -> Process:
    """Name the coding process of the frame header."""
    if structure.frame.arithmetic:
        return "arithmetic"
    if structure.frame.progressive:
        return "progressive"
    return "baseline" if structure.frame.marker == SOF_BASELINE else "extended"


def make_header(structure: JpegStructure, file_size: int) -> JpegHeader:
    """Return what the markers say; nothing is said of missing coefficients yet, nor are there warnings."""
    frame = structure.frame
    space = color_space(structure)
    tables = tuple([table.tobytes() for table in structure.quant_tables])
    components = _component_headers(frame, space, tables)
    return JpegHeader(
        width=frame.width,
        height=frame.height,
        color_space=space,
        adobe_inverted=len(components) == 4 and structure.adobe_transform is not None,
        process=process(structure),
        orientation=structure.orientation,
        components=components,
        icc_profile=structure.icc_profile,
        has_exif=structure.has_exif,
        file_size=file_size,
        scans=len(structure.scans),
        restart_interval=structure.scans[0].restart_interval,
        warnings=(),
    )


@lru_cache(maxsize=1024)
def _component_headers(
    frame: Frame, space: ColorSpace, tables: tuple[bytes, ...]
) -> tuple[ComponentHeader, ...]:
    """Return the components' facts; files of one kind share them."""
    return tuple(
        ComponentHeader(
            name,
            part.identifier,
            part.h,
            part.v,
            width,
            height,
            np.frombuffer(table, np.uint16).reshape(8, 8),
        )
        for name, part, (height, width), table in zip(
            _COMPONENT_NAMES[space], frame.components, frame.sizes, tables, strict=True
        )
    )


def component_names(structure: JpegStructure) -> tuple[str, ...]:
    """Return the components' names in frame order, such as ("Y", "Cb", "Cr")."""
    return _COMPONENT_NAMES[color_space(structure)]
