"""The page of commands is what `--help` prints."""

from click.testing import CliRunner

from dctafd.cli.main import COMMANDS, cli
from tools.site.commands import PLACE, on_page_markdown


def test_every_command_has_a_section_with_its_help() -> None:
    page = on_page_markdown(f"# Commands\n\n{PLACE}\n")
    for name in COMMANDS:
        assert f"\n## dctafd {name}\n" in page
        assert f"Usage: dctafd {name} [OPTIONS]" in page
    options = CliRunner().invoke(cli, ["models", "--help"]).stdout.partition("Options:")[2]
    assert all(word in page for word in options.split() if word.startswith("--"))


def test_other_pages_stay_as_they_are() -> None:
    assert on_page_markdown("# A page") == "# A page"
