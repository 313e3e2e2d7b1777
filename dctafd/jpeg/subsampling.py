"""Chroma subsampling as people name it."""

from collections.abc import Sequence

_NAMES = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
    (1, 4): "4:4:1",
}
"""How many times finer luma is sampled than both chroma components, horizontally and vertically."""


def subsampling_name(factors: Sequence[tuple[int, int]]) -> str:
    """Name the sampling of an image whose components have the given (h, v) factors.

    Returns "gray" for one component; "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "4:1:0" or "4:4:1" where
    the chroma components share their factors and these divide luma's; otherwise the factors themselves, such
    as "2x2,1x1,1x2". A fourth component (K) must be sampled as luma for the short names.
    """
    if len(factors) == 1:
        return "gray"
    plain = ",".join(f"{h}x{v}" for h, v in factors)
    (h, v), *chroma = factors[:3]
    if len(factors) == 4 and factors[3] != (h, v):
        return plain
    if len(set(chroma)) != 1 or h % chroma[0][0] or v % chroma[0][1]:
        return plain
    return _NAMES.get((h // chroma[0][0], v // chroma[0][1]), plain)
