"""Photos per second of `dctafd classify` on machines that are not at hand, by a simulation of its pipeline.

    python -m tools.benchmarks.scaling_model --throughput docs/results/throughput.json -o runs/scaling.json

Times are those of `tools.benchmarks.benchmark_batch`, beside what docs/lab-notes/measured-once.md tells. The
threads and what they wait for are those of `dctafd.inference.stream`; if they want more cores than there are,
all become slower alike. What queues and locks take, and how cores hinder each other by caches, memory and
clock, is left out.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import click

from dctafd.inference.graph_networks import OpenVINONetwork
from dctafd.inference.network import parallel_batches
from dctafd.inference.stream import BATCHES_AHEAD
from tools.provenance import write_figures

CORES, PARALLEL = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16)
BATCH = 32
#: Share of each stage's time that holds the GIL.
_GIL = {"read": 0.70, "prepare": 0.41, "stack": 0.08, "network": 0.015, "assemble": 0.95}
#: Milliseconds a photo of the stages that benchmark_batch leaves out.
_SMALL = {"stack": 0.07, "assemble": 0.065}
_CASES = {"read": "read the tar", "prepare": "prepare", "network": "network, corrected"}
#: Share of the network's time that more threads do not shorten; a guess, where two threads were not timed.
_SERIAL = 0.1


class Cost(NamedTuple):
    """Core seconds of a stage for a photo, with the GIL and without; what share of these is serial."""

    held: float
    free: float
    serial: float = 1.0


def costs_of(record: Mapping[str, Any]) -> dict[str, Cost]:
    """Return what each stage costs, from a throughput.json."""
    stages = {stage["case"]: stage for stage in record["stages"]}
    taken = {name: stages[case]["cpu_ms"] for name, case in _CASES.items()} | _SMALL
    costs = {name: Cost(_GIL[name] * ms / 1000, (1 - _GIL[name]) * ms / 1000) for name, ms in taken.items()}
    serial = _SERIAL
    if two := stages.get("network, corrected, two threads"):
        one = stages[_CASES["network"]]
        shorter = two["images_per_second"] / one["images_per_second"]
        serial = min(max(2 / shorter - 1, 0.0), 1.0)
    return costs | {"network": costs["network"]._replace(serial=serial)}


@dataclass
class Gate:
    """Lets through as many threads as it is opened for; the others wait in line."""

    free: int = 0
    waiting: deque[Thread] = field(default_factory=deque)


#: A thread: it yields a gate to wait at, or seconds to work and on how many cores.
Thread = Generator[Gate | tuple[float, float], None, None]


class Machine:
    """Cores and a GIL that threads share."""

    def __init__(self, cores: int) -> None:
        self.now = 0.0
        self._cores = cores
        self._gil = Gate(1)
        self._wanted = self._progress = 0.0  # cores, and seconds that each working thread has been given
        self._ends: list[tuple[float, int, float, Thread]] = []
        self._numbers = count()

    def open(self, gate: Gate) -> None:
        """Let one thread more through a gate."""
        if gate.waiting:
            self.go_on(gate.waiting.popleft())
        else:
            gate.free += 1

    def go_on(self, thread: Thread) -> None:
        """Run a thread until it works or waits."""
        for step in thread:
            if isinstance(step, tuple):
                self._wanted += step[1]
                end = self._progress + step[0]
                heapq.heappush(self._ends, (end, next(self._numbers), step[1], thread))
                return
            if not step.free:
                step.waiting.append(thread)
                return
            step.free -= 1

    def work(self, cost: Cost, photos: int = 1, threads: int = 1) -> Thread:
        """Do a stage: what holds the GIL, then the rest on some threads, which sleep while they wait."""
        yield self._gil
        yield photos * cost.held, 1
        self.open(self._gil)
        faster = 1 / (cost.serial + (1 - cost.serial) / threads)
        yield photos * cost.free / faster, faster

    def run(self) -> None:
        """Go on until every thread waits or has ended."""
        while self._ends:
            end, _, cores, thread = heapq.heappop(self._ends)
            self.now += (end - self._progress) * max(1.0, self._wanted / self._cores)
            self._progress = end
            self._wanted -= cores
            self.go_on(thread)


def photos_per_second(costs: Mapping[str, Cost], cores: int, parallel: int, jobs: int | None = None) -> float:
    """Return the pace of `parallel` batches side by side and `jobs` preparing threads, else one a core."""
    jobs = jobs or cores
    machine = Machine(cores)
    warm_up = 2 * parallel + 4
    batches = 2 * warm_up + 8 * max(parallel, 4)
    window, handed, submitted = Gate(BATCHES_AHEAD * BATCH + jobs), Gate(), Gate()
    prepared, answered = [Gate() for _ in range(batches * BATCH)], [Gate() for _ in range(batches)]
    to_prepare, to_answer = iter(prepared), iter(answered)
    done: list[float] = []

    def read() -> Thread:
        for _ in prepared:
            yield window
            yield from machine.work(costs["read"])
            machine.open(handed)

    def prepare() -> Thread:
        while True:
            yield handed
            photo = next(to_prepare)
            yield from machine.work(costs["prepare"])
            machine.open(photo)

    def network() -> Thread:
        while True:
            yield submitted
            batch = next(to_answer)
            yield from machine.work(costs["stack"], BATCH)
            for _ in range(0, BATCH, OpenVINONetwork.at_once):
                yield from machine.work(costs["network"], OpenVINONetwork.at_once, jobs // parallel)
            machine.open(batch)

    def caller() -> Thread:
        under_way: deque[Gate] = deque()
        for number, photo in enumerate(prepared, 1):
            yield photo
            machine.open(window)
            if number % BATCH == 0:
                machine.open(submitted)
                under_way.append(answered[number // BATCH - 1])
            # One batch at a time runs in the calling thread, which means that it waits for the answer.
            if len(under_way) > (parallel if parallel > 1 else 0):
                yield under_way.popleft()
                yield from machine.work(costs["assemble"], BATCH)
                done.append(machine.now)

    for start, threads in ((network, parallel), (prepare, jobs), (caller, 1), (read, 1)):
        for _ in range(threads):
            machine.go_on(start())
    machine.run()
    # From a full pipeline to one that is as full; what was under way at the end does not count.
    last = batches - warm_up
    return (last - warm_up) * BATCH / (done[last - 1] - done[warm_up - 1])


@click.command()
@click.option("--throughput", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(throughput: Path, output: Path) -> None:
    """Simulate the batch pipeline on 1 to 64 cores."""
    record = json.loads(throughput.read_text("utf-8"))
    costs, here = costs_of(record), record["environment"]["processors"]
    jobs = {"dctafd, corrected, 1 worker": 1, "dctafd, corrected": record["workers"]}
    measured = {jobs[row["case"]]: row["images_per_second"] for row in record["rows"] if row["case"] in jobs}
    told = [
        f"{pace:.0f} with `--jobs {n}`, where the model says "
        f"{photos_per_second(costs, here, parallel_batches(n), n):.0f}"
        for n, pace in sorted(measured.items())
    ]
    serial = f"More threads do not shorten {100 * costs['network'].serial:.0f} % of the network's time."
    rows = []
    for cores in CORES:
        paces = {n: round(photos_per_second(costs, cores, n), 1) for n in PARALLEL if n <= cores}
        enough = next(n for n, pace in paces.items() if pace >= 0.99 * max(paces.values()))
        rows.append({"cores": cores, "paces": paces, "best": enough, "taken": parallel_batches(cores)})
    note = f"Measured on {here} cores, in images/s: {'; '.join(told)}. {serial}"
    write_figures(output, rows, note=note, model=record["model"])


if __name__ == "__main__":
    main()
