"""MkDocs hook: `<!-- commands -->` in a page becomes what each command's `--help` prints."""

from __future__ import annotations

from typing import Any

import click

from dctafd.cli.main import COMMANDS, cli

PLACE = "<!-- commands -->"
_WIDTH = 80


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the place of the commands in (called by MkDocs for every page)."""
    return markdown.replace(PLACE, commands_markdown()) if PLACE in markdown else markdown


def commands_markdown() -> str:
    """Return a section for each command."""
    with click.Context(cli, info_name="dctafd", terminal_width=_WIDTH) as group:
        sections = [_section("dctafd", cli.get_help(group))]
        for name in COMMANDS:
            command = cli.get_command(group, name)
            assert command is not None
            context = click.Context(
                command, group, info_name=name, terminal_width=_WIDTH, help_option_names=["-h", "--help"]
            )
            sections.append(_section(f"dctafd {name}", command.get_help(context)))
    return "\n".join(sections)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"
