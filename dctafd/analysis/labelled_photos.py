"""Find photos and what is on them, where people keep both: `find_photos`.

Labels are taken from a CSV file if there is one, else from where the photos lie: a Parquet column, a .cls or
.json file beside a shard's member, the names of the folders (ImageFolder), the WordNet id in a file's name.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dctafd.analysis.failures import FileFailure
from dctafd.analysis.photo_containers import Container, Folder, Listed, RemoteFolder
from dctafd.analysis.photo_places import containers_of, place_name, place_of
from dctafd.inputs.class_names import ClassNames, wnid_in_name
from dctafd.inputs.source_items import readable

_SHARE_FOUND = 0.5  # of photos whose folders' or files' names have to be classes, to be taken for labels
_SAME_NAMES = 0.9  # share of a data set's class names by which its numbers are known to be the model's


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A photo, where it lies, and the class that is on it.

    Attributes:
        container: number of its container in `PhotoSet.containers`.
        key: its place there.
        name: path below the container's root, with "/"; printable.
        label: index of its class; None in a set without labels.
        folder: what holds the folder of its class, such as "jpeg_compression/3"; "" where nothing does.
        stamp: what tells that it is still the same: size and time of change.
    """

    container: int
    key: int | str
    name: str
    label: int | None = None
    folder: str = ""
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class UnmatchedLabel:
    """A label that is no class of the model.

    Attributes:
        label: as it stands there.
        photos: how many photos have it; they are left out.
        reason: why it is none.
    """

    label: str
    photos: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"label": self.label, "photos": self.photos, "reason": self.reason}


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSet:
    """Photos to evaluate, in their order.

    Attributes:
        containers: folders, archives and tables that hold them.
        photos: those that are measured.
        labels: where the labels come from, for people; None where there are none.
        unmatched: labels that are no class of the model, the most frequent first.
        failures: folders and archives that could not be looked into.
    """

    containers: tuple[Container, ...]
    photos: tuple[FoundPhoto, ...]
    labels: str | None
    unmatched: tuple[UnmatchedLabel, ...] = ()
    failures: tuple[FileFailure, ...] = field(default=())

    def limited(self, limit: int | None, per_folder: bool = False) -> PhotoSet:
        """Return at most `limit` photos, spread evenly (with `per_folder`: of each `FoundPhoto.folder`)."""
        if limit is None:
            return self
        groups: dict[str, list[FoundPhoto]] = {}
        for photo in self.photos:
            groups.setdefault(photo.folder if per_folder else "", []).append(photo)
        chosen = {id(photo) for group in groups.values() for photo in _spread(group, limit)}
        return replace(self, photos=tuple(photo for photo in self.photos if id(photo) in chosen))

    def first(self, limit: int | None) -> PhotoSet:
        """Return the first `limit` photos."""
        return replace(self, photos=self.photos[:limit])

    def fingerprint(self) -> str:
        """Return a SHA-256 over the photos' names, labels, sizes and times of change."""
        digest = hashlib.sha256()
        for photo in self.photos:
            digest.update(f"{photo.folder}\0{photo.name}\0{photo.label}\0{photo.stamp}\n".encode())
        return digest.hexdigest()


