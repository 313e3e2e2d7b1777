"""A whole classification run: sources in, one record per input out, resumable where it writes to a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dctafd.batch.formats import TextFormat
from dctafd.batch.manifest import (
    Identity,
    Manifest,
    forget,
    keep_finished,
    load_manifest,
    manifest_path,
)
from dctafd.batch.output_lock import only_writer
from dctafd.batch.parquet import ParquetStream
from dctafd.batch.partial_output import (
    PartialOutput,
    PartialPair,
    PartialParquet,
    PartialText,
    partial_path,
    publish,
)
from dctafd.batch.sources import Plan
from dctafd.batch.summary import Summary
from dctafd.batch.tables import Page
from dctafd.batch.writers import input_name, text_format
from dctafd.errors import DctafdError, ResumeError
from dctafd.files import atomic_output, check_output, followed, is_stream
from dctafd.inference.results import Result
from dctafd.inference.stream import Position, Step

if TYPE_CHECKING:
    from dctafd.config import Limits
    from dctafd.inference.classifier import Classifier

RESUMABLE_FORMATS = ("jsonl", "csv", "parquet")
_SECONDS_BETWEEN_CHECKPOINTS = {"jsonl": 1.0, "csv": 1.0, "parquet": 5.0}

#: Yields the steps of a run from a position on; the local engine and Ray's are of this kind.
Engine = Callable[["Classifier", Plan, "RunOptions", Position], Generator[Step, None, None]]


class StoppedError(DctafdError):
    """An input failed and the run was told to stop there."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told besides its sources and its model.

    Attributes:
        top_k: predictions in each result.
        batch_size: inputs that go through the network together.
        jobs: threads that decode and prepare.
        limits: what a hostile file may cost.
        stop_on_error: whether the first input that fails ends the run.
        output_format: "table", "json", "jsonl", "csv" or "parquet".
        thumbnail: pixels of the longer side of each result's thumbnail; None for none.
    """

    top_k: int
    batch_size: int
    jobs: int
    limits: Limits
    stop_on_error: bool
    output_format: str
    thumbnail: int | None = None


@dataclass(frozen=True, slots=True)
class Companion:
    """A second file that a run writes beside its results, such as a page with pictures.

    Attributes:
        path: the file.
        layout: how results become its text, given how many of them an earlier process has written already.
    """

    path: Path
    layout: Callable[[int], TextFormat[Result]]


def classify_locally(
    classifier: Classifier, plan: Plan, options: RunOptions, start: Position
) -> Generator[Step, None, None]:
    """Do a run's work in this process."""
    return classifier.classify_units(
        plan.units,
        top_k=options.top_k,
        batch_size=options.batch_size,
        jobs=options.jobs,
        limits=options.limits,
        start=start,
        thumbnail=options.thumbnail,
    )


def run_to_stream(
    classifier: Classifier,
    plan: Plan,
    options: RunOptions,
    stream: IO[str],
    on_step: Callable[[Step], None] = lambda step: None,
    engine: Engine = classify_locally,
    companion: Companion | None = None,
) -> Summary:
    """Classify and write text as the results come; arguments as for `run_to_file`.

    Raises:
        StoppedError: an input failed, with `stop_on_error`; what came before it has been written.
    """
    layout = text_format(options.output_format, options.top_k, Page.of(stream))

    def write(results: Sequence[Result]) -> None:
        stream.write(layout.batch(results))
        stream.flush()

    stream.write(layout.begin())
    try:
        return _write_through(classifier, plan, options, write, on_step, engine, companion)
    finally:
        stream.write(layout.end())
        stream.flush()


def _write_through(
    classifier: Classifier,
    plan: Plan,
    options: RunOptions,
    write: Callable[[Sequence[Result]], None],
    on_step: Callable[[Step], None],
    engine: Engine,
    companion: Companion | None,
) -> Summary:
    """Do a whole run, and hand the results on as they come."""
    summary = Summary()
    summary.skipped.add(plan.skipped)
    steps_of = engine(classifier, plan, options, Position())
    with _written_whole(companion) as write_companion, closing(steps_of) as steps:
        for step in steps:
            stop = _first_failure(step) if options.stop_on_error else None
            done = step.results[:stop]
            write(done)
            write_companion(done)
            _count(summary, done, step)
            on_step(step)
            if stop is not None:
                raise _stopped(step, stop)
    return summary


