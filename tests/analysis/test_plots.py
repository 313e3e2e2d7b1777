"""The house style: figures as SVG and files, heat maps, numbers."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from dctafd.analysis.plots import (
    figure_svg,
    figure_text,
    heat_map,
    new_figure,
    quality_bars,
    save_figure,
    short_number,
)
from dctafd.errors import MissingExtraError

SVG = "{http://www.w3.org/2000/svg}"


def draw(figure_of: Callable[..., Any]) -> str:
    with new_figure() as (figure, axes):
        figure_of(axes[0, 0])
        return figure_svg(figure, 'a "map" of <x> & y')


def test_an_svg_scales_and_says_what_it_shows() -> None:
    svg = draw(lambda ax: ax.plot([1, 2], [3, 4]))
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["aria-label"] == 'a "map" of <x> & y'
    assert root.attrib["role"] == "img"
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & set(root.attrib)


def test_the_same_figure_is_the_same_text() -> None:
    first, second = (draw(lambda ax: ax.plot([1, 2], [3, 4])) for _ in range(2))
    assert first == second


def test_figures_of_one_page_do_not_share_identifiers_of_different_things() -> None:
    first = draw(lambda ax: ax.plot([1, 2], [3, 4]))
    second = draw(lambda ax: ax.plot([1, 2], [9, 4], "s"))
    used = [set(re.findall(r'<path id="(m[0-9a-f]{8,})" d="([^"]*)"', svg)) for svg in (first, second)]
    names = [dict(pairs) for pairs in used]
    for name in names[0].keys() & names[1].keys():
        assert names[0][name] == names[1][name]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_suffix_says_the_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"figure.{suffix}"
    with new_figure(2, 2) as (figure, _):
        save_figure(figure, path)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[suffix])


@pytest.mark.parametrize("logarithmic", [False, True])
def test_heat_maps_write_every_number_in_its_place(logarithmic: bool) -> None:
    values = np.arange(64.0).reshape(8, 8)
    with new_figure() as (_, axes):
        heat_map(axes[0, 0], values, "numbers", logarithmic=logarithmic)
        texts = {text.get_position(): text.get_text() for text in axes[0, 0].texts}
        image = axes[0, 0].images[0].get_array()
    assert len(texts) == 64
    assert (texts[3, 2], texts[0, 0]) == ("19", "0")  # (column, row)
    assert image[2, 3] == 19


def test_a_map_of_zeros_can_be_drawn_on_a_logarithmic_scale(tmp_path: Path) -> None:
    with new_figure(3, 3) as (figure, axes):
        heat_map(axes[0, 0], np.zeros((8, 8)), "nothing", logarithmic=True)
        save_figure(figure, tmp_path / "zeros.png")
    with Image.open(tmp_path / "zeros.png") as drawn:
        assert drawn.size == (450, 450)


def test_quality_bars_stack() -> None:
    first, second = np.zeros(101, int), np.zeros(101, int)
    first[0], first[50], second[50] = 9, 2, 3
    with new_figure() as (_, axes):
        quality_bars(axes[0, 0], [("a", first), ("b", second)], "quality")
        bars = [(bar.get_x() + 0.5, bar.get_y(), bar.get_height()) for bar in axes[0, 0].patches]
    assert [bar for bar in bars if bar[2]] == [(50.0, 0.0, 2.0), (50.0, 2.0, 3.0)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.012"), (5.25, "5.2"), (99.4, "99"), (370.4, "370"), (np.nan, "")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="pip install matplotlib"), new_figure():
        pass


@pytest.mark.parametrize("name", ["a$x_{$b.jpg", r"$\frac{1}{0}$.jpg", "a\x1b[31m\n.jpg", "写真.jpg"])
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_file_name_is_no_formula_in_a_figure(tmp_path: Path, name: str, suffix: str) -> None:
    with new_figure() as (figure, axes):
        figure.suptitle(figure_text(name))
        axes[0, 0].set(title=figure_text(name), xlabel=figure_text(name))
        axes[0, 0].legend([axes[0, 0].plot([1, 2])[0]], [figure_text(name)])
        save_figure(figure, tmp_path / f"figure{suffix}")
    if suffix == ".svg" and name.isprintable():
        assert name in (tmp_path / "figure.svg").read_text()


@pytest.mark.parametrize("name", ["x.bmp", "x.bmpx", "x.jpg"])
def test_another_suffix_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with new_figure() as (figure, _), pytest.raises(ValueError, match=r"written as \.png, \.svg, \.pdf"):
        save_figure(figure, tmp_path / name)
    assert not list(tmp_path.iterdir())
