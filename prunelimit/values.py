"""The values of options. Each is parsed here, once, and nowhere else.

Errors name an option by its field in backticks, as in `min_keep`. The command line puts its own
spelling there.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from . import plugins
from .errors import UsageError

__all__ = [
    "AMOUNTS",
    "SHARPNESS",
    "SURVIVORS",
    "AccuracyFloor",
    "EpsilonRule",
    "KeepRule",
    "Method",
    "Pattern",
    "SparsityFloor",
    "amount",
    "cg_steps",
    "choice",
    "inches",
    "is_attribute",
    "methods",
    "orders",
    "plugin",
    "points",
    "sparsities",
    "stages",
]

SURVIVORS = ("fixed", "layerwise", "compensated", "staged", "trained", "obs")
"""What becomes of the weights that stay."""

SHARPNESS = ("none", "sam", "rsam")
"""What training does towards a flat minimum."""

AMOUNTS = ("auto", "one-shot", "limit")
"""Amounts that are predicted."""

MOST_ALPHA = 1000.0
"""At larger orders, an entropy depends on the largest eigenvalue alone, up to rounding."""

MOST_KEPT = 0.01
"""Largest share of a layer that is guarded by default."""

MOST_SPARSITIES = 10_000


def is_attribute(spec: str) -> bool:
    """Whether ``spec`` has the form FILE.py:ATTR or PACKAGE.MODULE:ATTR."""
    where, colon, attribute = spec.rpartition(":")
    return bool(colon and where and attribute.isidentifier())


def choice(name: str, value: str, known: Iterable[str], *, attributes: bool = False) -> str:
    """``value``, which is one of ``known``, or FILE.py:ATTR with ``attributes``.

    Raises:
        UsageError: it is not; the message has the nearest of them.
    """
    names = tuple(known)
    if value in names or (attributes and is_attribute(value)):
        return value
    if attributes and value.endswith(".py"):
        what = f"name an attribute of the file: {value}:ATTR."
    else:
        what = plugins.suggestion(value, names)
    raise UsageError(f"There is no {name} {value!r}; {what}")


def plugin(kind: str, value: str, *, attributes: bool = False) -> str:
    """``value``, the name of a plug-in of this kind (:mod:`.plugins`), or FILE.py:ATTR with
    ``attributes``.

    Raises:
        UsageError: there is none of that name, or two packages each have one.
    """
    name, _ = plugins.split(kind, value)
    choice(kind, name, plugins.names(kind), attributes=attributes)
    return value if attributes and is_attribute(value) else plugins.check(kind, value)


@dataclass(frozen=True)
class Pattern:
    """Which masks are allowed: a kind of pattern, and the value parsed from the text that asks for
    it.

    ``kind`` is a plug-in's name (:mod:`prunelimit.pruning.patterns`). ``value`` is what it reads
    from ``text``, such as (2, 4) from "2:4".
    """

    kind: str
    text: str
    value: Any = None

    def __str__(self) -> str:
        return self.text

    @property
    def decides(self) -> bool:
        """Whether the pattern says how many weights go. Then neither an amount nor an allocation
        can be given."""
        return not plugins.named("pattern", self.kind).facts.get("any_amount", False)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """``"2:4"`` -> two of every four, see :mod:`prunelimit.pruning.patterns.n_m`.

        Raises:
            UsageError: no pattern is written so, or this one makes no sense of it.
        """
        kind = plugins.written("pattern", text)
        if kind is None:
            forms = " or ".join(each.label for each in plugins.describe("pattern"))
            raise UsageError(f"`pattern` is {text}; give {forms}.")
        return cls(kind, text, plugins.find("pattern", kind).parse(text))


@dataclass(frozen=True)
class Method:
    """Four independent choices: which weights go, how that is shared among layers, which masks
    are allowed, and what becomes of the rest.

    ``allocation`` None takes the criterion's own: rows with wanda, else global.

    >>> Method.parse("wanda/rows+compensated")
    Method(criterion='wanda', allocation='rows', pattern=None, survivors='compensated')
    >>> Method.parse("magnitude/2:4+staged").name
    'magnitude/2:4+staged'
    """

    criterion: str = "magnitude"
    allocation: str | None = None
    pattern: Pattern | None = None
    survivors: str = "fixed"

    def __post_init__(self) -> None:
        plugin("criterion", self.criterion, attributes=True)
        if self.allocation is not None:
            plugin("allocation", self.allocation)
        choice("setting of survivors", self.survivors, SURVIVORS)
        if self.decided and self.allocation is not None:
            raise UsageError(
                f"`pattern` {self.pattern} decides how many weights every layer keeps; leave out "
                "`allocation`."
            )
        if self.pattern is not None and self._allocation_chooses:
            raise UsageError(
                f"`allocation` {self.allocation} chooses single weights, so `pattern` "
                f"{self.pattern} does not go with it; give another `allocation`."
            )

    @property
    def _allocation_chooses(self) -> bool:
        """Whether the allocation says which weights of a layer go, not only how many."""
        facts = plugins.named("allocation", self.allocation).facts if self.allocation else {}
        return bool(facts.get("chooses", False))

    @property
    def decided(self) -> bool:
        """Whether the pattern says how many weights go."""
        return self.pattern is not None and self.pattern.decides

    @property
    def name(self) -> str:
        """``criterion[/allocation][/pattern][+survivors]``."""
        parts = [self.criterion, *(str(x) for x in (self.allocation, self.pattern) if x)]
        moved = "" if self.survivors == "fixed" else f"+{self.survivors}"
        return "/".join(parts) + moved

    @property
    def is_magnitude(self) -> bool:
        """Whether the smallest weights of all layers together go: what the limit is about."""
        plain = self.criterion == "magnitude" and self.pattern is None
        return plain and self.allocation in (None, "global")

    @property
    def moves(self) -> bool:
        """Whether survivors are moved without labels."""
        return self.survivors in ("compensated", "staged")

    @classmethod
    def parse(cls, text: str) -> Method:
        """The method of a :attr:`name`.

        Raises:
            UsageError: there is no such criterion, allocation, pattern or setting of survivors.
        """
        what, plus, survivors = text.strip().rpartition("+")
        if not plus or "/" in survivors or ":" in survivors:
            what, survivors = text.strip(), "fixed"
        what, allocation = _with_file(what)
        parts = what.split("/")
        pattern = None
        while len(parts) > 1:
            last = parts[-1]
            if pattern is None and plugins.written("pattern", last):
                pattern = Pattern.parse(last)
            elif is_attribute("/".join(parts)):
                break
            elif allocation is None:
                allocation = plugin("allocation", last)
            else:
                raise UsageError(
                    f"The method {text} is not understood; give "
                    "CRITERION[/ALLOCATION][/PATTERN][+SURVIVORS]."
                )
            parts.pop()
        return cls("/".join(parts), allocation, pattern, survivors)


def _with_file(text: str) -> tuple[str, str | None]:
    """A method without an allocation at its end that names a file, and that allocation. The file's
    name may have slashes."""
    for each in plugins.describe("allocation"):
        before, found, file = text.partition(f"/{each.name}:")
        if found and "argument" in each.facts:
            return before, plugin("allocation", f"{each.name}:{file}")
    return text, None


@dataclass(frozen=True)
class EpsilonRule:
    """How much the loss may rise.

    ``kind`` is "batch-std", "nats" (``value`` nats), "share" (of the dense loss, a fraction) or
    "accuracy" (the rise that costs ``value``, a fraction, of accuracy).
    """

    kind: str
    value: float = math.nan

    def __str__(self) -> str:
        if self.kind == "nats":
            return str(self.value)
        units = {"share": "%", "accuracy": "pp"}
        return f"{100 * self.value:.12g}{units[self.kind]}" if self.kind in units else self.kind

    @classmethod
    def parse(cls, given: str | float) -> EpsilonRule:
        """``"batch-std"``, nats such as ``0.01``, a percentage such as ``"5%"``, or ``"0.5pp"``.

        Raises:
            UsageError: it is none of them, or not finite and greater than 0.
        """
        text = f"{given}".strip()
        if text == "batch-std":
            return cls("batch-std")
        kind, number = "nats", text
        for suffix, name in (("pp", "accuracy"), ("%", "share")):
            if text.endswith(suffix):
                kind, number = name, text.removesuffix(suffix)
        try:
            value = float(number)
        except ValueError:
            raise UsageError(
                f"`epsilon` {text!r} is not understood; give batch-std, a number, a percentage of "
                "the dense loss such as 5%, or percentage points of accuracy such as 0.5pp."
            ) from None
        if kind == "accuracy" and not 0 < value <= 100:
            raise UsageError(
                f"`epsilon` {text} is not understood; give more than 0 and at most 100 percentage "
                "points of accuracy, such as 0.5pp."
            )
        if not 0 < value < math.inf:
            raise UsageError(f"`epsilon` is {text}; give a finite tolerance greater than 0.")
        return cls(kind, value if kind == "nats" else value / 100)


@dataclass(frozen=True)
class KeepRule:
    """Fewest weights kept in every layer.

    ``kind`` is "count", "share" or "auto". "count" is ``value`` weights. "share" is ``value`` of
    the layer's weights, a fraction. "auto" is a tenth of what all layers keep on average, at most
    :data:`MOST_KEPT` of a layer. Where so little is kept that rounding up would take all of it, it
    is one weight or none.
    """

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        if self.kind == "auto":
            return "auto"
        return str(int(self.value)) if self.kind == "count" else f"{100 * self.value:.12g}%"

    @classmethod
    def parse(cls, given: str | int) -> KeepRule:
        """``"auto"``, a number such as ``16``, or a percentage such as ``"1%"``.

        Raises:
            UsageError: it is none of them.
        """
        text = str(given).strip()
        if text == "auto":
            return cls("auto")
        kind, number = ("share", text[:-1]) if text.endswith("%") else ("count", text)
        try:
            value = float(number) if kind == "share" else float(int(number))
        except ValueError:
            value = math.nan
        if not _from_zero(value, sys.float_info.max) or (kind == "share" and value > 100):
            raise UsageError(
                f"`min_keep` is {given}; give auto, a number of weights, or a percentage of every "
                "layer such as 1%."
            )
        return cls(kind, value if kind == "count" else value / 100)

    def counts(self, sizes: Sequence[int], remove: int) -> list[int]:
        """Fewest weights kept of layers of ``sizes`` weights, if ``remove`` go in all."""
        if self.kind == "count":
            return [min(size, int(self.value)) for size in sizes]
        share, kept = self.value, sum(sizes) - remove
        if self.kind == "auto":
            share = min(MOST_KEPT, kept / 10 / max(1, sum(sizes)))
        floors = [math.ceil(share * size - 1e-9) for size in sizes]
        if self.kind == "auto" and sum(floors) > kept:
            return [int(len(sizes) <= kept)] * len(sizes)
        return floors


@dataclass(frozen=True)
class SparsityFloor:
    """A sparsity (fraction) that has to be reached within ``tolerance`` (fraction) of the dense
    accuracy. None takes the first tolerance that was measured."""

    sparsity: float
    tolerance: float | None = None

    @classmethod
    def parse(cls, given: str | float) -> SparsityFloor:
        """``"0.8"``, or ``"0.8@0.5pp"``.

        Raises:
            UsageError: it is neither, or out of range.
        """
        number, at, tolerance = str(given).strip().partition("@")
        return cls(
            _fraction("min_sparsity", number, given, "a fraction such as 0.8, or 0.8@0.5pp"),
            points(tolerance, "min_sparsity") if at else None,
        )

    def __str__(self) -> str:
        at = "" if self.tolerance is None else f"@{100 * self.tolerance:g}pp"
        return f"{self.sparsity:g}{at}"


@dataclass(frozen=True)
class AccuracyFloor:
    """An accuracy (fraction) that has to be left at ``sparsity`` (fraction)."""

    sparsity: float
    accuracy: float

    @classmethod
    def parse(cls, given: str) -> AccuracyFloor:
        """``"0.8=0.97"``: at 80% removed at least 97% right.

        Raises:
            UsageError: it is not written so, or out of range.
        """
        form = "a sparsity and an accuracy such as 0.8=0.97"
        sparsity, equals, accuracy = str(given).strip().partition("=")
        if not equals:
            raise UsageError(f"`min_accuracy_at` is {given}; give {form}.")
        return cls(
            _fraction("min_accuracy_at", sparsity, given, form),
            _fraction("min_accuracy_at", accuracy, given, form),
        )

    def __str__(self) -> str:
        return f"{self.sparsity:g}={self.accuracy:g}"


def _from_zero(value: float, most: float) -> bool:
    """Whether ``value`` is from 0 to ``most``, and was not written with a minus."""
    return 0 <= value <= most and math.copysign(1, value) > 0


def _fraction(name: str, text: str, given: object, form: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not _from_zero(value, 1):
        raise UsageError(f"`{name}` is {given}; give {form}, from 0 to 1.")
    return value


def points(given: str | float, name: str = "tolerance") -> float:
    """``"0.5pp"`` -> 0.005: percentage points, 0 to 100, as a fraction. A number is a fraction.

    Raises:
        UsageError: it is no such number, or a text without its unit.
    """
    if isinstance(given, (int, float)):
        value = 100.0 * given
    else:
        text = given.strip()
        try:
            value = float(text.removesuffix("pp")) if text.endswith("pp") else math.nan
        except ValueError:
            value = math.nan
    if not _from_zero(value, 100):
        raise UsageError(
            f"`{name}` {given!r} is not understood; give percentage points from 0 to 100, "
            "such as 0.5pp."
        )
    return value / 100


UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
"""Inches of a unit of length."""


def inches(given: str | float) -> float:
    """``"3.25in"``, ``"82mm"``, ``"8.2cm"``, ``"234pt"`` or a number of inches, as inches.

    Raises:
        UsageError: it is none of them, or not from 1 to 40 inches.
    """
    text = str(given).strip()
    unit = text[-2:] if text[-2:] in UNITS else ""
    try:
        value = float(text.removesuffix(unit)) * UNITS.get(unit, 1.0)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 40:
        raise UsageError(
            f"`width` is {given}; give a width from 1 to 40 inches, such as 3.25in, 82mm or 234pt."
        )
    return value


def amount(given: str | float) -> str | float:
    """The fraction to remove, or the name of a predicted one.

    Raises:
        UsageError: neither one of :data:`AMOUNTS` nor a number from 0 to 1.
    """
    if isinstance(given, str) and given in AMOUNTS:
        return given
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except ValueError:
        value = math.nan
    if not _from_zero(value, 1):
        raise UsageError(
            f"`amount` is {given}; give auto, one-shot, limit, or the fraction to remove from 0 to "
            "1, such as 0.9."
        )
    return value


def orders(given: str | float | Iterable[str | float]) -> tuple[float, ...]:
    """``"0.5"``, ``2`` or several of them as orders of a Renyi entropy, each once.

    >>> orders(("0.5", 2))
    (0.5, 2.0)

    Raises:
        UsageError: one is no finite number greater than 0, or there is none.
    """
    found = []
    for each in [given] if isinstance(given, (str, float, int)) else list(given):
        try:
            value = float(each)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 < value <= MOST_ALPHA:
            raise UsageError(
                f"`alpha` is {each}; give a number greater than 0 and at most {MOST_ALPHA:g}, such "
                "as 0.5, 1 or 2."
            )
        found.append(value)
    if not found:
        raise UsageError("No `alpha` is given; give one such as 2.")
    return tuple(dict.fromkeys(found))


def stages(given: str | int) -> int | None:
    """How many stages; None for ``auto``.

    Raises:
        UsageError: neither ``auto`` nor a whole number from 1 on.
    """
    return _auto_or_count("stages", given, 1)


def cg_steps(given: str | int) -> int | None:
    """How many steps of conjugate gradients; None for ``auto``.

    Raises:
        UsageError: neither ``auto`` nor a whole number from 0 on.
    """
    return _auto_or_count("cg_steps", given, 0)


def _auto_or_count(name: str, given: str | int, least: int) -> int | None:
    text = str(given)
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"`{name}` is {given}; give auto, or a whole number from {least} on.")
    return int(text)


def methods(given: str | Iterable[str | Method]) -> tuple[Method, ...]:
    """``"magnitude,magnitude+staged"``, each once, in their order.

    Raises:
        UsageError: a name is missing or unknown.
    """
    names = given.split(",") if isinstance(given, str) else list(given)
    if not names or any(isinstance(name, str) and not name.strip() for name in names):
        raise UsageError(
            f"`methods` {given!r} is not understood; give names as "
            "magnitude,magnitude+compensated,wanda."
        )
    found = [name if isinstance(name, Method) else Method.parse(name) for name in names]
    return tuple(dict.fromkeys(found))


def sparsities(given: str | Iterable[float]) -> tuple[float, ...]:
    """``"0,0.5,0.9"`` or ``"START:STOP:STEP"`` (STOP included) as sorted fractions, each once.

    Raises:
        UsageError: it is neither, a value is not from 0 to 1, or there are too many.
    """
    form = "give fractions from 0 to 1 as 0,0.5,0.9 or START:STOP:STEP"
    try:
        values = _range(given) if isinstance(given, str) and ":" in given else _listed(given)
    except ValueError:
        raise UsageError(f"`sparsities` {given!r} is not understood; {form}.") from None
    for value in values:
        if not _from_zero(value, 1):
            raise UsageError(f"`sparsities` names {value}; {form}.")
    return tuple(sorted(set(values)))


def _listed(given: str | Iterable[float]) -> list[float]:
    return [float(part) for part in (given.split(",") if isinstance(given, str) else given)]


def _range(text: str) -> list[float]:
    start, stop, step = (float(part) for part in text.split(":"))
    if not (0 <= start <= stop <= 1 and step > 0):
        raise ValueError
    count = (stop - start) / step
    if count >= MOST_SPARSITIES:
        raise UsageError(
            f"`sparsities` {text} names more than {MOST_SPARSITIES} values; give a larger step."
        )
    steps = math.floor(count + 1e-9)
    return [min(1.0, round(start + step * i, 12)) for i in range(steps + 1)]