@contextmanager
def _written_whole(companion: Companion | None) -> Iterator[Callable[[Sequence[Result]], None]]:
    """Yield what writes results to a companion, which appears at the end; None writes nothing."""
    if companion is None:
        yield lambda results: None
        return
    layout = companion.layout(0)
    with atomic_output(companion.path) as file:
        file.write(layout.begin())

        def write(results: Sequence[Result]) -> None:
            file.write(layout.batch(results))

        yield write
        file.write(layout.end())


def run_to_file(
    classifier: Classifier,
    plan: Plan,
    options: RunOptions,
    output: Path,
    resume: bool = False,
    on_step: Callable[[Step], None] = lambda step: None,
    engine: Engine = classify_locally,
    companion: Companion | None = None,
) -> Summary:
    """Classify and put a complete file in its place.

    jsonl, csv and Parquet grow in ``OUT.partial`` and can be resumed; json and table appear at the end. A
    device, pipe or FIFO is written straight through, whatever the format.

    Args:
        classifier, plan, options: what is to be done.
        output: the file.
        resume: go on with an interrupted run of the same inputs, model and options.
        on_step: is told of every batch.
        engine: what does the work.
        companion: a second file, which appears, and is resumed, with the first.

    Raises:
        StoppedError: an input failed, with `stop_on_error`; the run can be resumed.
        ResumeError: there is an interrupted run and `resume` was not asked for, or it is another run's, or
            another process is writing the same file; or what was written is a pipe, or has changed since.
        OSError: the file cannot be written; where it is for want of space, the run can be resumed.
    """
    check_output(output)
    if is_stream(output):
        if resume:
            raise ResumeError(f"{output} is a pipe or device: what was written to it cannot be resumed")
        return _run_to_pipe(classifier, plan, options, output, on_step, engine, companion)
    output = followed(output)
    if options.output_format not in RESUMABLE_FORMATS:
        with atomic_output(output) as file:
            return run_to_stream(classifier, plan, options, file, on_step, engine, companion)
    if companion is not None:
        companion = replace(companion, path=followed(companion.path))
    files = (output,) if companion is None else (output, companion.path)
    identity = _identity(classifier, plan, options, companion)
    with ExitStack() as locks:
        for path in files:
            locks.enter_context(only_writer(path))
        earlier = _earlier_run(files, identity, resume)
        if earlier is not None and earlier.complete:
            _publish(files)
            return Summary.from_json(earlier.summary)
        run = _ResumableRun(options, output, identity, earlier, plan, companion)
        return run.work(classifier, plan, on_step, engine)


def _publish(files: Sequence[Path]) -> None:
    """Put sealed files in their places, and the manifest of the first out of the way."""
    for path in files:
        publish(path)
    keep_finished(files[0])


def _run_to_pipe(
    classifier: Classifier,
    plan: Plan,
    options: RunOptions,
    output: Path,
    on_step: Callable[[Step], None],
    engine: Engine,
    companion: Companion | None,
) -> Summary:
    """Write straight through, in any format."""
    if options.output_format != "parquet":
        with atomic_output(output) as stream:
            return run_to_stream(classifier, plan, options, stream, on_step, engine, companion)
    with atomic_output(output, binary=True) as file, ParquetStream(file) as rows:

        def write(results: Sequence[Result]) -> None:
            rows.write([result.to_record() for result in results])

        return _write_through(classifier, plan, options, write, on_step, engine, companion)


def _identity(
    classifier: Classifier, plan: Plan, options: RunOptions, companion: Companion | None
) -> Identity:
    decisive: dict[str, str | int] = {
        "format": options.output_format,
        "top_k": options.top_k,
        "batch_size": options.batch_size,
        "max_pixels": options.limits.max_pixels,
        "max_scans": options.limits.max_scans,
        "device": classifier.network.device,
        "runtime": classifier.network.runtime,
    }
    if companion is not None:
        decisive["html"] = str(companion.path)
    return Identity(plan.fingerprint, classifier.name, classifier.digest(), decisive)


