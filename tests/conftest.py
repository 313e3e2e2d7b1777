"""Fixtures that every test may use, and what keeps tests from each other and from the user's files."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep exported networks in a directory of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCTAFD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
