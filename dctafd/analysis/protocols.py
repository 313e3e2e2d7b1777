"""How an evaluation compresses photos: the orders of resizing, cropping and compressing that papers use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Protocol = Literal["single", "imagenet-c", "native", "repeated", "stored"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
PAPER_QUALITIES = (7, 10, 15, 18, 25)
IMAGENET_C_QUALITY = 85  # every file of ImageNet-C was saved again at this quality


@dataclass(frozen=True, slots=True)
class Condition:
    """One way of compressing a photo.

    Attributes:
        quality: of the compression; None leaves the photo as it is stored, unless `times` is set.
        full_size: compress the whole photo, then resize and crop; else resize and crop first.
        again: quality of a second compression on the same grid, None for none.
        times: compress so many times, at qualities drawn from `drawn_from`.
        drawn_from: qualities.
    """

    quality: int | None
    full_size: bool = False
    again: int | None = None
    times: int | None = None
    drawn_from: tuple[int, ...] = ()

    @property
    def compresses(self) -> bool:
        """Whether anything is compressed."""
        return self.quality is not None or self.times is not None


AS_IT_IS = Condition(None)


def protocol_conditions(
    protocol: Protocol, qualities: Sequence[int] = PAPER_QUALITIES, times: Sequence[int] = (1, 2, 3, 4, 5)
) -> tuple[Condition, ...]:
    """Return the conditions of a protocol, one for each row of an evaluation.

    Args:
        protocol: "single": resize, crop, compress (the paper's order, and ImageNet-C's); "imagenet-c": the
            same, then compressed again at quality 85, as ImageNet-C's files are; "native": compress at full
            size, then resize and crop; "repeated": as "single", several times at drawn qualities; "stored":
            the files as they are.
        qualities: of the compressions.
        times: numbers of compressions, for "repeated".

    Raises:
        ValueError: no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    if protocol == "stored":
        return (AS_IT_IS,)
    if protocol == "repeated":
        return tuple(Condition(None, times=count, drawn_from=tuple(qualities)) for count in times)
    again = IMAGENET_C_QUALITY if protocol == "imagenet-c" else None
    return tuple(Condition(quality, protocol == "native", again) for quality in qualities)
