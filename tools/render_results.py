"""Write what README, docs and the model cards show of the figures in docs/results/, and nothing else.

    python -m tools.render_results            # writes the files that change, and names them
    python -m tools.render_results --check    # only names them; exit status 1 if there are any

A page shows figures between two comments, `<!-- rendered: BLOCK -->` and `<!-- end of rendered -->`; what
lies between is replaced. Blocks:

    summary                       what every module regains under protocol single, beside the paper's network
    paper                         the paper's Table V
    evaluation MODULE PROTOCOL    one table: top-1 without and with the module
    modules                       every module's tables, with headings
    harm [MODULE]                 photos that need nothing and large ones: of all modules, or of one
    distance                      the gain over the distance from the weights that a module was trained for
    order                         how well predicted drift orders sizes and qualities
    calibration                   how far scores are from how often they are right
    cost                          the time that modules add to their networks
    history                       how often the earlier compression is found
    speed                         ratios of tools/benchmarks, on single photos
    prepare                       of these, bytes to the classifier's input, against every alternative
    throughput                    images per second of whole runs
    scaling                       the same by simulation, on 1 to 64 cores
    cores                         images per second of a core's time, and core-hours for a million

A block whose file is not there says that nothing has been measured. Cards (dctafd/nets/weights/NAME_afd.md)
are rendered whole, by the Hugging Face conventions, from the weights file's metadata, its figures and
tools/recipes/NAME.toml.

To add figures, put a JSON file into docs/results/ and run this command; the name says what it is:

    MODULE_PROTOCOL.json       `python -m tools.recipes.make_module measure MODULE --protocol PROTOCOL`, or
                               what `dctafd evaluate --format json` says, with the four keys below
    do_no_harm*.json           `python -m tools.checks.do_no_harm -o FILE`: any number of files and modules
    drift_order*.json          `python -m tools.checks.drift_order -o FILE`
    cost*.json                 `python -m tools.benchmarks.afd_cost -o FILE`
    speed.json                 `python -m tools.benchmarks.benchmark --json FILE`
    throughput.json            `python -m tools.benchmarks.benchmark_batch -o FILE`
    scaling.json               `python -m tools.benchmarks.scaling_model --throughput ... -o FILE`

calibration, history and gain_by_distance were measured once (docs/lab-notes/measured-once.md). Each file has
the keys command, commit, machine and date. `note` (a sentence to stand below the table) and `origin` (where
figures come from that no command wrote) are optional.
A new module has a weights file and tools/recipes/NAME.toml.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from dctafd.nets.afd_weights import shipped_afds
from tools.places import ROOT
from tools.results import tables
from tools.results.cards import model_card
from tools.results.records import Record, Results, read_results, told

_BLOCK = re.compile(r"<!-- rendered: (?P<name>[^\n]*?) -->\n.*?<!-- end of rendered -->", re.S)
_NOTHING = "Nothing has been measured yet."
#: Blocks of one kind of file: its name, and how its rows are shown.
_KINDS: dict[str, tuple[str, Callable[..., str]]] = {
    "harm": ("do_no_harm", tables.harm_summary),
    "distance": ("gain_by_distance", tables.SHOWN["gain_by_distance"]),
    "order": ("drift_order", tables.SHOWN["drift_order"]),
    "cores": ("throughput", tables.SHOWN["cores"]),
    "prepare": ("speed", tables.prepare_table),
    **{
        kind: (kind, tables.SHOWN[kind])
        for kind in ("calibration", "cost", "history", "speed", "throughput", "scaling")
    },
}


def pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that may have blocks."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def rendered_page(text: str, results: Results) -> str:
    """Return a page with its blocks as the figures are now.

    Raises:
        ValueError: there is no such block, or no such module.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- rendered: {name} -->\n\n{block(name, results)}\n\n<!-- end of rendered -->"

    return _BLOCK.sub(replace, text)


def block(name: str, results: Results) -> str:
    """Return the Markdown of one block."""
    match name.split():
        case ["summary"]:
            return tables.summary_table(results)
        case ["paper"]:
            return tables.paper_table()
        case ["modules"]:
            return _modules(results)
        case ["evaluation", module, protocol]:
            return _evaluation(results, module, protocol)
        case ["harm", module]:
            return _told_table(tables.SHOWN["do_no_harm"], results.records("do_no_harm", module=module))
        case [kind] if kind in _KINDS:
            file, shown = _KINDS[kind]
            return _told_table(shown, results.records(file))
    raise ValueError(f"there is no block {name!r}: see tools/render_results.py")


def _told_table(shown: Callable[..., str], records: list[Record]) -> str:
    """Return one table of the rows of all records, and where they come from."""
    rows = [row for record in records for row in record["rows"]]
    return "\n\n".join([shown(rows), *_told(records)]) if rows else _NOTHING


def _told(records: Iterable[Record]) -> list[str]:
    texts = (text for record in records for text in told(record))
    return [textwrap.fill(text, 118, break_on_hyphens=False, break_long_words=False) for text in texts]


def _evaluation(results: Results, module: str, protocol: str) -> str:
    record = results.evaluations.get(module, {}).get(protocol)
    if record is None:
        raise ValueError(f"docs/results/{module}_{protocol}.json is missing")
    return "\n\n".join([tables.evaluation_table(record), *_told([record])])


def _modules(results: Results) -> str:
    parts = []
    for module, protocols in results.evaluations.items():
        parts.append(f"### {module}")
        for protocol, record in tables.in_order(protocols):
            parts.append(f"#### {module}, {protocol}, {record['images']:,} photos")
            parts.append(_evaluation(results, module, protocol))
    return "\n\n".join(parts) or _NOTHING


def rendered_files(results: Results) -> dict[Path, str]:
    """Return the text of every page and card, as it should be."""
    found = {path: rendered_page(path.read_text("utf-8"), results) for path in pages()}
    return found | {path.with_suffix(".md"): model_card(path, results) for path in shipped_afds()}


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 where something would change.")
def main(check: bool) -> None:
    """Render the tables of README, docs and model cards from docs/results/."""
    try:
        files = rendered_files(read_results())
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    changed = {
        path: text for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text
    }
    for path, text in changed.items():
        click.echo(path.relative_to(ROOT))
        if not check:
            path.write_text(text, "utf-8")
    sys.exit(1 if check and changed else 0)


if __name__ == "__main__":
    main()
