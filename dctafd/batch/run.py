"""A whole classification run: sources in, one record per input out, resumable where it writes to a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dctafd.batch.appended_columns import AppendedParts
from dctafd.batch.extension import Extension, plan_extension
from dctafd.batch.formats import TextFormat
from dctafd.batch.manifest import Identity, Manifest, check_identity, parse_manifest
from dctafd.batch.output_folders import partial_path, publish
from dctafd.batch.output_lock import only_writer
from dctafd.batch.output_places import LocalPlace, OutputPlace, StorePlace
from dctafd.batch.parquet import ParquetStream
from dctafd.batch.partial_output import ParquetParts, PartialOutput, PartialPair, PartialText
from dctafd.batch.run_options import Companion, RunOptions
from dctafd.batch.sources import Plan
from dctafd.batch.store_writing import OutputUrl, uploaded
from dctafd.batch.summary import Summary
from dctafd.batch.tables import PLAIN, Page
from dctafd.batch.writers import input_name, text_format
from dctafd.errors import DctafdError, ResumeError
from dctafd.files import atomic_output, check_output, followed, is_stream
from dctafd.inference.results import Result
from dctafd.inference.stream import Position, Step

if TYPE_CHECKING:
    from dctafd.inference.classifier import Classifier

RESUMABLE_FORMATS = ("jsonl", "csv", "parquet")
_SECONDS_BETWEEN_CHECKPOINTS = {"jsonl": 1.0, "csv": 1.0, "parquet": 5.0}

#: Yields the steps of a run from a position on; the local engine and Ray's are of this kind.
Engine = Callable[["Classifier", Plan, "RunOptions", Position], Generator[Step, None, None]]


class StoppedError(DctafdError):
    """An input failed and the run was told to stop there."""


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
    layout = _layout(plan, options, Page.of(stream))

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
    output: Path | OutputUrl,
    resume: bool = False,
    on_step: Callable[[Step], None] = lambda step: None,
    engine: Engine = classify_locally,
    companion: Companion | None = None,
    extend: bool = False,
) -> Summary:
    """Classify and put a complete file in its place.

    jsonl, csv and Parquet grow in ``OUT.partial`` and can be resumed; json and table appear at the end. A
    device, pipe or FIFO is written straight through, whatever the format. Behind a URL, ``OUT.partial`` is a
    folder of parts and the manifest an object, so that any machine can go on.

    Args:
        classifier, plan, options: what is to be done.
        output: the file.
        resume: go on with an interrupted run of the same inputs, model and options.
        on_step: is told of every batch.
        engine: what does the work.
        companion: a second file, which appears, and is resumed, with the first; not with `extend`.
        extend: add what is new in `plan` to the finished output.

    Raises:
        StoppedError: an input failed, with `stop_on_error`; the run can be resumed.
        ResumeError: there is an interrupted run and `resume` was not asked for, or it is another run's, or
            another process is writing the same file; or what was written is a pipe, or has changed since.
        OSError: the file cannot be written; where it is for want of space, the run can be resumed.
    """
    place: OutputPlace
    if isinstance(output, OutputUrl):
        if options.output_format not in RESUMABLE_FORMATS:
            with uploaded(output.url) as file:
                return run_to_stream(classifier, plan, options, file, on_step, engine, companion)
        place = StorePlace(output)
    else:
        check_output(output)
        if is_stream(output):
            if resume or extend:
                raise ResumeError(f"{output} is a pipe or device: what was written to it cannot be resumed")
            return _run_to_pipe(classifier, plan, options, output, on_step, engine, companion)
        output = followed(output)
        if options.output_format not in RESUMABLE_FORMATS:
            with atomic_output(output) as file:
                return run_to_stream(classifier, plan, options, file, on_step, engine, companion)
        place = LocalPlace(output)
    if companion is not None:
        companion = replace(companion, path=followed(companion.path))
    with ExitStack() as locks:
        locks.enter_context(place.only_writer())
        if companion is not None:
            locks.enter_context(only_writer(companion.path))
        identity = _identity(classifier, plan, options, companion)
        extension = None
        if extend:
            extension = plan_extension(place, plan, identity)
            plan, identity = extension.plan, replace(identity, inputs=extension.inputs)
            if not plan.units:
                return Summary.from_json(extension.summary)
        earlier = _earlier_run(place, companion, identity, resume, extend)
        if earlier is not None and earlier.complete:
            _publish(place, companion)
            return Summary.from_json(earlier.summary)
        run = _ResumableRun(options, place, identity, earlier, plan, companion, extension)
        return run.work(classifier, on_step, engine)


def _publish(place: OutputPlace, companion: Companion | None) -> None:
    """Put sealed files in their places, and the manifest out of the way."""
    place.publish()
    if companion is not None:
        publish(companion.path)
    place.keep_finished()


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
    with atomic_output(output, binary=True) as file, ParquetStream(file, plan.kinds) as rows:

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
    if plan.kinds:
        decisive["keep"] = ",".join(f"{name} ({kind})" for name, kind in plan.kinds)
    if options.column is not None:
        decisive["column"] = options.column
    if options.append_columns:
        decisive["append_columns"] = 1
    return Identity(plan.fingerprint, classifier.name, classifier.digest(), decisive)


def _earlier_run(
    place: OutputPlace, companion: Companion | None, identity: Identity, resume: bool, extend: bool
) -> Manifest | None:
    """Return the run to go on with, None to start afresh."""
    if not resume:
        if place.has_partial():
            raise ResumeError(f"{place.partial} is left of an interrupted run: add --resume, or delete it")
        place.forget(finished=not extend)
        return None
    text, name = place.running(), place.manifest
    if text is None and not extend:
        text = place.finished()
    if text is None:
        if place.has_partial():
            raise ResumeError(f"{place.partial} has no manifest {name}: delete it to start again")
        return None
    manifest = parse_manifest(text, name)
    check_identity(manifest.identity, identity, name)
    there = place.size() is not None or place.has_partial()
    if companion is not None:
        there = there and (companion.path.exists() or partial_path(companion.path).exists())
    if manifest.complete and not there:
        place.forget()
        return None
    return manifest


class _ResumableRun:
    """One process's part of a run: partial results, and a manifest that keeps up with them."""

    def __init__(
        self,
        options: RunOptions,
        place: OutputPlace,
        identity: Identity,
        earlier: Manifest | None,
        plan: Plan,
        companion: Companion | None,
        extension: Extension | None,
    ) -> None:
        self._options = options
        self._place = place
        self._identity = identity
        self._plan = plan
        self._companion = companion
        self._extension = extension
        self._written: Mapping[str, int] = {}
        if earlier is None:
            self._summary = Summary() if extension is None else Summary.from_json(extension.summary)
            self._position = Position()
            self._summary.skipped.add(plan.skipped)
        else:
            self._summary, self._position = Summary.from_json(earlier.summary), earlier.position
            self._written = earlier.written

    def work(self, classifier: Classifier, on_step: Callable[[Step], None], engine: Engine) -> Summary:
        """Do what is left. However it ends, the last checkpoint is there to go on from."""
        self._save(self._written)
        with closing(self._open()) as results:
            try:
                with closing(engine(classifier, self._plan, self._options, self._position)) as steps:
                    self._write(steps, results, on_step)
            except StoppedError:
                self._save(results.checkpoint())
                raise
            results.seal()
        self._finish()
        return self._summary

    def _finish(self) -> None:
        done = () if self._extension is None else self._extension.done
        units = (*done, *self._plan.named_digests())
        summary = self._summary.to_json()
        written = {"bytes": self._place.sealed_size()}
        finished = Manifest(self._identity, self._position, written, summary, True, units)
        self._place.save(finished.to_json())
        _publish(self._place, self._companion)

    def _open(self) -> PartialOutput:
        """Open what is written to, at the last checkpoint."""
        written, companion_written = PartialPair.checkpoints(self._written)
        results = self._open_results(written)
        if self._companion is None:
            return results
        page = self._companion.layout(self._summary.images)
        return PartialPair(results, PartialText(self._companion.path, page, companion_written))

    def _open_results(self, written: Mapping[str, int]) -> PartialOutput:
        extends = self._extension is not None
        if self._options.output_format == "parquet":
            appended = self._options.append_columns
            encoding = (
                AppendedParts(self._plan, self._options.column)
                if appended
                else ParquetParts(self._plan.kinds)
            )
            return self._place.open_parts(encoding, written, extends)
        layout = _layout(self._plan, self._options)
        return self._place.open_text(layout, self._options.output_format, written, extends)

    def _write(self, steps: Iterable[Step], results: PartialOutput, on_step: Callable[[Step], None]) -> None:
        pause = self._place.pause(_SECONDS_BETWEEN_CHECKPOINTS[self._options.output_format])
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

    def _save(self, written: Mapping[str, int]) -> None:
        summary = self._summary.to_json()
        self._place.save(Manifest(self._identity, self._position, written, summary).to_json())


def _layout(plan: Plan, options: RunOptions, page: Page = PLAIN) -> TextFormat[Result]:
    return text_format(options.output_format, options.top_k, page, [name for name, _ in plan.kinds])


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
