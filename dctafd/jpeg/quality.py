"""JPEG quality from the quantisation tables alone: least squares against the 100 scaled IJG tables.

Encoders disagree about what a quality is: only IJG's scale is common, so a table that is not IJG's gets
the quality of the nearest IJG table and a residual that says how near it is.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import ComponentHeader, JpegHeader
from dctafd.jpeg.ijg_tables import CHROMINANCE, LUMINANCE, all_scaled_tables

TableKind = Literal["luma", "chroma", "either"]
_TableKey = tuple[TableKind, bytes]

_BASELINE_LIMIT = 255
_LUMA = all_scaled_tables(LUMINANCE, baseline=False).reshape(100, 64).astype(np.float64)
_CHROMA = all_scaled_tables(CHROMINANCE, baseline=False).reshape(100, 64).astype(np.float64)


@dataclass(frozen=True, slots=True)
class QualityEstimate:
    """The IJG quality whose tables are nearest to a file's.

    Attributes:
        value: IJG quality, 1..100.
        exact: whether every table equals that quality's to the letter, in the form that ends at 255 or the
            one that does not.
        residual: root mean square difference from that quality's tables, in quantisation steps; 0 if exact.
        relative_residual: the residual over the root mean square step of the tables; above some 0.1, the
            tables are not IJG's and the value is a rough equivalent.
        luma_value: the quality that the luma tables alone would get.
        chroma_value: the quality that the chroma tables alone would get; None where there are none.
    """

    value: int
    exact: bool
    residual: float
    relative_residual: float
    luma_value: int
    chroma_value: int | None


def estimate_quality(jpeg: JpegHeader) -> QualityEstimate:
    """Estimate the IJG quality of a JPEG file from its quantisation tables.

    Each component counts with the table it names: Y (and K) against IJG's luma table, Cb and Cr against the
    chroma table. The components of RGB and CMYK files have no such roles, so each is compared with both.
    A table that several components share counts once, as luma if one of them is.

    Args:
        jpeg: a header or coefficients of `dctafd.read`.

    Returns:
        The estimate, from a cache for tables met lately.

    Example:
        >>> estimate = dctafd.estimate_quality(dctafd.read_header("photo.jpg"))
        >>> estimate.value, estimate.exact
        (75, True)
    """
    return _estimate(_table_keys(jpeg.components))


def estimate_quality_of_tables(
    luma: NDArray[np.integer], chroma: NDArray[np.integer] | None = None
) -> QualityEstimate:
    """Estimate the IJG quality of a luma table and, if there is one, a chroma table, each (8, 8)."""
    keys: list[_TableKey] = [("luma", _table_bytes(luma))]
    if chroma is not None and not np.array_equal(luma, chroma):
        keys.append(("chroma", _table_bytes(chroma)))
    return _estimate(tuple(keys))


def _table_bytes(table: NDArray[np.integer]) -> bytes:
    return np.ascontiguousarray(table, dtype=np.uint16).tobytes()


def _table_keys(components: tuple[ComponentHeader, ...]) -> tuple[_TableKey, ...]:
    """Return each distinct table once with its kind."""
    names = {component.name for component in components}
    has_luma = "Cb" in names or names == {"Y"}  # in CMYK, "Y" is yellow
    kinds: dict[bytes, TableKind] = {}
    for component in components:
        table = _table_bytes(component.quant_table)
        kind: TableKind = "chroma" if component.name in ("Cb", "Cr") else "luma"
        if not has_luma:
            kinds[table] = "either"
        elif kinds.get(table) != "luma":
            kinds[table] = kind
    return tuple((kind, table) for table, kind in kinds.items())


@lru_cache(maxsize=4096)
def _estimate(keys: tuple[_TableKey, ...]) -> QualityEstimate:
    tables = [(kind, np.frombuffer(data, dtype=np.uint16).astype(np.float64)) for kind, data in keys]
    errors = {key: _squared_errors(*table) for key, table in zip(keys, tables, strict=True)}
    total = np.sum([*errors.values()], axis=0)
    luma = [error for (kind, _), error in errors.items() if kind != "chroma"]
    chroma = [error for (kind, _), error in errors.items() if kind == "chroma"]
    best = int(np.argmin(total))
    entries = np.concatenate([table for _, table in tables])
    residual = float(np.sqrt(total[best] / entries.size))
    return QualityEstimate(
        value=best + 1,
        exact=bool(total[best] == 0) and all(_is_exact(kind, table, best) for kind, table in tables),
        residual=residual,
        relative_residual=residual / float(np.sqrt(np.mean(entries**2))),
        luma_value=int(np.argmin(np.sum(luma, axis=0))) + 1 if luma else best + 1,
        chroma_value=int(np.argmin(np.sum(chroma, axis=0))) + 1 if chroma else None,
    )


def _squared_errors(kind: TableKind, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (100,) sums of squared differences between a (64,) table and each quality's.

    An entry of 255 in a table without larger ones is censored: the encoder may have cut it there, so a scaled
    entry beyond it is no error (without this, low qualities look higher than they are).
    """
    if kind == "either":
        return np.minimum(_squared_errors("luma", table), _squared_errors("chroma", table))
    difference = (_LUMA if kind == "luma" else _CHROMA) - table
    if table.max() == _BASELINE_LIMIT:
        difference = np.where((table == _BASELINE_LIMIT) & (difference > 0), 0.0, difference)
    return np.sum(difference**2, axis=1)


def _is_exact(kind: TableKind, table: NDArray[np.float64], index: int) -> bool:
    """Whether a (64,) table is a scaled table in either form (censoring also passes mixtures of the two)."""
    families = {"luma": (_LUMA,), "chroma": (_CHROMA,), "either": (_LUMA, _CHROMA)}[kind]
    scaled = [family[index] for family in families]
    return any(
        np.array_equal(table, steps) or np.array_equal(table, np.minimum(steps, _BASELINE_LIMIT))
        for steps in scaled
    )