def _earlier_run(files: Sequence[Path], identity: Identity, resume: bool) -> Manifest | None:
    """Return the run to go on with, None to start afresh; the first of its files has the manifest."""
    output = files[0]
    partial = partial_path(output)
    if not resume:
        if partial.exists():
            raise ResumeError(f"{partial} is left of an interrupted run: add --resume, or delete it")
        forget(output)
        return None
    manifest = load_manifest(output, identity)
    if manifest is None and partial.exists():
        raise ResumeError(f"{partial} has no manifest {manifest_path(output).name}: delete it to start again")
    there = all(path.exists() or partial_path(path).exists() for path in files)
    if manifest is not None and manifest.complete and not there:
        forget(output)
        return None
    return manifest


class _ResumableRun:
    """One process's part of a run: partial results, and a manifest that keeps up with them."""

    def __init__(
        self,
        options: RunOptions,
        output: Path,
        identity: Identity,
        earlier: Manifest | None,
        plan: Plan,
        companion: Companion | None,
    ) -> None:
        self._options = options
        self._output = output
        self._identity = identity
        self._companion = companion
        self._written: Mapping[str, int] = {}
        if earlier is None:
            self._summary, self._position = Summary(), Position()
            self._summary.skipped.add(plan.skipped)
        else:
            self._summary, self._position = Summary.from_json(earlier.summary), earlier.position
            self._written = earlier.written

    def work(
        self, classifier: Classifier, plan: Plan, on_step: Callable[[Step], None], engine: Engine
    ) -> Summary:
        """Do what is left. However it ends, the last checkpoint is there to go on from."""
        self._save(self._written)
        with closing(self._open()) as results:
            try:
                with closing(engine(classifier, plan, self._options, self._position)) as steps:
                    self._write(steps, results, on_step)
            except StoppedError:
                self._save(results.checkpoint())
                raise
            results.seal()
        self._save({}, complete=True)
        _publish((self._output,) if self._companion is None else (self._output, self._companion.path))
        return self._summary

    def _open(self) -> PartialOutput:
        """Open what is written to, at the last checkpoint."""
        written, companion_written = PartialPair.checkpoints(self._written)
        results: PartialOutput
        if self._options.output_format == "parquet":
            results = PartialParquet(self._output, written)
        else:
            layout = text_format(self._options.output_format, self._options.top_k)
            results = PartialText(self._output, layout, written)
        if self._companion is None:
            return results
        page = self._companion.layout(self._summary.images)
        return PartialPair(results, PartialText(self._companion.path, page, companion_written))

    def _write(self, steps: Iterable[Step], results: PartialOutput, on_step: Callable[[Step], None]) -> None:
        pause = _SECONDS_BETWEEN_CHECKPOINTS[self._options.output_format]
        due = time.monotonic() + pause
        for step in steps:
            if self._options.stop_on_error and (failure := _first_failure(step)) is not None:
                raise _stopped(step, failure)
            results.write(step.results)
            _count(self._summary, step.results, step)
            self._position = step.position
            on_step(step)
            if time.monotonic() >= due:
                self._save(results.checkpoint())
                due = time.monotonic() + pause

    def _save(self, written: Mapping[str, int], complete: bool = False) -> None:
        Manifest(self._identity, self._position, written, self._summary.to_json(), complete).save(
            self._output
        )


def _count(summary: Summary, done: Sequence[Result], step: Step) -> None:
    summary.add(done, step.size)
    if step.skipped is not None:
        summary.skipped.add(step.skipped)


def _first_failure(step: Step) -> int | None:
    return next((n for n, result in enumerate(step.results) if result.error is not None), None)


def _stopped(step: Step, number: int) -> StoppedError:
    result = step.results[number]
    assert result.error is not None
    return StoppedError(f"{input_name(result)}: {result.error.type}: {result.error.message}")
