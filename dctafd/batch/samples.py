"""Photos of an archive with what lies beside them, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dctafd.batch.archives import Member
from dctafd.batch.kept import MAX_SIDECAR_BYTES, Keep
from dctafd.errors import DctafdError
from dctafd.inputs.file_names import is_jpeg_name, sample_extension, sample_key
from dctafd.inputs.source_items import Bookmark, Skipped, SourceItem

_MOST_PHOTOS = 8  # of one sample that are held until its end


class Sample:
    """The members of an archive that share a key, one after the other, as they are read.

    Without sidecars to carry over, each photo is a sample of its own.

    Args:
        keep: what is carried over.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._key: str | None = None
        self._photos: list[SourceItem] = []
        self._names: list[str] = []
        self._count = (
            0  # of photos, those that are passed over too, so that a resumed run cuts at the same places
        )
        self._sidecars: dict[str, bytes] = {}
        self._bookmark: Bookmark | None = None

    def wanted(self, name: str) -> bool:
        """Return whether a member belongs to a sample."""
        return is_jpeg_name(name) or (self._keep.needs_sidecars and self._keep.wants(name))

    def goes_on_with(self, name: str) -> bool:
        """Return whether a member belongs to this sample; if not, it begins the next one."""
        same = self._keep.needs_sidecars and self._key == sample_key(name)
        if not same:
            return False
        return not (is_jpeg_name(name) and self._count >= _MOST_PHOTOS)

    def add_photo(self, name: str, item: SourceItem | None) -> None:
        """Add a photo; None where it has been done before."""
        self._begin(name)
        self._count += 1
        if item is not None:
            self._photos.append(item)
            self._names.append(name)
            self._bookmark = item.bookmark

    def add_sidecar(self, member: Member, skipped: Skipped) -> None:
        """Read what lies beside the photos; what is too large or damaged counts as not there."""
        self._begin(member.name)
        try:
            data = member.read()
        except DctafdError:
            data = b""
        if 0 < len(data) <= MAX_SIDECAR_BYTES:
            self._sidecars.setdefault(sample_extension(member.name), data)
        self._bookmark = bookmark_after(member, skipped)

    def ended(self, before: str | None = None) -> Iterator[SourceItem]:
        """Yield the photos with what lies beside them, before the member called `before` is added."""
        photos, names, self._photos, self._names = self._photos, self._names, [], []
        cut = self._keep.needs_sidecars and before is not None and sample_key(before) == self._key
        last = None if cut else len(photos) - 1
        for number, (photo, name) in enumerate(zip(photos, names, strict=True)):
            kept = self._keep.of_sample(name, self._sidecars) if self._keep else None
            # Reading can go on after the whole sample only.
            yield replace(photo, kept=kept, bookmark=self._bookmark if number == last else None)
        self._count = 0

    def _begin(self, name: str) -> None:
        key = sample_key(name)
        if key != self._key:
            self._key, self._sidecars, self._count = key, {}, 0


def bookmark_after(member: Member, skipped: Skipped) -> Bookmark | None:
    """Return where reading can go on after a member, None where it cannot begin there."""
    return None if member.end is None else Bookmark(member.end, skipped.copy())
