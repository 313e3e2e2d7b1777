"""Fixtures that every test may use, and what keeps tests from each other and from the user's files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.places import SHARED


@pytest.fixture(autouse=True, scope="session")
def own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep exported networks in a directory of this session, and export none unless a test is about that.

    Tables are as wide whatever terminal the tests are started from.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        patch.setenv("DCTAFD_RUNTIME", "torch")
        patch.setenv("DCTAFD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `shared("images", ...)` where a part of ../shared that they name is missing."""
    for item in items:
        for mark in item.iter_markers("shared"):
            missing = [f"../shared/{part}" for part in mark.args if not (SHARED / part).is_dir()]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"needs the data folder {', '.join(missing)}"))
