"""tools/benchmarks/scaling_model.py: the simulated pipeline keeps to what any pipeline has to."""

from collections.abc import Mapping
from itertools import pairwise

import pytest

from dctafd.inference.network import MAX_PARALLEL_BATCHES, parallel_batches
from tools.benchmarks.scaling_model import CORES, PARALLEL, Cost, costs_of, photos_per_second

COSTS = {
    "read": Cost(0.00005, 0.00003),
    "prepare": Cost(0.0007, 0.001),
    "stack": Cost(0, 0.00007),
    "network": Cost(0.0002, 0.0123, serial=0.1),
    "assemble": Cost(0.00006, 0),
}
NOTHING_HELD = {name: Cost(0, cost.held + cost.free, cost.serial) for name, cost in COSTS.items()}


def seconds(costs: Mapping[str, Cost]) -> float:
    return sum(cost.held + cost.free for cost in costs.values())


def test_one_core_does_one_stage_after_the_other() -> None:
    assert photos_per_second(COSTS, 1, 1) == pytest.approx(1 / seconds(COSTS), rel=0.01)


def test_a_second_core_overlaps_what_one_thread_prepares_with_the_network() -> None:
    longest = COSTS["network"].held + COSTS["network"].free
    pace = photos_per_second(NOTHING_HELD, 2, 1, jobs=1)
    assert 1 / seconds(COSTS) < pace < 1 / longest


@pytest.mark.parametrize("cores", CORES)
def test_no_pace_is_above_what_the_cores_and_the_gil_allow(cores: int) -> None:
    held = sum(cost.held for cost in COSTS.values())
    for parallel in PARALLEL:
        if parallel <= cores:
            pace = photos_per_second(COSTS, cores, parallel)
            assert pace <= 1.01 * min(cores / seconds(COSTS), 1 / held)


def test_without_a_gil_small_machines_are_used_whole() -> None:
    for cores in (2, 4, 8, 16):
        pace = photos_per_second(NOTHING_HELD, cores, cores)
        assert pace == pytest.approx(cores / seconds(COSTS), rel=0.02)


@pytest.mark.parametrize("costs", [COSTS, NOTHING_HELD])
def test_more_cores_are_never_slower(costs: dict[str, Cost]) -> None:
    for parallel in PARALLEL:
        paces = [photos_per_second(costs, cores, parallel) for cores in CORES if cores >= parallel]
        assert all(more >= 0.99 * fewer for fewer, more in pairwise(paces))


def test_costs_come_from_what_was_timed() -> None:
    stages = [
        {"case": "read the tar", "cpu_ms": 0.1, "images_per_second": 10000},
        {"case": "prepare", "cpu_ms": 2.0, "images_per_second": 500},
        {"case": "network, corrected", "cpu_ms": 10.0, "images_per_second": 100},
        {"case": "network, corrected, two threads", "cpu_ms": 10.0, "images_per_second": 160},
    ]
    costs = costs_of({"stages": stages})
    assert costs["prepare"].held + costs["prepare"].free == pytest.approx(0.002)
    assert costs["network"].serial == pytest.approx(0.25)
    assert 0 < costs_of({"stages": stages[:3]})["network"].serial < 1


@pytest.mark.parametrize("cores", CORES)
def test_as_many_batches_are_taken_as_the_simulation_finds_enough(cores: int) -> None:
    best = max(photos_per_second(COSTS, cores, parallel) for parallel in PARALLEL if parallel <= cores)
    assert photos_per_second(COSTS, cores, parallel_batches(cores)) >= 0.98 * best


def test_batches_side_by_side_take_nearly_all_cores_and_never_more() -> None:
    for jobs in range(1, 257):
        parallel = parallel_batches(jobs)
        threads = jobs // parallel
        assert 1 <= parallel <= MAX_PARALLEL_BATCHES
        assert 0 <= jobs - parallel * threads < threads
    assert [parallel_batches(jobs) for jobs in (1, 2, 4)] == [1, 2, 4]
