import numpy as np
import pytest

from dctafd.jpeg import numba_engine
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.partial import ComponentPlan, slice_plan
from tests.support.jpeg_files import all_kinds
from tests.support.jpeg_writer import frame_of, random_coefficients, write_sequential


def random_plan(rng: np.random.Generator, rows: int, columns: int) -> ComponentPlan:
    top, bottom = sorted(rng.integers(0, rows + 1, 2))
    left, right = sorted(rng.integers(0, columns + 1, 2))
    return ComponentPlan(
        keep=int(rng.choice([1, 2, 4, 8])),
        window=(int(top), int(bottom), int(left), int(right)),
        grid_rows=rng.integers(0, rows, rng.integers(0, 6)),
        grid_columns=rng.integers(0, columns, rng.integers(0, 6)),
    )


@pytest.mark.parametrize("name", all_kinds())
def test_partial_equals_a_slice_of_the_whole(name: str) -> None:
    data = all_kinds()[name]
    structure = parse_markers(data)
    everything = [ComponentPlan.everything(*shape) for shape in structure.frame.blocks]
    whole = [part.corners for part in numba_engine.decode(data, structure, everything).components]
    rng = np.random.default_rng(len(data))
    for _ in range(6):
        plans = [random_plan(rng, *shape) for shape in structure.frame.blocks]
        decoded = numba_engine.decode(data, structure, plans)
        assert decoded.damage == []
        for part, array, plan in zip(decoded.components, whole, plans, strict=True):
            expected = slice_plan(array, plan)
            np.testing.assert_array_equal(part.corners, expected.corners)
            np.testing.assert_array_equal(part.grid, expected.grid)


def test_partial_of_scans_of_their_own() -> None:
    frame = frame_of(70, 90, [(2, 2), (1, 1), (1, 2)])
    written = random_coefficients(frame)
    data = write_sequential(frame, written, scans=[[1], [0], [2]], restart_interval=5)
    rng = np.random.default_rng(0)
    for _ in range(10):
        plans = [random_plan(rng, *shape) for shape in frame.blocks]
        parts = numba_engine.decode(data, parse_markers(data), plans).components
        for part, array, plan in zip(parts, written, plans, strict=True):
            np.testing.assert_array_equal(part.corners, slice_plan(array, plan).corners)
            np.testing.assert_array_equal(part.grid, slice_plan(array, plan).grid)


def test_data_behind_the_plan_is_not_read() -> None:
    data = all_kinds()["4:2:0 baseline"]
    structure = parse_markers(data)
    plans = [ComponentPlan(8, (0, 1, 0, 1)) for _ in range(3)]
    scan = structure.scans[0]
    broken = bytearray(data)
    broken[scan.end - 40 : scan.end] = bytes(40)
    decoded = numba_engine.decode(bytes(broken), structure, plans)
    assert decoded.damage == []
    assert decoded.components[0].corners.any()


@pytest.mark.parametrize(
    "plan",
    [
        ComponentPlan(3, (0, 1, 0, 1)),
        ComponentPlan(8, (0, 99, 0, 1)),
        ComponentPlan(8, (-1, 1, 0, 1)),
        ComponentPlan(8, (1, 0, 0, 1)),
        ComponentPlan(8, (0, 1, 0, 1), np.array([99]), np.array([0])),
        ComponentPlan(8, (0, 1, 0, 1), np.array([0]), np.array([-1])),
    ],
)
def test_plans_outside_the_component_are_refused(plan: ComponentPlan) -> None:
    data = all_kinds()["gray"]
    with pytest.raises(ValueError, match=r"keep|window|grid"):
        numba_engine.decode(data, parse_markers(data), [plan])
