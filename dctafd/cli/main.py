"""The `dctafd` command: a group that imports a command's module only when that command is called."""

import io
import os
import sys
from importlib import import_module
from typing import Any

import click

from dctafd import __version__
from dctafd.cli.startup import collector_paused
from dctafd.errors import DctafdError, MissingExtraError, ResumeError, WeightsError
from dctafd.plain_text import one_line, reason

EXIT_SOME_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_INTERRUPTED = 130

#: Command name -> (module that defines `command`, the line that `dctafd --help` shows).
COMMANDS = {
    "classify": ("dctafd.cli.classify", "Classify photos: files, directories, globs, archives, stdin."),
    "inspect": ("dctafd.cli.inspect", "Show how a JPEG file was compressed, and how far that drifted it."),
    "dataset-stats": ("dctafd.cli.dataset_stats", "Compression statistics of a directory of JPEG files."),
    "drift": ("dctafd.cli.drift", "Measure coefficient and feature drift over JPEG qualities."),
    "evaluate": ("dctafd.cli.evaluate", "Top-1 and top-5 accuracy with and without the AFD-Module."),
    "train": ("dctafd.cli.train", "Train the AFD-Module for a frozen classifier."),
    "export": ("dctafd.cli.export", "Write the corrected classifier as ONNX or torch.export program."),
    "models": ("dctafd.cli.models", "List the models and the weights at hand."),
}

#: What a person has to change in the command, not in the inputs.
_WRONG_USAGE = (MissingExtraError, ResumeError, WeightsError)


class WrongUsage(click.ClickException):
    """What was asked for cannot be done; no hint at --help, which would not help."""

    exit_code = EXIT_WRONG_USAGE


class LazyGroup(click.Group):
    """A click group that knows its commands' names and help lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module_name, _ = COMMANDS[cmd_name]
        try:
            with collector_paused():
                module = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise click.ClickException(f"the command {cmd_name!r} is not part of this installation") from None
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what it raises on purpose into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = one_line(error.message)  # names of files, and what they say
            raise
        except DctafdError as error:
            kind = WrongUsage if isinstance(error, _WRONG_USAGE) else click.ClickException
            name = "" if type(error) is DctafdError else f"{type(error).__name__}: "
            raise kind(one_line(f"{name}{error}")) from error
        except BrokenPipeError:
            _forget_stdout()  # a reader that has enough (`| head`) is nothing to tell of
            ctx.exit(0)
        except OSError as error:
            raise click.ClickException(one_line(reason(error))) from error
        except KeyboardInterrupt as interrupt:
            click.echo(f"interrupted{interrupt}", err=True)  # with what the command has to say of going on
            ctx.exit(EXIT_INTERRUPTED)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="dctafd")
def cli() -> None:
    """Classify JPEG photos from what is really in the file: DCT coefficients and quantisation tables.

    Results go to stdout, everything else to stderr. Exit status: 0 all well, 1 some inputs failed,
    2 wrong usage, 130 interrupted.

    \b
    Example:
      dctafd classify photo.jpg
    """


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    _replace_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that are no UTF-8
    try:
        cli(prog_name="dctafd")
    except SystemExit as end:
        if not _flush_stdout(tell=end.code in (None, 0)):
            sys.exit(end.code or EXIT_SOME_FAILED)
        raise


def _replace_closed_streams() -> None:
    """Put /dev/null in place of closed standard streams, so that no file of ours becomes one of them.

    A closed stdout stays None: who has results to write says so before the work (`output_option`).
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _flush_stdout(tell: bool) -> bool:
    """Flush what is left for stdout; a reader that went away (`| head`) is no reason to complain.

    Returns whether everything is where it belongs.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        _forget_stdout()
        if tell:
            click.echo(f"Error: stdout: {reason(error)}", err=True)
        return False
    return True


def _forget_stdout() -> None:
    """Send what stdout still holds nowhere, so that the interpreter's own flush finds nothing wrong."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
