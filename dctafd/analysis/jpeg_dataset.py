"""JPEG photos as a PyTorch data set: coefficients or model inputs, with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from dctafd.analysis.photo_containers import Container, Listed
from dctafd.analysis.photo_places import Place, containers_of, place_of
from dctafd.batch.shown_urls import shown
from dctafd.config import IMAGENET, Limits, Preprocessing
from dctafd.errors import DctafdError
from dctafd.inputs.class_names import ClassNames
from dctafd.inputs.file_names import is_jpeg_name, natural_key
from dctafd.inputs.model_input import InputBatch, ModelInput, collate
from dctafd.inputs.prepare import prepare_for
from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.jpeg.reader import read_within

NO_LABEL = -1
_DIGITS = 6  # of the largest index that is believed

Gives = Literal["inputs", "coefficients"]
Reader = Callable[[], bytes]


class Sample(NamedTuple):
    """One photo of a data set.

    Attributes:
        photo: a `ModelInput` or `JpegCoefficients`, or what the data set's `transform` made of it.
        label: index in `JpegDataset.classes`, `NO_LABEL` where there is none.
    """

    photo: Any
    label: int


class LabelledBatch(NamedTuple):
    """What `JpegDataset.collate` makes of samples.

    Attributes:
        photos: an `InputBatch` of model inputs; a list of anything else that is no tensor; tensors stacked.
        labels: (B,) int64.
    """

    photos: InputBatch | torch.Tensor | list[Any]
    labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a photo is: number of its container, key in it, name, label."""

    container: int
    key: int | str
    name: str
    label: int


class JpegDataset(Dataset[Any]):  # a Sample, or None where `skip_damaged` leaves one out
    """JPEG photos for PyTorch, read from their coefficients on, in any number of worker processes.

    Folders are map-style (`len`, `dataset[i]`, shuffled by the DataLoader). Archives and Parquet files, which
    are read from front to back, are iterable; their workers share them. Labels are found where they lie: the
    names of class folders, a `.cls` or `.json` beside a member of a WebDataset shard, the column `label` of a
    table. What is not named like a JPEG is passed over.

    Args:
        sources: a folder (searched with its sub-folders), tar or zip archive, Parquet file, or a URL of one
            of these; or several of one kind.
        gives: "inputs" for `ModelInput`, as `prepare` makes it, or "coefficients" for `JpegCoefficients`, as
            `read` does.
        preprocessing: of model inputs; ImageNet's by default.
        classes: their names in the order of the labels; None takes the labels that are found, in natural
            order. A photo whose label is none of them has `NO_LABEL`.
        transform: called with each photo; what it returns takes its place.
        limits: what a hostile file may cost.
        skip_damaged: leave photos out that cannot be read (map-style: None, which `collate` leaves out),
            instead of raising.

    Attributes:
        classes: names by label, () where there are no labels.
        labels: the label of each photo, in order.
        names: the name of each photo below its source, in order.

    Raises:
        DctafdError: there are no JPEG photos in the sources, folders are mixed with other kinds, or (while
            reading, without `skip_damaged`) a photo cannot be read.
        FileNotFoundError: there is no such source.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> dataset = dctafd.JpegDataset("photos")
        >>> len(dataset), dataset.classes
        (2, ('cat', 'dog'))
        >>> loader = DataLoader(dataset, batch_size=2, collate_fn=dataset.collate)
        >>> batch = next(iter(loader))
        >>> batch.photos.coefficients.shape, batch.labels
        (torch.Size([2, 192, 28, 28]), tensor([0, 1]))
    """

    def __new__(cls, *arguments: Any, **options: Any) -> JpegDataset:
        """Choose the map-style or the iterable kind; both are `JpegDataset`s."""
        if cls is not JpegDataset:
            return super().__new__(cls)
        sources = arguments[0] if arguments else options["sources"]
        folders = [_is_folder(place_of(source)) for source in _listed(sources)]
        if any(folders) and not all(folders):
            raise DctafdError("folders of photos go into one data set, archives and tables into another")
        kind = _Files if all(folders) else _Shards
        return super().__new__(kind)

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        gives: Gives = "inputs",
        *,
        preprocessing: Preprocessing = IMAGENET,
        classes: Sequence[str] | None = None,
        transform: Callable[[Any], Any] | None = None,
        limits: Limits = Limits(),
        skip_damaged: bool = False,
    ) -> None:
        if gives not in ("inputs", "coefficients"):
            raise ValueError(f"gives {gives!r}; it is 'inputs' or 'coefficients'")
        self.gives, self.preprocessing, self.limits = gives, preprocessing, limits
        self.transform, self.skip_damaged = transform, skip_damaged
        self._containers = [
            container for source in _listed(sources) for container in containers_of(place_of(source))
        ]
        found = _find(self._containers)
        if not found:
            raise DctafdError(f"there are no JPEG photos in {', '.join(_names(sources))}")
        self.classes, labels = _labelled(self._containers, found, classes)
        self._entries = [
            _Entry(number, entry.key, entry.name, label)
            for (number, entry), label in zip(found, labels, strict=True)
        ]

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        """Yield the photos in order."""
        for index in range(len(self)):
            yield self[index]

    @property
    def labels(self) -> list[int]:
        """The label of each photo, in order."""
        return [entry.label for entry in self._entries]

    @property
    def names(self) -> list[str]:
        """The name of each photo below its source, in order."""
        return [entry.name for entry in self._entries]

    @staticmethod
    def collate(samples: Sequence[Sample | None]) -> LabelledBatch:
        """Make a batch of samples, for `DataLoader(collate_fn=...)`; None is left out.

        Raises:
            DctafdError: none of the photos could be read.
        """
        good = [sample for sample in samples if sample is not None]
        if not good:
            raise DctafdError("none of the batch's photos could be read")
        photos: Any = [sample.photo for sample in good]
        if all(isinstance(photo, ModelInput) for photo in photos):
            photos = collate(photos)
        elif all(isinstance(photo, torch.Tensor) for photo in photos):
            photos = torch.stack(photos)
        return LabelledBatch(photos, torch.tensor([sample.label for sample in good]))

    def _sample(self, entry: _Entry, reader: Reader) -> Sample | None:
        try:
            data = reader()
            photo: ModelInput | JpegCoefficients
            if self.gives == "coefficients":
                photo = read_within(data, self.limits)
            else:
                photo = prepare_for(data, self.preprocessing, self.limits)
        except (DctafdError, OSError) as error:
            if self.skip_damaged:
                return None
            raise DctafdError(f"{entry.name}: {type(error).__name__}: {error}") from error
        return Sample(photo if self.transform is None else self.transform(photo), entry.label)


