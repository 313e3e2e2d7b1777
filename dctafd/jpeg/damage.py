"""How much of a damaged photo is missing, as its warnings say."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHARE = re.compile(r"(less than 1|\d+) % of its blocks (?:missing|are empty)")
_NEVER = ("never came", ": no scan")  # coefficients of a progressive file, or a whole component


def what_is_missing(warnings: Iterable[str]) -> str | None:
    """Return what a photo lacks, in a word or two.

    Returns:
        The largest share of a component's blocks, such as "43 %"; "detail" where only coefficients of blocks
        that are there never came; None where nothing is missing.
    """
    warnings = list(warnings)
    shares = [match[1] for warning in warnings if (match := _SHARE.search(warning))]
    if shares:
        most = max(0 if share.startswith("less") else int(share) for share in shares)
        return f"{most} %" if most else "< 1 %"
    return "detail" if any(text in warning for warning in warnings for text in _NEVER) else None
