"""A file that could not be measured, and why: one form for evaluations, drift and trainings."""

from __future__ import annotations

from dataclasses import dataclass

from dctafd.inference.results import Failure
from dctafd.inputs.source_items import readable


@dataclass(frozen=True, slots=True)
class FileFailure:
    """Why a file was left out.

    Attributes:
        file: its path or name; printable.
        type: the exception's class, such as "NotAJpegError".
        message: what it says.
    """

    file: str
    type: str
    message: str

    @classmethod
    def of(cls, file: str, error: Exception) -> FileFailure:
        """Describe what was raised about a file."""
        failure = Failure.of(error)
        return cls(readable(file), failure.type, failure.message)

    def __str__(self) -> str:
        return f"{self.file}: {self.type}: {self.message}"

    def to_dict(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return {"file": self.file, "type": self.type, "message": self.message}
