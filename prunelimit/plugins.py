"""Things that are found by name. Each has its own file, here or in another package, and is listed
without torch.

A built-in is a file in its kind's folder. Literals at its top say what it is (``NAME``, ``SOURCE``,
``HELP`` and a few more). They are read from the text. The file is imported only when it is asked
for. It holds one object that does the work. Another package adds its own by an entry point:

    [options.entry_points]
    prunelimit.criteria =
        mine = my_package.mine:CRITERION
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .errors import InputError, UsageError

__all__ = [
    "KINDS",
    "Description",
    "Kind",
    "Plugin",
    "check",
    "describe",
    "find",
    "label",
    "named",
    "names",
    "split",
    "suggestion",
    "written",
]

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Kind:
    """A kind of thing that is found by name.

    ``folder`` below prunelimit holds the built-in ones. ``group`` is the entry points' group.
    ``attribute`` is the name of the object in a file. ``protocol`` is its class, as MODULE:NAME
    below prunelimit.
    """

    name: str
    plural: str
    folder: str
    attribute: str
    protocol: str

    @property
    def group(self) -> str:
        """The entry points' group."""
        return f"prunelimit.{self.plural}"

    @property
    def package(self) -> str:
        """The folder as a package."""
        return f"prunelimit.{self.folder.replace('/', '.')}"


KINDS = {
    each.name: each
    for each in (
        Kind(
            "criterion",
            "criteria",
            "pruning/criteria",
            "CRITERION",
            "pruning.criterion:Criterion",
        ),
        Kind(
            "allocation",
            "allocations",
            "pruning/allocations",
            "ALLOCATION",
            "pruning.allocation:Allocation",
        ),
        Kind(
            "pattern",
            "patterns",
            "pruning/patterns",
            "PATTERN",
            "pruning.pattern:MaskPattern",
        ),
        Kind(
            "formula",
            "formulas",
            "limit/formulas",
            "FORMULA",
            "limit.formula:Formula",
        ),
        Kind(
            "curvature",
            "curvatures",
            "curvature/operators",
            "CURVATURE",
            "curvature.operator:CurvatureOperator",
        ),
        Kind(
            "network",
            "networks",
            "inputs/networks",
            "NETWORK",
            "inputs.network:NetworkFamily",
        ),
        Kind(
            "data",
            "data",
            "inputs/sources",
            "DATA",
            "inputs.source:DataSource",
        ),
        Kind(
            "loss",
            "losses",
            "inputs/losses",
            "LOSS",
            "inputs.loss:Loss",
        ),
        Kind(
            "metric",
            "metrics",
            "inputs/metrics",
            "METRIC",
            "inputs.metric:Metric",
        ),
        Kind(
            "figure",
            "figures",
            "reports/figures",
            "FIGURE",
            "reports.figure:ReportFigure",
        ),
    )
}


@dataclass(frozen=True)
class Plugin:
    """The base of the objects of every kind: their name, their source, one line of help."""

    name: str
    source: str
    help: str


@dataclass(frozen=True)
class Description:
    """The description of one plug-in, as it is listed.

    ``facts`` are the other literals at the top of its file, by their names in lower case.
    ``package`` is the distribution that it comes from. ``where`` is its object as MODULE:ATTR.
    """

    name: str
    source: str
    help: str
    package: str
    where: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def marker(self) -> str:
        """Its mark in a plot, as matplotlib spells it; "" if it has none of its own."""
        return str(self.facts.get("marker", ""))

    @property
    def label(self) -> str:
        """The name that people read, if ``name`` alone says too little."""
        return str(self.facts.get("label", self.name))


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: the nearest of those known, or all of them."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."


def names(kind: str) -> tuple[str, ...]:
    """The names of a kind, in the order of :func:`describe`, without importing anything."""
    return tuple(dict.fromkeys(each.name for each in describe(kind)))


def describe(kind: str) -> tuple[Description, ...]:
    """The plug-ins of a kind, without importing any. First come the built-in ones, by the number
    ``ORDER`` in their files, then the others by name. If two packages give a name, it appears
    twice.
    """
    return (*_built_in(kind), *_installed(kind, tuple(sys.path)))


def named(kind: str, name: str) -> Description:
    """The description of the plug-in ``name``.

    Raises:
        UsageError: there is none, or two packages each have one.
    """
    name, _ = split(kind, name)
    found = [each for each in describe(kind) if each.name == name]
    if not found:
        raise UsageError(f"There is no {kind} {name!r}; {suggestion(name, names(kind))}")
    if len(found) > 1:
        one, other = found[:2]
        raise UsageError(
            f"Two packages have the {kind} {name!r}, {one.package} ({one.where}) and "
            f"{other.package} ({other.where}); remove one of them."
        )
    return found[0]