def _spread(group: Sequence[FoundPhoto], limit: int) -> Iterator[FoundPhoto]:
    if len(group) <= limit:
        yield from group
        return
    yield from (group[number * len(group) // limit] for number in range(limit))


def find_photos(
    images: str | Path | Sequence[str | Path], names: ClassNames, labels: str | Path | None = None
) -> PhotoSet:
    """Find photos and match their labels with a model's classes.

    Args:
        images: a folder, a tar or zip archive, a Parquet file, a URL of one of these (or several of them).
        names: the model's classes.
        labels: a CSV file with the columns `file` (relative to the folder `images`) and `label` (a class's
            0-based index, name or WordNet id); None looks where the photos lie.

    Raises:
        DctafdError: there are no photos.
        ValueError: the CSV file lacks a column, is empty, or none of its labels is a class.
        OSError: a file is missing or cannot be read.
    """
    listed = [images] if isinstance(images, str | Path) else list(images)
    places = [place_of(source) for source in listed]
    if labels is not None:
        if len(places) != 1 or isinstance(places[0], str) or not places[0].is_dir():
            raise ValueError("a labels file goes with one folder of photos on the disk")
        return _photos_of_csv(Path(labels), places[0], names)
    prefixes = [f"{place_name(place)}/" if len(places) > 1 else "" for place in places]
    containers = [
        container
        for place, prefix in zip(places, prefixes, strict=True)
        for container in containers_of(place, prefix)
    ]
    found: list[tuple[int, Listed]] = []
    failures = []
    for number, container in enumerate(containers):
        for entry in container.listing():
            if isinstance(entry, Listed):
                found.append((number, entry))
            else:
                failures.append(FileFailure.of(container.name, entry))
    if not found and failures:
        first = failures[0]
        raise ValueError(f"{first.file}: {first.message}")
    return replace(_labelled(containers, found, names), failures=tuple(failures))


def photos_at(paths: Sequence[Path]) -> PhotoSet:
    """Return the photos of some files, without labels."""
    photos = (FoundPhoto(0, str(path), readable(str(path)), stamp=_stamp(path)) for path in paths)
    return PhotoSet((Folder(Path()),), tuple(photos), None)


def _labelled(
    containers: Sequence[Container], found: Sequence[tuple[int, Listed]], names: ClassNames
) -> PhotoSet:
    """Take the labels from the first of the places that has them for enough photos."""
    said = [entry.said for _, entry in found]
    roots = [
        place_name(place_of(container.name)) if isinstance(container, Folder | RemoteFolder) else ""
        for container in containers
    ]
    parents = [_parent(entry.name) or roots[number] for number, entry in found]
    if any(text is not None for text in said):
        kinds = dict.fromkeys(
            containers[number].label_kind for number, entry in found if entry.said is not None
        )
        meanings = [_meaning(container.label_names, names) for container in containers]
        indices = [meanings[number](text or "") for (number, _), text in zip(found, said, strict=True)]
        texts, numbers, where = [text or "" for text in said], True, " and ".join(kinds)
    else:
        numbers = _are_indices(parents)
        texts, where = parents, "folder names"
        indices = [names.index_of(text, numbers) for text in texts]
        if _share(indices) < _SHARE_FOUND:
            texts = [wnid_in_name(entry.name.rpartition("/")[2]) or "" for _, entry in found]
            indices, numbers, where = [names.index_of(text) for text in texts], False, "file names"
        if _share(indices) < _SHARE_FOUND:
            photos = (
                FoundPhoto(number, entry.key, entry.name, None, "", f"{entry.size} {entry.changed}")
                for number, entry in found
            )
            return PhotoSet(tuple(containers), tuple(photos), None)
    photos_found = []
    by_number = _are_indices(parents)
    for (number, entry), index, parent in zip(found, indices, parents, strict=True):
        if index is not None:
            folder = _folder_of_class(entry.name, parent, index, names, by_number)
            stamp = f"{entry.size} {entry.changed}"
            photos_found.append(FoundPhoto(number, entry.key, entry.name, index, folder, stamp))
    unmatched = _unmatched(texts, indices, names, numbers)
    return PhotoSet(tuple(containers), tuple(photos_found), where, unmatched)


def _parent(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


def _share(indices: Sequence[int | None]) -> float:
    return sum(index is not None for index in indices) / max(len(indices), 1)


def _are_indices(folders: Sequence[str]) -> bool:
    """Whether folders are called by their class's index, as ImageNet-V2's are: numbers only, 0 among them.

    Severities, which are called 1 to 5, are none.
    """
    different = set(folders)
    return "0" in different and all(name.isdecimal() and name.isascii() for name in different)


def _folder_of_class(name: str, parent: str, index: int, names: ClassNames, numbers: bool) -> str:
    """Return what holds the folder of a photo's class, or the photo itself where its folder is no class's."""
    folder = name.rpartition("/")[0]
    is_class = names.index_of(parent, numbers) == index
    return folder.rpartition("/")[0] if is_class and folder else folder


def _meaning(label_names: tuple[str, ...] | None, names: ClassNames) -> Any:
    """Return a function from a label to a class; numbers are the data set's, which may name them."""
    if label_names is None:
        return lambda text: names.index_of(text, numbers=True)
    own = [names.index_of(name) for name in label_names]
    same = sum(index == number for number, index in enumerate(own))
    if len(label_names) == len(names) and same >= _SAME_NAMES * len(names):
        own = list(range(len(names)))

    def index_of(text: str) -> int | None:
        if text.isdecimal() and text.isascii():
            return own[int(text)] if int(text) < len(own) else None
        return names.index_of(text)

    return index_of


def _unmatched(
    texts: Sequence[str], indices: Sequence[int | None], names: ClassNames, numbers: bool
) -> tuple[UnmatchedLabel, ...]:
    counts = Counter(text for text, index in zip(texts, indices, strict=True) if index is None)
    return tuple(
        UnmatchedLabel(text, count, names.why_unknown(text, numbers)) for text, count in counts.most_common()
    )


# CSV --------------------------------------------------------------------------------------------------


def read_label_file(path: Path) -> list[tuple[str, str]]:
    """Return (file, label) of each row of a CSV file.

    Raises:
        ValueError: a column is missing, there are no rows, or it is no CSV file.
        OSError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            missing = {"file", "label"} - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"{path} has no column {' and no column '.join(sorted(missing))}")
            rows = [(row["file"] or "", row["label"] or "") for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file: {error}") from error
    if not rows:
        raise ValueError(f"{path} names no photos")
    return rows


def _photos_of_csv(labels: Path, images: Path, names: ClassNames) -> PhotoSet:
    folder = Folder(images)
    rows = read_label_file(labels)
    indices = [names.index_of(label, numbers=True) for _, label in rows]
    unmatched = _unmatched([label.strip() for _, label in rows], indices, names, numbers=True)
    if not any(index is not None for index in indices):
        first = unmatched[0]
        raise ValueError(f"{labels}: no label is a class of the model; {first.label!r}: {first.reason}")
    photos = []
    for (file, _), index in zip(rows, indices, strict=True):
        if index is not None:
            name = file.replace("\\", "/")
            parent = _parent(name)
            holder = _folder_of_class(name, parent, index, names, numbers=False)
            path = images / file
            stamp = _stamp(path)
            photos.append(FoundPhoto(0, str(path), readable(file), index, holder, stamp))
    return PhotoSet((folder,), tuple(photos), readable(labels.name), unmatched)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
