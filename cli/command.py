"""A click command whose help is in sections and whose failures are one sentence each."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from prunelimit.errors import InputError, PruneLimitError

from .spelling import spelled

__all__ = [
    "GENERAL",
    "Command",
    "Interrupted",
    "interruptible",
    "keep_on_interrupt",
    "result_stream",
]

GENERAL = "General"
"""Heading of options that have no other; it comes last."""

_KEPT = "prunelimit.kept"
_STDOUT = "prunelimit.stdout"


_ALL = "prunelimit.all"


def _show_all(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


class Interrupted(PruneLimitError):
    """Ctrl-C; the message says what is left."""

    exit_code = 130


def keep_on_interrupt(paths: Sequence[Path], clause: str) -> None:
    """What to tell a user who interrupts the command from now on, if one of ``paths`` is there by
    then."""
    click.get_current_context().meta[_KEPT] = (paths, clause)


def result_stream() -> TextIO:
    """Standard output, which is for results alone: while a command runs, whatever else writes
    there, such as a user's own code, writes to standard error."""
    context = click.get_current_context(silent=True)
    kept: TextIO | None = None if context is None else context.meta.get(_STDOUT)
    return kept or sys.stdout


@contextmanager
def _results_alone() -> Iterator[TextIO]:
    """Standard output, for results alone. For the time of the block, whatever else is written there
    goes to standard error: by Python, or by a library that knows the descriptor."""
    own = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        if not _is_descriptor(own, 1) or not _is_descriptor(sys.stderr, 2):
            yield own
            return
        own.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        results = os.fdopen(kept, "w", encoding=own.encoding, errors=own.errors)
        try:
            yield results
        finally:
            own.flush()  # what is still in a buffer is not a result
            if sys.platform != "win32":
                ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            with contextlib.suppress(OSError):  # whoever wrote has been told already
                results.close()


def _is_descriptor(stream: TextIO, number: int) -> bool:
    """Whether ``stream`` writes to that descriptor; in tests and notebooks it does not."""
    try:
        return stream.fileno() == number
    except (AttributeError, io.UnsupportedOperation, ValueError):
        return False


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"Note: {spelled(record.getMessage())}", err=True)


@contextmanager
def noted(quiet: bool) -> Iterator[None]:
    """Show what the library logs for the time of the block, unless ``quiet``."""
    log = logging.getLogger("prunelimit")
    # Where there is no handler at all, logging itself writes to standard error.
    notes = logging.NullHandler() if quiet else _Notes(logging.WARNING)
    log.addHandler(notes)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(notes)
        log.propagate = before


@contextmanager
def interruptible(message: str) -> Iterator[Callable[[], bool]]:
    """For the time of the block, a first Ctrl-C shows ``message`` and only makes the function
    that is yielded true; a second one interrupts as usual."""
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)
        click.echo(message, err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


class Command(click.Command):
    """A command of prunelimit.

    ``everyday`` are the names of the options that --help shows; ``examples`` end it.
    """

    def __init__(
        self,
        *arguments: Any,
        everyday: frozenset[str] = frozenset(),
        examples: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.everyday = everyday
        self.examples = examples
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_all,
                hidden=not any(self._rare(parameter) for parameter in self.params),
                help="Show every option and exit.",
            )
        )

    def _rare(self, parameter: click.Parameter) -> bool:
        general = getattr(parameter, "title", GENERAL) == GENERAL
        return not general and parameter.name not in self.everyday

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list of options per heading, in the order the headings first appear."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if self._rare(parameter) and not ctx.meta.get(_ALL):
                continue
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "title", GENERAL), []).append(record)
        general = sections.pop(GENERAL, [])
        for title, records in [*sections.items(), (GENERAL, general)]:
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"  {line}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every failure leaves as a :class:`PruneLimitError` or click's own."""
        try:
            with _results_alone() as results, noted(bool(ctx.params.get("quiet"))):
                ctx.meta[_STDOUT] = results
                if ctx.params.get("verbose") and ctx.params.get("device"):
                    from prunelimit.devices import described

                    click.echo(f"Device: {described(ctx.params['device'])}", err=True)
                return super().invoke(ctx)
        except (PruneLimitError, click.ClickException, click.exceptions.Exit, click.Abort):
            if ctx.params.get("verbose"):
                traceback.print_exc()
            raise
        except BrokenPipeError:
            raise
        except SystemExit as error:  # a network or data set of the user's; ours never exits
            raise InputError(
                f"The code of the network or the data called sys.exit({error.code!r}); let it "
                "raise an error that says what is wrong."
            ) from error
        except KeyboardInterrupt as interrupt:
            if isinstance(interrupt.__context__, PruneLimitError):
                raise interrupt.__context__ from None  # what it came upon says more
            raise Interrupted(f"Interrupted; {_kept(ctx) or 'nothing was written'}.") from None
        except Exception as error:
            if ctx.params.get("verbose"):
                traceback.print_exc()
            raise PruneLimitError(_sentence(error, bool(_kept(ctx)))) from error


def _kept(ctx: click.Context) -> str:
    """What to tell a user of unfinished work that is kept; nothing if none is."""
    paths, clause = ctx.meta.get(_KEPT, ((), ""))
    return clause if any(each.exists() for each in paths) else ""


def _sentence(error: Exception, kept: bool) -> str:
    """What to tell of ``error``; ``kept`` says that unfinished work was kept."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text:
        return "Memory ran out; lower --batch-size, --samples or --steps."
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    again = "what is done is kept; run again with --resume -v" if kept else "run again with -v"
    return f"Something unforeseen went wrong ({named[:300]}); {again} for the traceback."