class _Files(JpegDataset):
    """Photos in folders, by number."""

    def __getitem__(self, index: int) -> Sample | None:
        entry = self._entries[index]
        ((_, reader),) = self._containers[entry.container].contents([entry.key])
        return self._sample(entry, reader)


class _Shards(JpegDataset, IterableDataset[Any]):
    """Photos in archives and tables, one after the other.

    Where there are at least as many of them as workers, each worker reads its own; else each reads its share
    of the photos of all.
    """

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        whole = len(self._containers) >= workers
        for index, container in enumerate(self._containers):
            entries = [entry for entry in self._entries if entry.container == index]
            if whole and index % workers != number:
                continue
            own = entries if whole else entries[number::workers]
            by_key = {entry.key: entry for entry in own}
            for key, reader in container.contents(list(by_key)) if by_key else ():
                sample = self._sample(by_key[key], reader)
                if sample is not None:
                    yield sample


def _listed(sources: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [sources] if isinstance(sources, str | Path) else list(sources)


def _names(sources: str | Path | Sequence[str | Path]) -> list[str]:
    return [shown(str(source)) for source in _listed(sources)]


def _is_folder(place: Place) -> bool:
    """Whether a place is a folder that holds photos itself, not archives of them."""
    if isinstance(place, Path) and not place.is_dir():
        return False
    return all(container.any_order for container in containers_of(place))


def _find(containers: Sequence[Container]) -> list[tuple[int, Listed]]:
    """Return the JPEG photos with the numbers of their containers.

    Raises:
        Exception: why a part of a container could not be looked into.
    """
    found = []
    for number, container in enumerate(containers):
        for entry in container.listing():
            if isinstance(entry, Exception):
                raise entry
            if container.label_kind == "a Parquet column" or is_jpeg_name(entry.name):
                found.append((number, entry))
    return found


def _labelled(
    containers: Sequence[Container], found: Sequence[tuple[int, Listed]], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[int]]:
    """Return the classes and each photo's label.

    A number beside a photo (in a table or a shard) is an index; a folder that is called by one has that name.
    """
    numbers = any(entry.said is not None for _, entry in found)
    texts = [
        entry.said if numbers else entry.name.rpartition("/")[0].rpartition("/")[2] or None
        for _, entry in found
    ]
    if classes is None:
        told = (container.label_names for container in containers if container.label_names is not None)
        classes = next(told, None) or _distinct(texts, numbers)
    names = ClassNames(classes)
    labels = [None if text is None else names.index_of(text, numbers) for text in texts]
    return tuple(classes), [NO_LABEL if label is None else label for label in labels]


def _distinct(texts: Sequence[str | None], numbers: bool) -> tuple[str, ...]:
    """Return the labels in natural order; of indices, all up to the last."""
    distinct = sorted({text for text in texts if text is not None}, key=natural_key)
    if numbers and distinct and all(text.isdecimal() and len(text) <= _DIGITS for text in distinct):
        return tuple(str(number) for number in range(int(distinct[-1]) + 1))
    return tuple(distinct)
