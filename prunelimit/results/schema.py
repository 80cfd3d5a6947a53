"""JSON Schemas (draft 2020-12) of what the commands write, made from the result dataclasses."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from ..errors import UsageError
from .history import HistoryResult
from .sensitivity import SensitivityResult
from .types import (
    CheckResult,
    CompareResult,
    DemoResult,
    ExportResult,
    InspectResult,
    MeasureResult,
    PredictResult,
    Provenance,
    PruneResult,
    RegimeResult,
    SpectrumResult,
    TrainResult,
)

__all__ = ["SCHEMAS", "schema"]

SCHEMAS: dict[str, type[Any]] = {
    "check": CheckResult,
    "compare": CompareResult,
    "demo": DemoResult,
    "export": ExportResult,
    "history": HistoryResult,
    "inspect": InspectResult,
    "measure": MeasureResult,
    "predict": PredictResult,
    "prune": PruneResult,
    "regime": RegimeResult,
    "sensitivity": SensitivityResult,
    "spectrum": SpectrumResult,
    "train": TrainResult,
}
"""The result of each command."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    # JSON has no infinity and no NaN: to_json writes null for both.
    float: {"type": ["number", "null"]},
    Any: {},
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of the command ``name``'s JSON.

    Raises:
        UsageError: no command of that name writes JSON.
    """
    if name not in SCHEMAS:
        raise UsageError(f"There is no schema {name!r}; known are {', '.join(sorted(SCHEMAS))}.")
    kind = SCHEMAS[name]
    definitions: dict[str, Any] = {}
    body = _object(kind, definitions, skip=("provenance",))
    head = _object(Provenance, definitions)
    return {
        "$schema": DIALECT,
        "$id": f"urn:{kind.SCHEMA.replace('/', ':')}",
        "title": kind.SCHEMA,
        "description": _description(kind),
        "type": "object",
        "properties": {
            "schema": {"const": kind.SCHEMA},
            **head["properties"],
            **body["properties"],
        },
        "required": ["schema", *head["required"], *body["required"]],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(
    kind: type[Any], definitions: dict[str, Any], skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in skip]
    return {
        "description": _description(kind),
        "type": "object",
        "properties": {name: _of(hints[name], definitions) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _description(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _of(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if annotation in SCALARS:
        return dict(SCALARS[annotation])
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [_of(each, definitions) for each in arguments if each is not type(None)]
        return {"anyOf": [*inner, {"type": "null"}]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is tuple:
        items = [_of(each, definitions) for each in arguments]
        count = len(items)
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if dataclasses.is_dataclass(annotation):
        name = typing.cast("type[Any]", annotation).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _object(typing.cast("type[Any]", annotation), definitions)
        return {"$ref": f"#/$defs/{name}"}
    raise TypeError(f"No JSON Schema for {annotation!r}.")
