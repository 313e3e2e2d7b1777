"""Where a link inside an archive leads, by the names alone: nothing outside the archive is ever looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dctafd.errors import ArchiveError, LimitExceededError

_MAX_HOPS = 40  # as Linux has it
_MAX_ENTRIES = 2_000_000

_Place = TypeVar("_Place")


@dataclass(frozen=True, slots=True)
class Entry(Generic[_Place]):
    """What an archive says of one of its names.

    Attributes:
        place: where the file's data is; None for what is no file.
        target: for a link, returns the name that is stored in it.
        from_root: whether that name begins at the archive's root, as a hard link's does, and not beside the
            link.
    """

    place: _Place | None
    target: Callable[[], str] | None = None
    from_root: bool = False


@dataclass(slots=True)
class LinkIndex(Generic[_Place]):
    """The names in an archive; of equal names the last counts, as it does when an archive is unpacked."""

    _entries: dict[str, Entry[_Place]] = field(default_factory=dict)

    def add(self, name: str, entry: Entry[_Place]) -> None:
        """Note one member; a hard link does not replace what it leads to, its own name included.

        Raises:
            LimitExceededError: there are more than are kept in memory.
        """
        if len(self._entries) >= _MAX_ENTRIES:
            raise LimitExceededError(f"links among more than {_MAX_ENTRIES} members are not followed")
        name = "/".join(part for part in name.split("/") if part not in ("", "."))
        if not (entry.from_root and name in self._entries):  # `tar cf t.tar a.jpg a.jpg` links a.jpg to a.jpg
            self._entries[name] = entry

    def follow(self, name: str, entry: Entry[_Place]) -> _Place | None:
        """Return where the data of the link called `name` is, None where it leads to what is no file.

        Raises:
            ArchiveError: it leads nowhere, out of the archive, or in a circle.
        """
        assert entry.target is not None
        first = entry.target()
        waiting = _parts(first, entry.from_root)
        if not entry.from_root:
            waiting += reversed(name.split("/")[:-1])
        done: list[str] = []
        hops = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not done:
                    raise ArchiveError(f"it links to {first!r}, outside the archive")
                done.pop()
                continue
            done.append(part)
            found = self._entries.get("/".join(done))
            if found is None or found.target is None or (found.from_root and waiting):
                continue
            hops += 1
            if hops > _MAX_HOPS:
                raise ArchiveError(f"it links to {first!r}, which leads in a circle")
            done = [] if found.from_root else done[:-1]
            waiting += _parts(found.target(), found.from_root)
        return self._place("/".join(done), first)

    def _place(self, name: str, first: str) -> _Place | None:
        found = self._entries.get(name)
        if found is not None:
            return found.place
        folder = f"{name}/" if name else ""
        if any(other.startswith(folder) for other in self._entries):  # few archives list their folders
            return None
        raise ArchiveError(f"it links to {first!r}, which is not in the archive")


def _parts(target: str, from_root: bool) -> list[str]:
    """Return the parts of a link's target, the first one last."""
    if target.startswith("/") and not from_root:
        raise ArchiveError(f"it links to {target!r}, outside the archive")
    return target.split("/")[::-1]
