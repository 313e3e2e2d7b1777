"""Errors travel between processes, and the extras are those of pyproject.toml."""

import pickle
import re
import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import dctafd
from dctafd.errors import DctafdError, MissingExtraError
from dctafd.extras import EXTRAS, require_extra

ROOT = Path(__file__).parents[1]


def every_error() -> list[type[DctafdError]]:
    for module in walk_packages(dctafd.__path__, "dctafd."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found: list[type[DctafdError]] = [DctafdError]
    classes: list[type[DctafdError]] = []
    while found:
        classes.append(kind := found.pop())
        found.extend(kind.__subclasses__())
    return classes


def test_every_error_survives_pickling() -> None:
    kinds = [kind for kind in every_error() if kind is not MissingExtraError]
    assert len(kinds) > 8
    for kind in kinds:
        again = pickle.loads(pickle.dumps(kind("what went wrong")))
        assert (type(again), str(again)) == (kind, "what went wrong")


@pytest.mark.parametrize("packages", ["zstandard", ("jinja2", "matplotlib")])
def test_a_missing_extra_survives_pickling(packages: str | tuple[str, str]) -> None:
    error = MissingExtraError(packages, "some")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.extra) == (MissingExtraError, str(error), "some")


def test_a_missing_extra_names_all_its_packages_in_a_command_that_needs_no_index_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("jinja2", "matplotlib"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        require_extra("report")
    assert "jinja2 and matplotlib are not installed: pip install jinja2 matplotlib" in str(caught.value)
    assert "dctafd[" not in str(caught.value)


def test_the_extras_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    for name, extra in EXTRAS.items():
        listed = {re.split(r"[<>=~!;]", requirement)[0] for requirement in optional[name]}
        assert set(extra.packages) <= listed, name
