"""What a figure is: results drawn into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import plugins
from ..errors import InputError, UsageError
from ..plugins import Plugin
from .drawing import NothingToDrawError
from .paper import Paper, on

__all__ = ["ReportFigure", "choose", "draw", "drawable"]


@dataclass(frozen=True, kw_only=True)
class ReportFigure(Plugin):
    """A figure of results: the object FIGURE of a file in ``figures``.

    ``draw(results, path)`` makes it, and writes it to ``path`` if there is one. Three literals at
    the top of the file say what it draws: ``OF`` names the commands whose results it is of,
    ``BESIDE`` those whose result may stand beside them, and ``MANY`` is true where it draws several
    of ``OF`` together.
    """

    draw: Callable[[Sequence[Any], Path | None], Figure]


def draw(name: str, *results: Any, path: Path | None = None, sheet: Paper | None = None) -> Figure:
    """The figure of that name of ``results``, written to ``path`` if there is one.

    Raises:
        UsageError: there is no such figure.
        InputError: it cannot be imported, or makes nothing of these results.
        OutputError: ``path`` cannot be written.
    """
    found: ReportFigure = plugins.find("figure", name)
    with on(sheet or Paper()), drawable(name):
        return found.draw(results, path)


@contextmanager
def drawable(name: str) -> Iterator[None]:
    """For the time of the block, what cannot be drawn is an error that names the figure.

    Raises:
        InputError: the results have nothing to draw, or numbers that no axis can hold.
    """
    try:
        yield
    except NothingToDrawError as error:
        raise InputError(
            f"The figure {name} cannot be drawn from these results, because {error} in them; run "
            "the command that wrote them again."
        ) from error
    except (ArithmeticError, LookupError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"The figure {name} cannot be drawn from these results ({type(error).__name__}: "
            f"{text}); they are empty or hold a number that makes no sense, so run their command "
            "again."
        ) from error


def choose(commands: Sequence[str], name: str | None = None) -> str:
    """The figure that results of these commands have in common, or ``name`` where it has them all.

    Raises:
        UsageError: there is none, or ``name`` does not draw these.
    """
    fit = [each.name for each in plugins.describe("figure") if _fits(each.facts, commands)]
    given = " and ".join(dict.fromkeys(commands))
    if name is None:
        if fit:
            return fit[0]
        known = {
            each for figure in plugins.describe("figure") for each in figure.facts.get("of", ())
        }
        if not known.intersection(commands):
            raise UsageError(f"No figure draws results of {given}; `report` shows them.")
        raise UsageError(
            f"No figure draws {len(commands)} results of {given} together; give one file, or "
            "measurements and the prediction that goes with them."
        )
    facts = plugins.named("figure", name).facts
    if name in fit or "of" not in facts:
        return name
    drawn = ", ".join(facts["of"])
    instead = f"; `figure` can be {', '.join(fit)} here" if fit else ""
    raise UsageError(
        f"The figure {name} does not draw {len(commands)} result{'s' * (len(commands) > 1)} of "
        f"{given}; it draws {drawn}{instead}."
    )


def _fits(facts: Any, commands: Sequence[str]) -> bool:
    if "of" not in facts:
        return False
    main = [each for each in commands if each in facts["of"]]
    beside = [each for each in commands if each not in facts["of"]]
    return (
        (len(main) == 1 or (len(main) > 1 and bool(facts.get("many", False))))
        and all(each in facts.get("beside", ()) for each in beside)
        and len(beside) == len(set(beside))
    )
