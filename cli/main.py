"""The command ``prunelimit``: finds the command, runs it, turns its outcome into an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import click

from prunelimit import __version__
from prunelimit.errors import PruneLimitError

from .spelling import spelled
from .suggest import nearest

__all__ = ["group", "main"]

COMMANDS = (
    "demo",
    "init",
    "inspect",
    "train",
    "spectrum",
    "predict",
    "prune",
    "export",
    "densify",
    "measure",
    "regime",
    "check",
    "compare",
    "history",
    "plot",
    "report",
    "schema",
)
"""Each is a module of this package with an object ``command``, loaded when asked for."""


FIRST = """\
How sparse can a trained network be made, and was the prediction right?

Type one of these:
  prunelimit demo            the whole story in a minute, on data inside
  prunelimit inspect CKPT    what a checkpoint holds; nothing in it is run
  prunelimit predict CKPT    how sparse that network can be made
  prunelimit --help          all commands"""
"""What somebody sees who types the name alone."""

COMPLETION = "_PRUNELIMIT_COMPLETE"
"""What a shell sets that asks for the script of its completion, or for what completes a word."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


class Group(click.Group):
    """Loads the modules of its commands only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest name for an unknown one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="prunelimit")
def group() -> None:
    """How sparse can a trained network be made, and was the prediction right?

    Start with `prunelimit demo`. With a checkpoint of your own: predict, then prune, then measure;
    check does it all and compares.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code.

    0 done, 1 a gate failed, 2 usage (also no arguments at all, which says what to type), 3 an input
    cannot be read, 4 unreliable under ``--strict``, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments and COMPLETION not in os.environ:
        click.echo(FIRST)
        return 2
    try:
        with _without_the_current_folder(), _tidy_when_ended():
            outcome = group.main(args=arguments, prog_name="prunelimit", standalone_mode=False)
    except PruneLimitError as error:
        _told(arguments, spelled(str(error)))
        return error.exit_code
    except click.ClickException as error:
        _told(arguments, _usage(error))
        return error.exit_code if isinstance(error, click.UsageError) else 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Error: Interrupted; nothing was written.", err=True)
        return 130
    return outcome if isinstance(outcome, int) else 0


def _told(arguments: Sequence[str], message: str) -> None:
    """An error, and in a job of GitHub that checks, its annotation."""
    click.echo(f"Error: {message}", err=True)
    if arguments[0] == "check" and os.environ.get("GITHUB_ACTIONS") == "true":
        from .verdict import annotation

        click.echo(annotation("prunelimit check", message), err=True)


@contextlib.contextmanager
def _without_the_current_folder() -> Iterator[None]:
    """Import nothing from the current folder, which ``python -m`` searches first: a downloaded
    network may lie there beside files that are called like packages. What a user names there on
    the command line is imported from there all the same."""
    before = list(sys.path)
    with contextlib.suppress(OSError):  # the current folder is gone
        if sys.path and sys.path[0] in ("", str(Path.cwd())):
            del sys.path[0]
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _tidy_when_ended() -> Iterator[None]:
    """Let SIGTERM, with which jobs are ended, clean up as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Only the main thread may say what a signal does.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _usage(error: click.ClickException) -> str:
    """click's complaint as one sentence that says where help is."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        known = []
        if context is not None:
            known = [name for each in context.command.get_params(context) for name in each.opts]
        message = f"There is no option {error.option_name}{nearest(error.option_name, known)}"
    else:
        message = " ".join(error.format_message().split()).rstrip(".") + _near_choice(error)
    if message.endswith("?") or context is None:
        return message
    return f"{message.rstrip('.')}; see {context.command_path} --help."


def _near_choice(error: click.ClickException) -> str:
    """What was probably meant where one of a few words was expected, else nothing."""
    kind = getattr(getattr(error, "param", None), "type", None)
    # click's message begins with the value that it does not know, in quotes.
    given = re.match(r"'(.*?)' is not", getattr(error, "message", ""))
    if not isinstance(kind, click.Choice) or given is None:
        return ""
    return nearest(given[1], map(str, kind.choices)).rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
