"""The pages that dctafd writes: Jinja templates in which nothing from outside becomes markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dctafd.extras import require_extra
from dctafd.plain_text import printable

if TYPE_CHECKING:
    from jinja2 import Template


def page_template(name: str) -> Template:
    """Load one of `dctafd/analysis/templates`; what is put into it is escaped.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    require_extra("report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dctafd.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(name)


def _shown(value: object) -> object:
    """Escape what is not printable in names and messages; markup of our own stays as it is."""
    return value if hasattr(value, "__html__") else printable(str(value))
