"""What a page or a figure is made of: whose results these are, and whether they belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ..errors import InputError, UsageError, shown
from ..results.serialization import to_json
from ..results.types import ModelInfo

__all__ = [
    "SEVERAL",
    "SINGLE",
    "SUMMARY",
    "Collection",
    "Source",
    "collect",
    "printable",
    "require_together",
]

SINGLE = ("train", "spectrum", "predict", "compare", "history", "regime", "inspect")
SEVERAL = ("measure", "prune", "check", "sensitivity", "export")
SUMMARY = "demo"
"""Holds nothing that its neighbours do not hold; it is kept with them."""

TOLERANCES_AGREE = 0.01
"""Loss tolerances further apart than this share are not the same question."""


HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """``text`` with a mark for what cannot be shown, or would hide how the rest is."""
    return HIDDEN.sub("\ufffd", text)


@dataclass(frozen=True)
class Source:
    """A result, the name of its file, and what that file holds."""

    name: str
    result: Any

    @property
    def command(self) -> str:
        """The command that it comes from."""
        return str(self.result.SCHEMA).split(".")[1].split("/")[0]

    @property
    def model(self) -> ModelInfo | None:
        """The network that it is about; None where it is about a file alone."""
        found: ModelInfo | None = getattr(self.result, "model", None)
        return found

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """SHA-256 of the checkpoints that it is about, as far as it names them."""
        if self.command == "history":
            found = [each.sha256 for each in reversed(self.result.points)]
        elif self.command == "regime":
            found = []  # of several networks, of which none is named
        elif self.model is not None:
            found = [self.model.sha256]
        else:
            found = [getattr(self.result, "sha256", None)]
        return tuple(dict.fromkeys(each for each in found if each is not None))

    @property
    def subject(self) -> str:
        """Where the name of what it is about stands."""
        if self.model is not None:
            return "model.spec"
        return "path" if hasattr(self.result, "path") else "source"

    def document(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return to_json(self.result)

    def at(self, place: str) -> Any:
        """What stands at ``place``, as in "limit.interval.0"; provenance lies at the top."""
        value: Any = self.result
        for step in place.split("."):
            if isinstance(value, dict):
                value = value[step]
            elif isinstance(value, (tuple, list)):
                value = value[int(step)]
            elif value is self.result and not hasattr(value, step):
                value = getattr(value.provenance, step)
            else:
                value = getattr(value, step)
        return value


@dataclass(frozen=True)
class Collection:
    """Results about one network, by the command that they come from; ``notes`` is what a reader
    has to know of their being together."""

    sources: tuple[Source, ...]
    notes: tuple[str, ...] = field(default=())

    def one(self, command: str) -> Source | None:
        """The one of a command, if it is there."""
        return next(iter(self.all(command)), None)

    def all(self, command: str) -> tuple[Source, ...]:
        """All of a command."""
        return tuple(each for each in self.sources if each.command == command)

    @property
    def first(self) -> Source:
        """The one that names the network and the data."""
        described = [each for each in self.sources if hasattr(each.result, "data")]
        named = [each for each in self.sources if each.model is not None]
        return next(iter((*described, *named, *self.sources)))


def collect(given: Sequence[tuple[str, Any]]) -> Collection:
    """The results in ``given``, each with the name of its file, if they belong together.

    Raises:
        UsageError: there are none, or two of a kind of which a page has one.
        InputError: they are about different networks or data.
    """
    sources = tuple(Source(name, result) for name, result in _named(given))
    if all(each.command == SUMMARY for each in sources):
        raise UsageError(
            "There is nothing to show; give files that predict, measure, check or another command "
            "wrote with `output`."
        )
    for command in SINGLE:
        found = [each.name for each in sources if each.command == command]
        if len(found) > 1:
            raise UsageError(
                f"{found[0]} and {found[1]} both come from {command}, and a page shows one result "
                "of this command; leave one file out."
            )
    require_together(sources)
    return Collection(sources, tuple(_notes(sources)))


def _named(given: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Every result with a name of its own, on one line."""
    taken: set[str] = set()
    for name, result in given:
        short = shown(name).encode("utf-8", "backslashreplace").decode()
        unique, number = short, 2
        while unique in taken:
            unique, number = f"{short} ({number})", number + 1
        taken.add(unique)
        yield unique, result


def require_together(sources: Sequence[Source]) -> None:
    """Refuse results that are about different networks or data.

    Raises:
        InputError: they are.
    """
    for one, other in pairwise(sources):
        _require_same(one, other)
    named = [each for each in sources if each.checkpoints]
    for each in named[1:]:
        _require_same(named[0], each)
    described = [each for each in sources if hasattr(each.result, "data")]
    for each in described[1:]:
        _require_same(described[0], each)


def _require_same(one: Source, other: Source) -> None:
    ours, theirs = one.checkpoints, other.checkpoints
    if ours and theirs and not {*ours} & {*theirs}:
        raise InputError(
            f"{one.name} is about the checkpoint {shown(ours[0][:12])} and {other.name} "
            f"about {shown(theirs[0][:12])}; give files about one network."
        )
    sizes = [each.model.parameters for each in (one, other) if each.model is not None]
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        raise InputError(
            f"{one.name} is about a network of {sizes[0]:,} parameters and {other.name} "
            f"about one of {sizes[1]:,}; give files about one network."
        )
    data = [each.result.data for each in (one, other) if hasattr(each.result, "data")]
    if len(data) == 2 and data[0].spec != data[1].spec:
        raise InputError(
            f"{one.name} is about the data {shown(data[0].spec)} and {other.name} about "
            f"{shown(data[1].spec)}; give files about the same data."
        )


def _notes(sources: Sequence[Source]) -> Iterator[str]:
    unnamed = [each.name for each in sources if not each.checkpoints]
    if unnamed and len(sources) > 1:
        yield (
            f"No checkpoint is named in {', '.join(unnamed)}, so it is not known whether all "
            "files are about one network."
        )
    tolerances = [each for each in sources if hasattr(each.result, "epsilon")]
    for each in tolerances[1:]:
        first, second = (x.result.epsilon.value for x in (tolerances[0], each))
        if not abs(first - second) <= TOLERANCES_AGREE * max(first, second):
            yield (
                f"{tolerances[0].name} and {each.name} have different loss tolerances, so their "
                "thresholds of the loss cannot be compared."
            )
    prunable = {each.model.prunable for each in sources if each.model is not None}
    if len(prunable) > 1:
        yield (
            "The files do not agree on which weights are prunable, so their sparsities are shares "
            "of different totals."
        )
