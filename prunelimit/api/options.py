"""Keyword arguments made from the fields of configurations, so names, defaults and help have one
place."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import numbers
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import torch

from ..config import Config
from ..errors import UsageError
from ..values import Method

__all__ = ["METHOD", "check_points", "configured", "fields_of", "takes", "with_method"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=Config)

METHOD = ("criterion", "allocation", "pattern", "survivors")
"""The fields that a method's name stands for."""

WIDTH = 100

MOST_FRACTION = 0.2
"""Largest number that is taken for a fraction where percentage points are asked for."""

KINDS: dict[str, tuple[Any, str]] = {
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "a string"),
}
"""What a value has to be, by the annotation of its field."""


def fields_of(
    *kinds: type[Config], without: Mapping[type[Config], tuple[str, ...]] | None = None
) -> dict[str, dataclasses.Field[Any]]:
    """The fields of ``kinds`` by name, except those in ``without``. Fields that a kind inherits
    come last. Of two with the same name, the first stays."""
    left_out = without or {}
    found: dict[str, dataclasses.Field[Any]] = {}
    for kind in kinds:
        own = inspect.get_annotations(kind)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        for field in sorted(fields, key=lambda each: each.name not in own):
            if field.name not in left_out.get(kind, ()):
                found.setdefault(field.name, field)
    return found


def takes(
    *kinds: type[Config], without: Mapping[type[Config], tuple[str, ...]] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function with ``**options`` take the fields of ``kinds``.

    Its signature and docstring then name each of them with its default, and an argument that it
    does not have is a TypeError that names the nearest. It has gradients on, also where the caller
    has them off.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        options = fields_of(*kinds, without=without)
        own = inspect.signature(function)
        parameters = [
            each
            for each in own.parameters.values()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        options = {n: field for n, field in options.items() if n not in own.parameters}
        parameters += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=f"str | {field.type}" if field.metadata["parse"] else field.type,
            )
            for name, field in options.items()
        ]
        signature = own.replace(parameters=parameters)

        @functools.wraps(function)
        def checked(*arguments: P.args, **given: P.kwargs) -> R:
            for name in given:
                if name not in signature.parameters:
                    raise TypeError(_unknown(function.__name__, name, signature.parameters))
            with torch.inference_mode(False), torch.enable_grad():
                return function(*arguments, **given)

        checked.__signature__ = signature  # type: ignore[attr-defined]
        checked.__doc__ = _documented(function.__doc__ or "", options)
        return checked

    return wrap


def _unknown(function: str, name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    what = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}."
    return f"{function}() has no argument {name!r}{what}"


def _documented(text: str, options: Mapping[str, dataclasses.Field[Any]]) -> str:
    """``text`` with a list of the options before its examples."""
    lines = ["Options:"]
    for name, field in options.items():
        entry = f"{name}: {spelled(field.metadata['help'])}"
        if field.default is not None:
            entry += f" Default: {field.default!r}."
        lines += textwrap.wrap(
            entry, WIDTH - 8, initial_indent="    ", subsequent_indent="        "
        )
    section = "\n".join(lines)
    head, mark, examples = inspect.cleandoc(text).partition("\nExample:\n")
    return f"{head}\n{section}\n{mark}{examples}"


def spelled(text: str) -> str:
    """A help text with arguments in the place of flags: ``--min-keep`` becomes ```min_keep```."""
    return re.sub(r"--([a-z][a-z-]*)", lambda match: f"`{match[1].replace('-', '_')}`", text)


def configured(kind: type[C], options: Mapping[str, Any], without: tuple[str, ...] = ()) -> C:
    """The configuration that ``options`` describe. A field that is not among them, or is None,
    keeps its default.

    Raises:
        UsageError: a value makes no sense.
    """
    given = {
        field.name: _typed(field, options[field.name])
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if options.get(field.name) is not None and field.name not in without
    }
    return kind(**given)


def _typed(field: dataclasses.Field[Any], value: Any) -> Any:
    """``value``, if it is of the field's type, or as the field parses it. For a field of several
    values, a single string is one of them."""
    annotation = str(field.type).removesuffix(" | None")
    if annotation.startswith("tuple") and not field.metadata["parse"]:
        return (value,) if isinstance(value, str) else tuple(value)
    kind, words = KINDS.get(annotation, (object, ""))
    if field.metadata["parse"] is None and not isinstance(value, kind):
        raise UsageError(f"`{field.name}` is {value!r}; give {words}.")
    if field.metadata["metavar"] == "Npp":
        check_points(field.name, value)
    try:
        return value if field.metadata["parse"] is None else field.metadata["parse"](value)
    except (TypeError, AttributeError):
        form = field.metadata["metavar"] or words
        raise UsageError(
            f"`{field.name}` is {value!r}; give {form}, as the help of this option says."
        ) from None


def check_points(name: str, value: Any) -> None:
    """Refuse a number where percentage points are asked for and a fraction is hardly meant.

    Raises:
        UsageError: it is above :data:`MOST_FRACTION`.
    """
    for each in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(each, (int, float)) and each > MOST_FRACTION:
            raise UsageError(
                f"`{name}` is {each}, which as a number is a fraction; give percentage points as "
                f"text, such as '{each:g}pp'."
            )


def with_method(method: Method | str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with the four choices that ``method`` stands for.

    Raises:
        UsageError: there is no such method, or one of the four choices is given beside it.
    """
    if method is None:
        return dict(options)
    beside = [name for name in METHOD if name in options]
    if beside:
        raise UsageError(f"`method` already sets `{beside[0]}`; give one of the two.")
    parsed = method if isinstance(method, Method) else Method.parse(method)
    return {**options, **{name: getattr(parsed, name) for name in METHOD}}
