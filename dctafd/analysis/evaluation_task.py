"""An evaluation that can begin: photos through the networks, batch by batch, resumable, to rows and means."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

import dctafd
from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.evaluation import Evaluation
from dctafd.analysis.evaluation_journal import Journal
from dctafd.analysis.evaluation_rows import EvaluationRow, Measure, condition_row, mean_row
from dctafd.analysis.failures import FileFailure
from dctafd.analysis.labelled_photos import FoundPhoto, PhotoSet
from dctafd.analysis.photo_scores import MeasuredPhoto, Networks
from dctafd.analysis.protocols import AS_IT_IS, Condition, Protocol
from dctafd.analysis.published import beside_published, published_top1
from dctafd.batch.output_lock import only_writer
from dctafd.config import Limits
from dctafd.errors import DctafdError
from dctafd.inputs.file_names import natural_key
from dctafd.inputs.model_input import ModelInput

if TYPE_CHECKING:
    from dctafd.nets.attach import FrozenClassifier
    from dctafd.nets.model_specs import ModelSpec
    from dctafd.nets.registry import Backbone


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationTask:
    """An evaluation that can begin: everything that could be said beforehand was checked.

    Attributes:
        backbone: the classifier.
        classifier: the same as `attach` returns it, with or without a module, which is re-parameterised.
        photos: what is measured.
        protocol, conditions: how photos are compressed; `conditions` are all whose inputs are made.
        measure: what is measured.
        batch_size: photos a forward pass.
        jobs: threads that compress and prepare photos.
        device: where the networks run.
        seed: of the qualities that protocol "repeated" draws.
        compare: whether the paper's figures stand beside the rows.
        limits: what one photo may cost.
    """

    backbone: Backbone
    classifier: FrozenClassifier
    photos: PhotoSet
    protocol: Protocol
    conditions: tuple[Condition, ...]
    measure: Measure
    batch_size: int = 32
    jobs: int = 2
    device: str = "cpu"
    seed: int = 0
    compare: bool = False
    limits: Limits = Limits()

    def run(
        self,
        advance: Callable[[int], None] = lambda count: None,
        journal: Path | None = None,
        resume: bool = False,
        on_failure: Callable[[FileFailure], None] = lambda failure: None,
    ) -> Evaluation:
        """Measure the photos.

        Args:
            advance: called with the number of photos that are done.
            journal: an output beside which the evaluation keeps what it has measured (`Journal`), until it is
                complete.
            resume: go on with what lies there.
            on_failure: called with every photo that cannot be read; what it raises ends the evaluation, which
                can be resumed.

        Raises:
            DctafdError: none of the photos could be read.
            ResumeError: what lies there is another evaluation's, or `resume` was not asked for.
        """
        with ExitStack() as stack:
            kept: Journal | None = None
            if journal is not None:
                stack.enter_context(only_writer(journal))
                kept = stack.enter_context(closing(Journal(journal, self._identity(), resume)))
                kept.keep_first(len(kept.photos) // self.batch_size * self.batch_size)
            measured = list(kept.photos) if kept else []
            advance(len(measured))
            for failure in (*self.photos.failures, *_failures(measured)):
                on_failure(failure)
            for batch in self._measure(len(measured)):
                for failure in _failures(batch):
                    on_failure(failure)
                measured += batch
                if kept is not None:
                    kept.add(batch)
                advance(len(batch))
            found = self._evaluation(measured)
            if kept is not None:
                kept.remove()
            return found

    def _identity(self) -> dict[str, str]:
        """Return what decides about the result, by the words in which a difference is told."""
        return {
            "version of dctafd": dctafd.__version__,
            "choice of photos": self.photos.fingerprint(),
            "model": self.backbone.spec.name,
            "set of weights": _digest(self.classifier),
            "preprocessing": repr(_preprocessing(self.backbone.spec)),
            "limit of what photos cost": repr(self.limits),
            "protocol": self.protocol,
            "choice of conditions": repr(self.conditions),
            "measure": self.measure,
            "batch size": str(self.batch_size),
            "seed": str(self.seed),
            "device": torch.device(self.device).type,
        }

    # Measuring ----------------------------------------------------------------------------------------

    def _measure(self, start: int) -> Iterator[list[MeasuredPhoto]]:
        """Yield measured photos from number `start` on, batch by batch."""
        networks = Networks(self.classifier, self.backbone.spec.temperature, self.device)
        for batch in self._prepared(start):
            good = [(photo, inputs) for photo, inputs in batch if not isinstance(inputs, FileFailure)]
            labels = None if self.measure == "agreement" else [photo.label or 0 for photo, _ in good]
            scored = networks.score([inputs for _, inputs in good], labels) if good else ((), ())
            found = iter(zip(*scored, strict=True))
            yield [
                MeasuredPhoto(photo.name, photo.folder, None, (), inputs)
                if isinstance(inputs, FileFailure)
                else MeasuredPhoto(photo.name, photo.folder, *next(found))
                for photo, inputs in batch
            ]

    def _prepared(self, start: int) -> Generator[list[tuple[FoundPhoto, list[ModelInput] | FileFailure]]]:
        """Yield batches of photos and their inputs; the next one is in the making meanwhile."""
        with ThreadPoolExecutor(self.jobs) as pool:
            jobs = self._jobs(start, pool)

            def begin() -> list[tuple[FoundPhoto, Future[list[ModelInput] | FileFailure]]]:
                return list(itertools.islice(jobs, self.batch_size))

            waiting = begin()
            while waiting:
                batch, waiting = waiting, begin()
                yield [(photo, future.result()) for photo, future in batch]

    def _jobs(
        self, start: int, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[FoundPhoto, Future[list[ModelInput] | FileFailure]]]:
        photos = self.photos.photos
        for number, group in itertools.groupby(range(start, len(photos)), lambda i: photos[i].container):
            container, indices = self.photos.containers[number], list(group)
            contents = container.contents([photos[index].key for index in indices])
            for index, (_, read) in zip(indices, contents, strict=True):
                if not container.any_order:
                    read = _read_now(read)
                yield photos[index], pool.submit(self._prepare, photos[index], index, read)

    def _prepare(
        self, photo: FoundPhoto, index: int, read: Callable[[], bytes]
    ) -> list[ModelInput] | FileFailure:
        try:
            seed, spec = (self.seed, index), self.backbone.spec
            return compressed_inputs(read(), self.conditions, spec, seed, self.limits)
        except Exception as error:  # whatever a hostile file sets off belongs to that file's record
            return FileFailure.of(photo.name, error)

    # Summing up ---------------------------------------------------------------------------------------

    def _evaluation(self, measured: Sequence[MeasuredPhoto]) -> Evaluation:
        good = [photo for photo in measured if photo.failure is None]
        failures = _failures(measured)
        if not good:
            raise DctafdError(f"none of {len(measured)} photos could be read; the first: {failures[0]}")
        if self.protocol == "stored":
            clean, rows, means = None, *self._folder_rows(good)
        else:
            clean, rows, means = self._condition_rows(good)
        return Evaluation(
            self.backbone.spec.name,
            len(good),
            self.protocol,
            self.measure,
            self.photos.labels if self.measure == "accuracy" else None,
            clean,
            tuple(rows),
            tuple(means),
            (*self.photos.failures, *failures),
            self.photos.unmatched if self.measure == "accuracy" else (),
            tuple(measured),
            self.conditions,
        )

    def _condition_rows(
        self, good: list[MeasuredPhoto]
    ) -> tuple[EvaluationRow, list[EvaluationRow], list[EvaluationRow]]:
        """Return the row of uncompressed photos, one a condition, and their mean."""
        clean = condition_row(good, 0, AS_IT_IS, self.measure)
        numbers = range(1, len(self.conditions))
        top1 = clean.direct_top1
        rows = [
            self._compared(condition_row(good, n, self.conditions[n], self.measure, clean_top1=top1))
            for n in numbers
        ]
        means = [mean_row(rows, [good] * len(rows), numbers, clean_top1=top1)] if len(rows) > 1 else []
        return clean, rows, means

    def _folder_rows(self, good: list[MeasuredPhoto]) -> tuple[list[EvaluationRow], list[EvaluationRow]]:
        """Return a row per folder, the mean of each corruption's, and the mean of those means."""
        folders: dict[str, list[MeasuredPhoto]] = {}
        for photo in good:
            folders.setdefault(photo.folder, []).append(photo)
        names = sorted(folders, key=natural_key)
        rows = {
            name: self._compared(condition_row(folders[name], 0, AS_IT_IS, self.measure, folder=name))
            for name in names
        }
        corruptions: dict[str, list[str]] = {}
        for name in names:
            corruptions.setdefault(name.rpartition("/")[0], []).append(name)
        means = []
        for corruption, members in corruptions.items():
            if len(members) > 1:
                groups = [folders[name] for name in members]
                numbers = [0] * len(members)
                means.append(mean_row([rows[name] for name in members], groups, numbers, folder=corruption))
        if len(corruptions) > 1:
            means.append(mean_row(list(rows.values()), [folders[name] for name in names], [0] * len(names)))
        return list(rows.values()), means

    def _compared(self, row: EvaluationRow) -> EvaluationRow:
        if not self.compare:
            return row
        return beside_published(row, published_top1(self.backbone.spec.architecture))


def _failures(measured: Sequence[MeasuredPhoto]) -> list[FileFailure]:
    return [photo.failure for photo in measured if photo.failure is not None]


def _read_now(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Read at once; give the bytes, or raise what was raised, later."""
    try:
        data = read()
    except Exception as error:
        problem = error

        def fail() -> bytes:
            raise problem

        return fail
    return lambda: data


def _preprocessing(spec: ModelSpec) -> tuple[object, ...]:
    return spec.resize, spec.crop, spec.mean, spec.std, spec.temperature


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in network.state_dict().items():
        digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
