"""The rooms of the house (docs/architecture.md): an import leads down, never up or in a circle."""

import re
from pathlib import Path

import grimp
import pytest

ROOMS = (
    ("dctafd.cli",),
    ("dctafd.analysis",),
    ("dctafd.training", "dctafd.batch"),
    ("dctafd.inference",),
    ("dctafd.nets", "dctafd.inputs"),
    ("dctafd.jpeg",),
    ("dctafd.extras", "dctafd.files", "dctafd.imagenet", "dctafd.plain_text"),
    ("dctafd.config", "dctafd.errors"),
    ("dctafd_native",),
)
"""From the top down; those on one floor know nothing of each other."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """All imports, those for types and inside functions, too, but those of the root, which lists names."""
    graph = grimp.build_graph("dctafd", "dctafd_native", cache_dir=None)
    for imported in graph.find_modules_directly_imported_by("dctafd"):
        graph.remove_import(importer="dctafd", imported=imported)
    return graph


def test_imports_lead_down(imports: grimp.ImportGraph) -> None:
    upward = imports.find_illegal_dependencies_for_layers(layers=[grimp.Layer(*floor) for floor in ROOMS])
    assert (
        sorted(
            f"{' -> '.join([min(route.heads), *route.middle, min(route.tails)])}"
            for dependency in upward
            for route in dependency.routes
        )
        == []
    )


def test_the_drawing_names_modules_that_are_there() -> None:
    """Those beside a folder's name, and those in the text behind one, which lie in the same room."""
    root = Path(__file__).parents[1]
    text = (root / "docs" / "architecture.md").read_text()
    names = set(re.findall(r"[\w/]+\.py\b", text))
    assert len(names) > 30
    places = [root, *(root / folder for folder in ("dctafd", "tests", "tools"))]
    assert [name for name in names if not any(list(place.rglob(name)) for place in places)] == []


def test_every_module_is_in_a_room(imports: grimp.ImportGraph) -> None:
    rooms = {room for floor in ROOMS for room in floor}
    outside = imports.find_children("dctafd") - rooms - {"dctafd.__main__"}
    assert not outside
    assert all(room in imports.modules for room in rooms)
