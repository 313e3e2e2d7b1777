"""The package as a whole: light to import, complete in its public names, typed."""

import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import dctafd

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "matplotlib", "pyarrow", "jinja2", "jpeglib", "numba", "ray")


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, dctafd, dctafd.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


@pytest.mark.parametrize("name", dctafd.__all__)
def test_every_public_name_loads_and_says_what_it_is(name: str) -> None:
    assert getattr(dctafd, name).__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dctafd.no_such_name  # noqa: B018


def test_package_is_marked_as_typed() -> None:
    assert files("dctafd").joinpath("py.typed").is_file()


def test_every_file_of_the_packages_is_declared_as_their_data() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for package, patterns in declared.items():
        data = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        found = {path for path in (ROOT / package).rglob("*") if path.is_file()}
        others = {path for path in found if path.suffix != ".py" and "__pycache__" not in path.parts}
        assert others == data


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {dctafd.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_public_name_has_a_home() -> None:
    assert sorted(dctafd._HOME) == dctafd.__all__
