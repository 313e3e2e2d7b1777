"""Every error that dctafd raises on purpose.

::

    DctafdError
    ├── NotAJpegError          the bytes are no JPEG file at all
    ├── UnsupportedJpegError   a valid kind of JPEG that dctafd does not read (12-bit, lossless, hierarchical)
    ├── CorruptJpegError       a JPEG whose headers or data contradict the standard
    ├── LimitExceededError     reading would take more pixels, scans or memory than allowed
    ├── ArchiveError           a tar or zip archive is damaged
    ├── ResumeError            an interrupted run cannot be continued with these inputs and options
    ├── WeightsError           weights are missing, damaged or do not fit the network
    └── MissingExtraError      an optional dependency is not installed

Each of them can be pickled, as worker pools do with what is raised in a worker.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


class DctafdError(Exception):
    """Base of every error in this module."""


class NotAJpegError(DctafdError):
    """The bytes do not start like a JPEG file."""


class UnsupportedJpegError(DctafdError):
    """The file is a JPEG of a kind that dctafd does not read, such as 12-bit or lossless."""


class CorruptJpegError(DctafdError):
    """The file's headers or entropy-coded data contradict the standard."""


class LimitExceededError(DctafdError):
    """Reading the file would exceed a limit such as `max_pixels` or `max_scans`."""


class ArchiveError(DctafdError):
    """A tar or zip archive, or a member of one, is damaged or of a kind that is not read."""


class ResumeError(DctafdError):
    """An interrupted run belongs to other inputs, another model or other options, or is damaged."""


class WeightsError(DctafdError):
    """A weights file is missing, damaged, or made for another network."""


class MissingExtraError(DctafdError):
    """An optional dependency is missing; the message names the packages, and the extra that stands for them.

    Args:
        packages: what is not installed, as pip calls it; one name, or several.
        extra: the extra of dctafd that installs them all; "" where dctafd itself depends on them.
    """

    def __init__(self, packages: str | Sequence[str], extra: str) -> None:
        self.packages = (packages,) if isinstance(packages, str) else tuple(packages)
        self.extra = extra
        named = " and ".join(self.packages)
        verb = "is" if len(self.packages) == 1 else "are"
        # The packages by name: 'dctafd[extra]' means nothing to pip where dctafd runs from its source tree.
        command = "pip install " + " ".join(shlex.quote(package) for package in self.packages)
        tree = f".[{extra}]" if extra else "."
        super().__init__(
            f"{named} {verb} not installed: {command} (or, in dctafd's source tree, pip install '{tree}')"
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[tuple[str, ...], str]]:
        return type(self), (self.packages, self.extra)
