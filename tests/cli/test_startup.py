"""The pause of the garbage collector while modules and weights are loaded."""

import gc
from collections.abc import Iterator

import pytest

from dctafd.cli.startup import collector_paused


@pytest.fixture
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_is_paused_and_then_leaves_what_was_loaded_alone(unfrozen: None) -> None:
    frozen = gc.get_freeze_count()
    with collector_paused():
        assert not gc.isenabled()
        loaded: list[list[object]] = [[] for _ in range(100)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(loaded)


def test_an_error_while_loading_starts_it_again(unfrozen: None) -> None:
    with pytest.raises(RuntimeError), collector_paused():
        raise RuntimeError
    assert gc.isenabled()


def test_who_runs_without_a_collector_keeps_it_so(unfrozen: None) -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()
