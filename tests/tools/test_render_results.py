"""tools/render_results.py: README, docs and cards show of figures what docs/results/ has, rendered."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dctafd.nets.afd import AFDConfig
from dctafd.nets.afd_weights import afd_name, shipped_afds
from tests.support.small_nets import small_resnet, trained_afd
from tools.render_results import block, pages, rendered_files, rendered_page
from tools.results.cards import combined, model_card
from tools.results.records import PROVENANCE, read_results
from tools.results.tables import evaluation_table

FIGURE = re.compile(r"[+-]?\d[\d,.]*( ?[%\w/]+)?( \(.*\))?")  # with a unit and an interval
TABLE = re.compile(r"(?:^\|.*\|\n)+", re.M)
BLOCK = re.compile(r"<!-- rendered: .*?<!-- end of rendered -->", re.S)

SOURCE = {"command": "measure", "commit": "abc1234def", "machine": "a machine", "date": "2026-11-30"}
ROW = {"photos": 50, "direct_top1": 60.0, "afd_top1": 70.04, "top1_gain": 10.04, "regained": 50.2}
EVALUATION = {
    **SOURCE,
    "model": "new",
    "images": 50,
    "protocol": "single",
    "clean": {
        "top1": 80.0,
        "afd_top1": 79.9,
        "top1_gain": -0.1,
        "top1_gain_low": -1.0,
        "top1_gain_high": 0.5,
    },
    "rows": [
        {"quality": 7, **ROW, "top1_gain_low": 5.0, "top1_gain_high": 15.0},
        {"quality": 90, **ROW, "direct_top1": 79.0, "top1_gain_low": 5.0, "top1_gain_high": 15.0},
    ],
}
HARM = {
    "module": "new",
    "condition": "as stored",
    "photos": 9,
    "without": 50.0,
    "corrected": 51.0,
    "change": 1.0,
    "low": -1.0,
    "high": 3.0,
    "drift": 0.1,
    "needs_nothing": True,
}


@pytest.fixture(scope="module")
def results() -> Any:
    return read_results()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "new_single.json").write_text(json.dumps(EVALUATION))
    (tmp_path / "do_no_harm.json").write_text(json.dumps({**SOURCE, "rows": [{**HARM, "module": "old"}]}))
    (tmp_path / "do_no_harm_new.json").write_text(json.dumps({**SOURCE, "rows": [HARM]}))
    return tmp_path


def test_rendering_again_changes_nothing(results: Any) -> None:
    stale = [path.name for path, text in rendered_files(results).items() if path.read_text("utf-8") != text]
    assert not stale, "run `python -m tools.render_results`"


def figure_tables(text: str) -> list[Any]:
    """Return the tables most of whose cells, but for the first of each row, are figures."""
    found = []
    for table in TABLE.findall(text):
        rows = [re.split(r" ?\| ?", line.strip("|\n "))[1:] for line in table.splitlines()[2:]]
        cells = [cell.strip() for row in rows for cell in row if cell.strip()]
        if 2 * sum(FIGURE.fullmatch(cell) is not None for cell in cells) > len(cells):
            found.append(table)
    return found


def test_a_table_of_figures_is_told_from_others() -> None:
    assert figure_tables("| a | b |\n|---|---|\n| x | 53.0 |\n| y | +1.2 (-0.3..+2) |\n| z | 5 images/s |\n")
    assert not figure_tables("| a | b |\n|---|---|\n| x | 30 % of the photos |\n| `--jobs` | CPUs to use |\n")


@pytest.mark.parametrize(
    "page", [page for page in pages() if "lab-notes" not in page.parts], ids=lambda p: p.name
)
def test_a_page_shows_no_table_of_figures_that_is_not_rendered(page: Path) -> None:
    assert figure_tables(BLOCK.sub("", page.read_text("utf-8"))) == []


def test_every_file_of_figures_is_shown_in_results_md(results: Any) -> None:
    shown = (pages()[0].parent / "docs/results.md").read_text("utf-8")
    for module, protocols in results.evaluations.items():
        for protocol in protocols:
            assert f"#### {module}, {protocol}," in shown


@pytest.mark.parametrize("path", shipped_afds(), ids=afd_name)
def test_the_front_matter_of_a_card_is_the_hubs(path: Path, results: Any) -> None:
    front = yaml.safe_load(model_card(path, results).split("---\n")[1])
    assert front["library_name"] == "dctafd"
    assert front["license"] in ("apache-2.0", "cc-by-nc-4.0", "other")
    assert (front["license"] == "other") == ("license_name" in front)
    assert "jpeg" in front["tags"]
    record = results.evaluations.get(afd_name(path), {}).get("single")
    if record is None:  # it has not been measured yet
        assert "model-index" not in front
        return
    values = [
        [metric["value"] for metric in entry["metrics"]] for entry in front["model-index"][0]["results"]
    ]
    assert values == [[row["afd_top1"], row["direct_top1"]] for row in record["rows"]]


def test_a_card_tells_of_pruning_after_or_between_trainings() -> None:
    layers = trained_afd(small_resnet(), "deep").config.layers
    config = AFDConfig("deep", layers, fdm_channels=4, fde_width=16, stage_widths=(16, 8))
    old = {"stage_widths": [24, 48, 64]}
    was = "The bottlenecks, trained with 24, 48, 64 channels, were pruned"
    assert combined({"pruned_from": old, "earlier": [{}]}, config).strip() == f"{was} then."
    assert combined({"earlier": [{}]}, config) == ""
    between = {"earlier": [{}, {"pruned_from": {**old, "fde_width": 48, "fdm_channels": 12}}]}
    text = combined(between, config)
    assert text.startswith(f"{was} after training 2 to 16, 8, ")
    assert "hidden layers from 48 to 16" in text
    assert "Feature Drifting Map from 12 to 4" in text
    assert "FDE-Net alone" in combined({"earlier": [{}], "fde_net_alone": True}, config)


def test_a_table_says_what_its_file_says() -> None:
    assert evaluation_table(EVALUATION).splitlines()[2:] == [
        "| clean | 80.0 | 79.9 | -0.1 (-1.0..+0.5) |  |",
        "| 7 | 60.0 | 70.0 | +10.0 (+5.0..+15.0) | 50 % |",
        "| 90 | 79.0 | 70.0 | +10.0 (+5.0..+15.0) |  |",
    ]


def test_files_that_are_put_there_appear_by_their_names(folder: Path) -> None:
    found = read_results(folder)
    assert "| `new` | 50 | 50 |" in block("summary", found)
    assert "| module (photos) | as stored |" in block("harm", found)
    assert " | +1.0 |" in block("harm", found)
    assert "| as stored | yes | 50.0 | 51.0 | +1.0 (-1.0..+3.0) | 0.100 |" in block("harm new", found)
    assert block("speed", found) == "Nothing has been measured yet."
    assert "`measure`, commit abc1234, 2026-11-30, a machine." in block("evaluation new single", found)


def test_a_block_is_replaced_and_the_rest_stays(folder: Path) -> None:
    text = "before\n\n<!-- rendered: summary -->\nold\n<!-- end of rendered -->\nafter\n"
    once = rendered_page(text, read_results(folder))
    assert once.startswith("before\n\n<!-- rendered: summary -->\n\n| module |")
    assert once.endswith("<!-- end of rendered -->\nafter\n")
    assert rendered_page(once, read_results(folder)) == once


@pytest.mark.parametrize("name", ["nonsense", "summary new", "evaluation new", "evaluation new native"])
def test_a_block_that_is_none_is_named(name: str, folder: Path) -> None:
    with pytest.raises(
        ValueError, match=name.split()[0] if name != "evaluation new native" else "new_native"
    ):
        block(name, read_results(folder))


@pytest.mark.parametrize("missing", PROVENANCE)
def test_figures_say_where_they_come_from(missing: str, folder: Path) -> None:
    record = {key: value for key, value in EVALUATION.items() if key != missing}
    (folder / "new_native.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"new_native.json does not say its {missing}"):
        read_results(folder)


def test_a_file_of_another_name_is_refused(folder: Path) -> None:
    (folder / "figures.json").write_text(json.dumps(SOURCE))
    with pytest.raises(ValueError, match=r"figures\.json is neither"):
        read_results(folder)
