"""Results go to JSON and come back unchanged; anything else is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing

import pytest

from prunelimit.errors import InputError
from prunelimit.results.schema import SCHEMAS
from prunelimit.results.serialization import from_json, to_json
from prunelimit.results.types import CheckResult, PredictResult, TrainResult

KINDS = sorted(SCHEMAS.items())


def filled(annotation: object, seed: int = 1) -> object:
    """Some value of a type that occurs in results; floats have no short decimal form."""
    if annotation is str:
        return f"text {seed}"
    if annotation is bool:
        return seed % 2 == 0
    if annotation is int:
        return seed
    if annotation is float:
        return math.pi / (seed + 2)
    if annotation is typing.Any:
        return {"list": [seed, None]}
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return filled(arguments[0], seed)
    if origin is tuple and arguments[-1] is Ellipsis:
        return tuple(filled(arguments[0], seed + i) for i in range(2))
    if origin is tuple:
        return tuple(filled(each, seed + i) for i, each in enumerate(arguments))
    if origin is dict:
        return {"first": filled(arguments[1], seed), "second": filled(arguments[1], seed + 1)}
    assert dataclasses.is_dataclass(annotation) and isinstance(annotation, type)
    hints = typing.get_type_hints(annotation)
    fields = dataclasses.fields(annotation)
    return annotation(**{f.name: filled(hints[f.name], seed + i) for i, f in enumerate(fields)})


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_result_survives_json(name: str, kind: type) -> None:
    result = filled(kind)
    document = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert from_json(kind, document) == result


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_head_is_flat_and_comes_first(name: str, kind: type) -> None:
    document = to_json(filled(kind))
    keys = list(document)
    assert keys[0] == "schema"
    assert document["schema"] == kind.SCHEMA
    assert "provenance" not in keys
    for key in ("tool_version", "command", "created", "seed", "device", "versions"):
        assert key in keys
    for key in ("wall_seconds", "peak_bytes", "config"):
        assert key in keys
    assert ("model" in keys) == (name not in ("inspect", "export"))  # which make no network


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_missing_field_is_named_or_has_its_default(name: str, kind: type) -> None:
    document = to_json(filled(kind))
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }
    for key in set(document) - {"schema"}:
        lacking = {k: v for k, v in document.items() if k != key}
        if key in defaults:  # a file from before the field
            assert getattr(from_json(kind, lacking, "file.json"), key) == defaults[key]
            continue
        with pytest.raises(InputError, match=key):
            from_json(kind, lacking, "file.json")


def test_numbers_that_json_lacks_become_null_and_nan_again() -> None:
    result = filled(CheckResult)
    assert isinstance(result, CheckResult)
    gate = dataclasses.replace(result.gates[0], value=math.nan, bound=math.inf)
    document = to_json(dataclasses.replace(result, gates=(gate,)))
    assert document["gates"][0]["value"] is None and document["gates"][0]["bound"] is None
    (back,) = from_json(CheckResult, document).gates
    assert math.isnan(back.value) and math.isnan(back.bound)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "prunelimit.measure/2"}, "prunelimit.measure/2"),
        ({"schema": "prunelimit.predict/1"}, "prunelimit.predict/1"),
        ({"limit": 3}, "limit"),
        ({"seed": "zero"}, "seed"),
        ({"seed": True}, "seed"),
        ({"layers": {}}, "layers"),
        ({"versions": []}, "versions"),
    ],
)
def test_another_document_is_refused(change: dict[str, object], named: str) -> None:
    document = {**to_json(filled(PredictResult)), **change}
    with pytest.raises(InputError, match=named) as caught:
        from_json(PredictResult, document, "file.json")
    assert str(caught.value).startswith("file.json")


def test_an_interval_has_two_ends() -> None:
    document = to_json(filled(PredictResult))
    document["limit"]["interval"] = [0.1, 0.2, 0.3]
    with pytest.raises(InputError, match="2 entries"):
        from_json(PredictResult, document)


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(InputError, match=r"prunelimit\.train/1"):
        from_json(TrainResult, document, "file.json")
