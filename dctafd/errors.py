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
"""


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
    """An optional dependency is missing; the message names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'dctafd[{extra}]'")
