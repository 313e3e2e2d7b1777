"""What README, docs and docstrings show runs: Python as it stands, commands where their files are here."""

from __future__ import annotations

import doctest
import inspect
import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import dctafd
from dctafd.cli.main import COMMANDS, cli
from dctafd.extras import EXTRAS
from tests.support.jpeg_files import encode, photo_like

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: Whether a module ships for the default model is no matter here.
pytestmark = pytest.mark.filterwarnings("ignore::dctafd.nets.afd_weights.FitWarning")

_BLOCKS = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w*)\n(?P<code>.*?)\n```", re.S)
_INLINE = re.compile(r"`(dctafd [a-z][^`]*)`")
_NOT_RUN = "<!-- not run: "
_RENDERED = re.compile(r"<!-- rendered: .*?<!-- end of rendered -->", re.S)


def blocks(page: Path, *languages: str) -> list[str]:
    """Return a page's code blocks; one after `<!-- not run: why -->` is left out."""
    return [
        match["code"]
        for match in _BLOCKS.finditer(page.read_text())
        if match["language"] in languages and not match["before"].startswith(_NOT_RUN)
    ]


def commands(page: Path) -> list[str]:
    """Return the `dctafd` commands that a page shows, in blocks and in lines."""
    lines = [
        line.removeprefix("$ ")
        for match in _BLOCKS.finditer(page.read_text())
        if match["language"] in ("", "console", "bash")
        for line in match["code"].replace("\\\n", " ").splitlines()
    ]
    shown = [line for line in lines if line.startswith("dctafd ")]
    return shown + [line for line in _INLINE.findall(page.read_text()) if line.split()[1] in COMMANDS]


@pytest.fixture
def photo_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photo.jpg and a folder photos/ of two classes."""
    (tmp_path / "photo.jpg").write_bytes(encode(photo_like(320, 240), 75))
    for seed, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(encode(photo_like(300, 280, seed=seed), 80))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_on_a_page_runs(page: Path, photo_folder: Path) -> None:
    namespace = {"dctafd": dctafd}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_on_a_page_exist_with_their_options(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)
        command = import_module(COMMANDS[words[1]][0]).command
        known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
        for word in words[2:]:
            if word.startswith("-") and len(word) > 1:
                for option in word.partition("=")[0].split("/"):
                    assert option in known, f"{line}: {option}"


def answers(table: str) -> tuple[list[tuple[str, str, str]], list[float], list[float]]:
    """Return what `classify examples/` prints: of each row file, quality and best answer; drifts; scores."""
    rows = re.findall(r"^(examples/\S+) +\d+x\d+ +(\d+) +([\d.]+)  ([a-z ]+?) +([\d.]+)%", table, re.M)
    said = [(name, quality, best) for name, quality, _, best, _ in rows]
    return said, [float(drift) for _, _, drift, _, _ in rows], [float(score) for *_, score in rows]


def test_commands_whose_files_are_here_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = [line for page in PAGES for block in blocks(page, "console") for line in block.splitlines()]
    lines = [line.removeprefix("$ ") for line in shown]
    split = [shlex.split(line)[1:] for line in lines if line.startswith("dctafd ")]
    runnable = [words for words in split if all(Path(word).exists() for word in words[1:])]
    assert ["classify", "examples/"] in runnable
    for words in runnable:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.stderr
        assert result.stdout
        if words == ["classify", "examples/"]:
            said, drifts, scores = answers((ROOT / "README.md").read_text())
            assert len(said) > 5
            found = answers(result.stdout)
            assert found == (said, pytest.approx(drifts, abs=0.002), pytest.approx(scores, abs=0.3))


def _examples(name: str) -> list[doctest.DocTest]:
    """Return the examples of a public name and of its public methods."""
    value = getattr(dctafd, name)
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=inspect.isclass(value))
    found = finder.find(value, name, globs={"dctafd": dctafd})
    return [test for test in found if test.examples]


SHOWN = [
    *("Classifier", "JpegDataset", "attach", "collate", "dataset_statistics", "decode", "estimate_history"),
    *("estimate_quality", "load_afd", "load_backbone", "load_classifier", "prepare", "read", "read_header"),
]


@pytest.mark.parametrize("name", dctafd.__all__)
def test_examples_of_a_public_name_run(name: str, photo_folder: Path) -> None:
    tests = _examples(name)
    assert tests or name not in SHOWN
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as MkDocs and GitHub make them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        path = page.parent / target
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tools_that_a_page_names_are_there(page: Path) -> None:
    """But figures tell which tool of their commit made them, and so do lab notes."""
    text = "" if "lab-notes" in page.parts else _RENDERED.sub("", page.read_text())
    for module in re.findall(r"python\s+-m\s+(tools(?:\.\w+)+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_there_are_twenty_questions_each_with_an_answer() -> None:
    text = (ROOT / "docs" / "questions.md").read_text()
    questions = re.split(r"^\d+\. ", text, flags=re.M)[1:]
    assert len(questions) == 20
    assert all(_LINK.search(question) and "?**" in question for question in questions)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    """But rows of tables in the lab notes and links cannot be wrapped."""
    rows = re.compile(r"\s*\|") if "lab-notes" in page.parts else re.compile(r"<no line>")
    assert not [line for line in page.read_text().splitlines() if len(line) >= 120 and not rows.match(line)]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1300


def test_the_start_page_lists_every_extra() -> None:
    listed = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs" / "index.md").read_text(), re.M)
    assert set(EXTRAS) <= set(re.findall(r"`(\w+)`", " ".join(listed)))


def test_the_reference_has_every_public_name() -> None:
    shown = re.findall(r"^::: [\w.]+\.(\w+)$", (ROOT / "docs" / "reference" / "api.md").read_text(), re.M)
    assert sorted(shown) == sorted(dctafd.__all__)


def test_the_drift_study_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`examples/drift_study.py`, as a script, on two photos."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["drift_study.py", "--limit", "2", "--out", str(tmp_path)])
    found = runpy.run_path(str(ROOT / "examples" / "drift_study.py"))
    assert found["history"].primary_quality == 10
    assert found["predicted"].shape == (28, 28)
    angles = found["measured"].feature_angles.mean(axis=(1, 2, 3))
    assert list(angles) == sorted(angles, reverse=True)  # lower quality, more drift
    figures = {path.stem for path in tmp_path.iterdir()}
    assert figures == {"history", "drift-by-quality", "drift-map"}
