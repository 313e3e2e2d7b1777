"""Fixtures that every test may use, and what keeps tests from each other and from the user's files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep exported networks in a directory of this session, and export none unless a test is about that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCTAFD_RUNTIME", "torch")
        patch.setenv("DCTAFD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
