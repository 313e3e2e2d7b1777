"""Training pairs: a compressed view of a photo as the classifier gets it, and the same view uncompressed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dctafd.inputs.folders import Found, walk_photos
from dctafd.inputs.model_input import InputBatch, ModelInput, collate
from dctafd.inputs.pictures import centre_crop
from dctafd.inputs.prepare import prepare
from dctafd.nets.model_specs import ModelSpec
from dctafd.training.degrade import Degradation, DegradationRange, degrade, sample_degradation, view_size
from dctafd.training.views import FixedCrop, Patch, Photo, crop_window, random_view

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, eq=False)
class SeenCrop:
    """What a `FixedCrop` shows whenever it is seen.

    Attributes:
        number: tells it from all other fixed crops of the photos.
        pristine: (3, S, S) float32, straight from the photo, normalised. `TrainingPair.clean` went through
            the degradation's sizes and differs a little.
    """

    number: int
    pristine: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPair:
    """A compressed view and what it looked like before.

    Attributes:
        compressed: what the corrected classifier reads.
        clean: (3, S, S) float32, the uncompressed view, normalised.
        degradation: what happened in between.
        fixed_crop: what the view shows, None where crops are drawn anew each time.
    """

    compressed: ModelInput
    clean: NDArray[np.float32]
    degradation: Degradation
    fixed_crop: SeenCrop | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """B training pairs.

    Attributes:
        compressed: what the corrected classifier reads.
        clean: (B, 3, S, S) float32.
        fixed_crops: number of each pair's `SeenCrop`; empty where crops are not fixed.
        pristine: (B, 3, S, S) float32, what those crops show; None where crops are not fixed.
    """

    compressed: InputBatch
    clean: torch.Tensor
    fixed_crops: tuple[int, ...] = ()
    pristine: torch.Tensor | None = None

    def to(self, device: torch.device) -> TrainingBatch:
        """Return the batch on `device`, images in channels_last."""

        def images_to(images: torch.Tensor) -> torch.Tensor:
            moved = images.to(device, non_blocking=True)
            return moved.contiguous(memory_format=torch.channels_last)

        compressed = self.compressed.to(device)
        moved = InputBatch(images_to(compressed.pixels), *compressed.tensors()[1:])
        pristine = None if self.pristine is None else images_to(self.pristine)
        return TrainingBatch(moved, images_to(self.clean), self.fixed_crops, pristine)

    def pin_memory(self) -> TrainingBatch:
        """Return the batch in page-locked memory, from which copies to a GPU need not wait."""
        return TrainingBatch(
            InputBatch(*(tensor.pin_memory() for tensor in self.compressed.tensors())),
            self.clean.pin_memory(),
            self.fixed_crops,
            None if self.pristine is None else self.pristine.pin_memory(),
        )


def find_photos(folders: Sequence[Path]) -> list[Path]:
    """Return the photos in folders (with their sub-folders), or in text files with a path on each line.

    Raises:
        FileNotFoundError: a folder does not exist, or there is no photo in any.
    """
    found: list[Path] = []
    for folder in folders:
        if folder.is_file():
            found += [Path(line) for line in folder.read_text().splitlines() if line.strip()]
        elif folder.is_dir():
            found += sorted(Path(photo.path) for photo in _readable_photos(folder))
        else:
            raise FileNotFoundError(f"there is no folder of photos {folder}")
    if not found:
        raise FileNotFoundError(f"no photos in {', '.join(map(str, folders))}")
    return found


def _readable_photos(folder: Path) -> Iterator[Found]:
    for photo in walk_photos(folder, wanted=lambda name: name.lower().endswith(PHOTO_SUFFIXES)):
        if photo.error is not None:
            raise photo.error
        yield photo


def load_photos(paths: Sequence[Path], shorter_side: int, jobs: int) -> list[Photo]:
    """Decode photos into memory, (height, width, 3) uint8 each, shrunk to at most `shorter_side`."""

    def load(path: Path) -> Photo:
        with Image.open(path) as image:
            image.draft("RGB", (shorter_side, shorter_side))
            rgb = image.convert("RGB")
        factor = shorter_side / min(rgb.size)
        if factor < 1:
            size = (round(rgb.width * factor), round(rgb.height * factor))
            rgb = rgb.resize(size, Image.Resampling.LANCZOS)
        return np.asarray(rgb)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(load, paths))


def make_pair(view: Photo, degradation: Degradation, spec: ModelSpec) -> TrainingPair:
    """Compress a view of `view_size` and prepare it, as `dctafd.prepare` does for inference."""
    stored, clean = degrade(view, degradation)
    resize = None if degradation.scale == 1.0 else spec.crop
    compressed = prepare(stored, resize, spec.crop, mean=spec.mean, std=spec.std)
    shown = centre_crop(clean, resize, spec.crop)
    return TrainingPair(compressed, _normalized(shown, spec), degradation)


def _normalized(pixels: Photo, spec: ModelSpec) -> NDArray[np.float32]:
    """Return pixels (S, S, 3) normalised, (3, S, S)."""
    mean, std = np.array([spec.mean, spec.std], np.float32)
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1))


class PairSource:
    """Makes the training batch of any step from the seed and the step's number alone.

    Every photo comes once an epoch, in an order of its own. Nothing depends on what was drawn before, so
    that a training that resumes sees what it would have seen.

    Args:
        photos: clean photos.
        spec: the classifier's preprocessing.
        drawn_from: the degradations.
        batch_size: pairs a batch.
        seed: of everything random here.
        crop: side of the views in pixels, None for the classifier's own.
        fixed_crops: how many fixed crops each photo is seen through; None draws a new one each time.
        cutmix: share of the views into which part of another photo's view is pasted.
        stretch: views are squeezed or stretched by up to this factor.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        spec: ModelSpec,
        drawn_from: DegradationRange,
        batch_size: int,
        seed: int,
        crop: int | None = None,
        fixed_crops: int | None = None,
        cutmix: float = 0.0,
        stretch: float = 1.0,
    ) -> None:
        self.photos, self.drawn_from, self.fixed_crops = photos, drawn_from, fixed_crops
        self.cutmix, self.stretch = cutmix, stretch
        self.spec = replace(spec, crop=crop or spec.crop)
        self._part = self.spec.crop / spec.crop
        self.batch_size, self.seed = batch_size, seed
        self._epoch_order: tuple[int, NDArray[np.int64]] | None = None

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the photos' order in an epoch."""
        known = self._epoch_order
        if known is None or known[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.photos))
            self._epoch_order = known = (epoch, order)
        return known[1]

    def pair(self, step: int, index: int) -> TrainingPair:
        """Return pair `index` of the batch of a step."""
        epoch, position = divmod(step * self.batch_size + index, len(self.photos))
        number = int(self._order(epoch)[position])
        photo = self.photos[number]
        rng = np.random.default_rng([self.seed, step, index])
        degradation = sample_degradation(rng, self.drawn_from)
        if self.fixed_crops is None:
            view = self._new_view(photo, view_size(degradation, self.spec.crop), rng)
            return make_pair(view, degradation, self.spec)
        crop_number = number * self.fixed_crops + epoch % self.fixed_crops
        view, pristine = self._views_of_crop(photo, crop_number, degradation)
        seen = SeenCrop(crop_number, _normalized(pristine, self.spec))
        return replace(make_pair(view, degradation, self.spec), fixed_crop=seen)

    def _new_view(self, photo: Photo, size: tuple[int, int], rng: np.random.Generator) -> Photo:
        """Return a new view of a photo, or of two."""
        view = random_view(photo, size, rng, self._part, self.stretch)
        if not self.cutmix or rng.random() >= self.cutmix:
            return view
        other = random_view(self._other_photo(rng), size, rng, self._part, self.stretch)
        return Patch.draw(rng).paste(other, view, (0, 0, *size))

    def _views_of_crop(self, photo: Photo, number: int, degradation: Degradation) -> tuple[Photo, Photo]:
        """Return the view of a fixed crop from which `degrade` makes it, and the crop as it is."""
        rng, crop = np.random.default_rng([self.seed, number]), self.spec.crop
        fixed = FixedCrop.draw(photo, crop, rng, self._part, self.stretch)
        view, pristine = fixed.cut(photo, crop, degradation), fixed.cut(photo, crop)
        if not self.cutmix or rng.random() >= self.cutmix:
            return view, pristine
        other_photo = self._other_photo(rng)
        other, patch = FixedCrop.draw(other_photo, crop, rng, self._part, self.stretch), Patch.draw(rng)
        return (
            patch.paste(other.cut(other_photo, crop, degradation), view, crop_window(degradation, crop)),
            patch.paste(other.cut(other_photo, crop), pristine, (0, 0, crop, crop)),
        )

    def _other_photo(self, rng: np.random.Generator) -> Photo:
        return self.photos[int(rng.integers(len(self.photos)))]


