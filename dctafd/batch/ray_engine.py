"""The same run on a Ray cluster: shards are handed to workers, results come back in the sources' order.

Ray Data hands each unit of work (an archive, or a run of plain files) to one of a pool of workers, which hold
the classifier and run the local engine on it. What a lost worker was doing is done again from the unit's
start; a unit's results count only when all of them are there, so none is lost or doubled.

Sources are URLs, which the workers open themselves, or at the same paths on every machine, as weights are.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dctafd.batch.run import Engine
from dctafd.batch.run_options import RunOptions
from dctafd.batch.sources import Plan
from dctafd.batch.units import Unit
from dctafd.errors import WeightsError
from dctafd.extras import require_extra
from dctafd.inference.stream import START, Position, Step

if TYPE_CHECKING:
    from dctafd.inference.classifier import Classifier

_Row = dict[str, Any]


def ray_engine(address: str | None = None, **classifier: Any) -> Engine:
    """Return an engine that works on a Ray cluster.

    Args:
        address: the cluster, "auto" for the one this machine belongs to; None starts Ray on this machine
            for the time of the run (or uses what `ray.init` started before).
        classifier: the arguments of `load_classifier`, for the workers.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    require_extra("ray")
    import ray.data

    def engine(
        driver: Classifier, plan: Plan, options: RunOptions, start: Position
    ) -> Generator[Step, None, None]:
        here = not ray.is_initialized()
        if here:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        try:
            yield from _classify(driver, plan, options, start, classifier)
        finally:
            if here:
                ray.shutdown()

    return engine


class UnitWorker:
    """A worker of the pool: one classifier, one unit of work after the other.

    Args:
        arguments: of `load_classifier`.
        digest: `Classifier.digest` of the driver's classifier, which this worker's has to be.
        options: of the run.
        directory: the driver's, for relative paths.
    """

    def __init__(self, arguments: dict[str, Any], digest: str, options: RunOptions, directory: str) -> None:
        from dctafd.inference.loading import load_classifier

        with suppress(FileNotFoundError):  # absolute paths do without
            os.chdir(directory)
        self._options = options
        self._classifier = load_classifier(**arguments)
        self._classifier.network.use_cores(options.jobs)
        if self._classifier.digest() != digest:
            raise WeightsError(f"{os.uname().nodename} has other weights of {self._classifier.name}")

    def __call__(self, batch: dict[str, Any]) -> _Row:
        """Classify the units of a batch of rows (`number`, `unit`, `start`); return `number` and `steps`."""
        done = [
            self._steps(pickle.loads(unit), pickle.loads(start))
            for unit, start in zip(batch["unit"], batch["start"], strict=True)
        ]
        return {"number": batch["number"], "steps": np.array(done, dtype=object)}

    def _steps(self, unit: Unit, start: Position) -> bytes:
        options = self._options
        steps = self._classifier.classify_units(
            [unit],
            top_k=options.top_k,
            batch_size=options.batch_size,
            jobs=options.jobs,
            limits=options.limits,
            start=replace(start, unit=0),
            thumbnail=options.thumbnail,
        )
        return pickle.dumps(list(steps))


def _classify(
    driver: Classifier, plan: Plan, options: RunOptions, start: Position, arguments: dict[str, Any]
) -> Generator[Step, None, None]:
    """Hand the units out and yield their steps in order."""
    import ray.data

    rows = [
        {
            "number": number,
            "unit": pickle.dumps(unit),
            "start": pickle.dumps(start if number == start.unit else START),
        }
        for number, unit in enumerate(plan.units)
        if number >= start.unit
    ]
    if not rows:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    expected = start.unit
    for row in _dataset(rows, options, _worker_arguments(driver, options, arguments)).iter_rows():
        number = int(row["number"])
        if number != expected:
            raise RuntimeError(f"Ray returned unit {number} where unit {expected} was due")
        expected += 1
        yield from _numbered(pickle.loads(row["steps"]), number)
    if expected != len(plan.units):
        raise RuntimeError(f"Ray returned {expected} of {len(plan.units)} units")


def _worker_arguments(driver: Classifier, options: RunOptions, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "arguments": arguments,
        "digest": driver.digest(),
        "options": options,
        "directory": str(Path.cwd()),
    }


def _dataset(rows: list[_Row], options: RunOptions, worker: dict[str, Any]) -> Any:
    """Return the lazy dataset of results: a block for each unit, a pool of workers with `jobs` CPUs each."""
    import ray
    import ray.data

    resources = ray.cluster_resources()
    workers = max(1, min(int(resources.get("CPU", 1)) // options.jobs, len(rows)))
    gpus = 1 if resources.get("GPU") and worker["arguments"].get("device") != "cpu" else 0
    if gpus:
        workers = max(1, min(workers, int(resources["GPU"])))
    # Ray Data begins lost actors anew, and does again what they were at, as often as it takes.
    return ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        UnitWorker,
        fn_constructor_kwargs=worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=options.jobs,
        num_gpus=gpus,
    )


def _numbered(steps: list[Step], number: int) -> list[Step]:
    """Give a unit's steps the positions that they have in the whole run."""
    return [
        Step(
            step.results,
            step.size,
            Position(number + 1) if step.skipped is not None else replace(step.position, unit=number),
            step.skipped,
        )
        for step in steps
    ]
