"""Results to JSON and back."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from ..errors import InputError
from .types import Provenance

__all__ = ["from_json", "to_json"]

T = TypeVar("T")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(result: Any) -> dict[str, Any]:
    """``result`` as JSON-ready data: ``schema`` first, provenance flat, then its own.

    JSON has no numbers that are not finite; they become null.
    """
    document = _plain(result)
    head = {"schema": result.SCHEMA, **document.pop("provenance")}
    return {**head, **document}


def _build(annotation: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(annotation)
    if annotation is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return _build(inner[0], value, where)
    if origin is tuple:
        args = typing.get_args(annotation)
        if not isinstance(value, list):
            raise InputError(f"{where} should be a list.")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_build(args[0], item, where) for item in value)
        if len(args) != len(value):
            raise InputError(f"{where} should have {len(args)} entries, not {len(value)}.")
        return tuple(_build(a, item, where) for a, item in zip(args, value, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} should be an object.")
        inner_type = typing.get_args(annotation)[1]
        return {key: _build(inner_type, item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(annotation):
        return _build_dataclass(typing.cast("type[Any]", annotation), value, where)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation is float and value is None:
        return float("nan")
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise InputError(f"{where} should be {annotation.__name__}, not {type(value).__name__}.")
    return value


def _build_dataclass(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} should be an object.")
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        if f.name not in value:
            if f.default is dataclasses.MISSING:
                raise InputError(f"{where} lacks {f.name!r}.")
            continue  # written before there was such a field
        given[f.name] = _build(hints[f.name], value[f.name], f"{where}.{f.name}")
    return kind(**given)


def from_json(kind: type[T], document: Any, where: str = "document") -> T:
    """The result that :func:`to_json` made ``document`` from.

    Raises:
        InputError: ``document`` is of another schema, or a field is missing or of a wrong type.
    """
    expected = kind.SCHEMA  # type: ignore[attr-defined]
    if not isinstance(document, dict) or document.get("schema") != expected:
        found = document.get("schema") if isinstance(document, dict) else None
        raise InputError(f"{where} is not a {expected} result (its schema is {found!r}).")
    names = [f.name for f in dataclasses.fields(Provenance)]
    inner = {**document, "provenance": {n: document[n] for n in names if n in document}}
    return typing.cast(T, _build_dataclass(kind, inner, where))