def collate_pairs(pairs: Sequence[TrainingPair]) -> TrainingBatch:
    """Stack pairs into a batch."""
    clean = torch.from_numpy(np.stack([pair.clean for pair in pairs]))
    compressed = collate([pair.compressed for pair in pairs])
    crops = [pair.fixed_crop for pair in pairs if pair.fixed_crop is not None]
    if not crops:
        return TrainingBatch(compressed, clean)
    pristine = torch.from_numpy(np.stack([crop.pristine for crop in crops]))
    return TrainingBatch(compressed, clean, tuple(crop.number for crop in crops), pristine)


def iter_batches(
    source: PairSource, first_step: int, jobs: int, ahead: int = 3, pin: bool = False
) -> Generator[TrainingBatch]:
    """Yield the batches of `first_step` and all later steps, made by threads ahead of time.

    Pillow and the kernels release the GIL, so that threads use all cores. Closing the iterator ends them.

    Args:
        source: makes a step's pairs.
        first_step: where to begin.
        jobs: threads that make pairs; one more stacks them.
        ahead: batches in the making.
        pin: put batches into page-locked memory.
    """
    pool, stacker = ThreadPoolExecutor(jobs), ThreadPoolExecutor(1)

    def stack(pairs: list[Future[TrainingPair]]) -> TrainingBatch:
        batch = collate_pairs([pair.result() for pair in pairs])
        return batch.pin_memory() if pin else batch

    def start(step: int) -> Future[TrainingBatch]:
        pairs = [pool.submit(source.pair, step, index) for index in range(source.batch_size)]
        return stacker.submit(stack, pairs)

    pending = deque(start(first_step + step) for step in range(ahead))
    try:
        step = first_step + ahead
        while True:
            batch = pending.popleft().result()
            pending.append(start(step))
            yield batch
            step += 1
    finally:
        for executor in (pool, stacker):
            executor.shutdown(cancel_futures=True)
