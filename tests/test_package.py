"""The package as a whole: light to import, complete in its public names, typed."""

import subprocess
import sys
from importlib.resources import files

import pytest

import dctafd

HEAVY = ("torch", "torchvision", "matplotlib", "pyarrow", "jinja2", "jpeglib", "numba", "ray")


def test_import_loads_nothing_heavy():
    code = f"import sys, dctafd, dctafd.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


@pytest.mark.parametrize("name", dctafd.__all__)
def test_every_public_name_loads_and_says_what_it_is(name):
    assert getattr(dctafd, name).__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        dctafd.no_such_name  # noqa: B018


def test_package_is_marked_as_typed():
    assert files("dctafd").joinpath("py.typed").is_file()


def test_every_public_name_has_a_home():
    assert sorted(dctafd._HOME) == dctafd.__all__
