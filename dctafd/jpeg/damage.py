"""How much of a damaged photo is missing, as its warnings say."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHARE = re.compile(r"(less than 1|\d+) % of its blocks (?:missing|are empty)")


def missing_share(warnings: Iterable[str]) -> str | None:
    """Return the largest share of a component's blocks that is missing, such as "43 %"; None without any."""
    shares = [match[1] for warning in warnings if (match := _SHARE.search(warning))]
    if not shares:
        return None
    most = max(0 if share.startswith("less") else int(share) for share in shares)
    return f"{most} %" if most else "< 1 %"