def written(kind: str, text: str) -> str | None:
    """The name of the plug-in that is written like ``text``; None if there is none.

    The literal ``FORM`` in a file is the regular expression of such texts. Without it a text is the
    name, or NAME:ANYTHING.
    """
    for each in describe(kind):
        form = each.facts.get("form", f"{re.escape(each.name)}(:.*)?")
        if re.fullmatch(str(form), text):
            return each.name
    return None


def split(kind: str, text: str) -> tuple[str, str | None]:
    """``NAME:ARGUMENT`` in two, if the file of NAME says what its ``ARGUMENT`` is; else the text
    and None."""
    name, colon, argument = text.partition(":")
    takes = (
        colon
        and argument
        and any(each.name == name and "argument" in each.facts for each in describe(kind))
    )
    return (name, argument) if takes else (text, None)


def label(kind: str, name: str) -> str:
    """The label that people read for ``name``. The name need not be known here."""
    return next((each.label for each in describe(kind) if each.name == name), name)


def check(kind: str, name: str) -> str:
    """``name``, if there is exactly one plug-in of that name.

    Raises:
        UsageError: see :func:`named`; or an argument is missing.
    """
    found = named(kind, name)
    takes = found.facts.get("argument")
    if takes is not None and split(kind, name)[1] is None:
        raise UsageError(f"The {kind} {name} needs a file: give {name}:{takes}.")
    return name


def find(kind: str, name: str) -> Any:
    """The object called ``name``; its module is imported now. For NAME:ARGUMENT it is the result of
    the object's ``given(ARGUMENT)``.

    Raises:
        UsageError: there is none, or two packages each have one.
        InputError: it cannot be imported, or is not what its kind is.
    """
    name, argument = split(kind, name)
    found = _imported(kind, name)
    return found if argument is None else found.given(argument)


def _imported(kind: str, name: str) -> Any:
    found = named(kind, name)
    module_name, _, attribute = found.where.partition(":")
    if found.package == "prunelimit":
        return getattr(importlib.import_module(module_name), attribute)
    start = f"The {kind} {name!r} of the package {found.package}"
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:
        text = " ".join(str(error).split()).rstrip(".")
        reason = f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__
        raise InputError(
            f"{start} cannot be imported ({reason}); correct or remove that package."
        ) from error
    where, _, wanted = KINDS[kind].protocol.partition(":")
    protocol = getattr(importlib.import_module(f"prunelimit.{where}"), wanted)
    if not isinstance(value, protocol):
        raise InputError(
            f"{start} is a {type(value).__name__}, not a {protocol.__module__}.{wanted}; correct "
            "or remove that package."
        )
    if value.name != name:
        raise InputError(
            f"{start} calls itself {value.name!r}; give its entry point the same name, or correct "
            "the package."
        )
    return value


@lru_cache
def _built_in(kind: str) -> tuple[Description, ...]:
    about = KINDS[kind]
    found = []
    for path in sorted((ROOT / about.folder).glob("*.py")):
        if path.stem != "__init__":
            where = f"{about.package}.{path.stem}:{about.attribute}"
            found.append(_described(_literals(path), "", "prunelimit", where))
    return tuple(sorted(found, key=lambda each: (each.facts.get("order", 0), each.name)))


@lru_cache(maxsize=32)
def _installed(kind: str, path: tuple[str, ...]) -> tuple[Description, ...]:
    """The plug-ins by the entry points on ``path``, which is ``sys.path``."""
    about = KINDS[kind]
    found = []
    for point in entry_points(group=about.group):
        module, _, attribute = point.value.partition(":")
        module, attribute = module.strip(), attribute.split("[")[0].strip() or about.attribute
        package = getattr(point.dist, "name", None) or module.split(".")[0]
        file = _file_of(module)
        literals = {} if file is None else _literals(file)
        found.append(_described(literals, point.name, str(package), f"{module}:{attribute}"))
    return tuple(sorted(_each_once(found), key=lambda each: (each.name, each.package)))


def _each_once(found: list[Description]) -> list[Description]:
    """Each once: a package on two folders of the path is listed twice."""
    return list({(each.name, each.package, each.where): each for each in found}.values())


def _described(literals: Mapping[str, Any], name: str, package: str, where: str) -> Description:
    facts = dict(literals)
    own, source, text = (str(facts.pop(each, "")) for each in ("name", "source", "help"))
    return Description(name or own, source, text, package, where, facts)


def _literals(path: Path) -> dict[str, Any]:
    """The constants at the top of a file that are written as literals, by name in lower case."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and re.fullmatch(r"[A-Z][A-Z_]*", target.id):
            try:
                found[target.id.lower()] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError):
                continue
    return found


def _file_of(module: str) -> Path | None:
    """The file of a module, found without importing it or its packages; None where it is none."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return None if spec.origin is None else Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *inner)
        for file in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if file.is_file():
                return file
    return None
