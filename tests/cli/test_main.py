import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dctafd.cli import main as main_module
from dctafd.cli.main import COMMANDS, EXIT_INTERRUPTED, EXIT_SOME_FAILED, EXIT_WRONG_USAGE, cli
from dctafd.errors import (
    ArchiveError,
    CorruptJpegError,
    DctafdError,
    MissingExtraError,
    ResumeError,
    WeightsError,
)


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make `dctafd models` raise what the test chooses."""

    def install(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        module = ModuleType("dctafd.cli.models")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "dctafd.cli.models", module)

    return install


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from dctafd.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "print([name for name in sys.modules if name in ('torch', 'numpy', 'numba', 'rich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_short_and_long_help(flag: str) -> None:
    result = CliRunner().invoke(cli, [flag])
    assert result.exit_code == 0
    assert "classify" in result.stdout


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.stdout.startswith("dctafd, version ")


def test_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli, ["frobnicate"])
    assert result.exit_code == 2
    assert "frobnicate" in result.stderr


def test_command_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main_module.COMMANDS, "later", ("dctafd.cli.no_such_module", "Not there yet."))
    result = CliRunner().invoke(cli, ["later"])
    assert result.exit_code == 1
    assert "'later' is not part of this installation" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WeightsError("no weights for resnet50"), EXIT_WRONG_USAGE),
        (MissingExtraError("pyarrow", "parquet"), EXIT_WRONG_USAGE),
        (ResumeError("another run"), EXIT_WRONG_USAGE),
        (ArchiveError("cut off"), EXIT_SOME_FAILED),
        (CorruptJpegError("\x1b[31mred\nand two lines"), EXIT_SOME_FAILED),
    ],
)
def test_named_error_is_one_printable_line_on_stderr(
    failing_command: Callable[..., Any], error: Any, code: int
) -> None:
    failing_command(error)
    result = CliRunner().invoke(cli, ["models"])
    assert result.exit_code == code
    assert result.stdout == ""
    text = str(error).replace("\x1b", "\\x1b").replace("\n", " ")
    assert result.stderr == f"Error: {type(error).__name__}: {text}\n"


def test_names_in_messages_drive_no_terminal(failing_command: Callable[..., Any]) -> None:
    failing_command(click.ClickException("stopped at \x1b[31mred.jpg"))
    result = CliRunner().invoke(cli, ["models"])
    assert result.stderr == "Error: stopped at \\x1b[31mred.jpg\n"


def test_an_error_without_a_name_of_its_own_is_a_sentence(failing_command: Callable[..., Any]) -> None:
    failing_command(DctafdError("cannot use x as a cache"))
    assert CliRunner().invoke(cli, ["models"]).stderr == "Error: cannot use x as a cache\n"


def test_operating_system_error_is_one_line(failing_command: Callable[..., Any]) -> None:
    failing_command(OSError(28, "No space left on device", "out.csv"))
    result = CliRunner().invoke(cli, ["models"])
    assert result.exit_code == 1
    assert "out.csv: No space left on device" in result.stderr


def test_interrupt_ends_with_130(failing_command: Callable[..., Any]) -> None:
    failing_command(KeyboardInterrupt())
    result = CliRunner().invoke(cli, ["models"])
    assert result.exit_code == EXIT_INTERRUPTED
    assert "interrupted" in result.stderr


def test_reader_that_goes_away_leaves_no_traceback() -> None:
    shell = f"{sys.executable} -m dctafd --help | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stderr == ""
