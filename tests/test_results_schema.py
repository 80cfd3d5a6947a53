"""The published schemas are valid, describe every result, and refuse what is not one."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from test_results import filled

from prunelimit.errors import UsageError
from prunelimit.results.schema import SCHEMAS, schema
from prunelimit.results.serialization import to_json

NAMES = sorted(SCHEMAS)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_valid_and_stands_alone(name: str) -> None:
    document = schema(name)
    jsonschema.Draft202012Validator.check_schema(document)
    references: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            references.extend(v for k, v in node.items() if k == "$ref")
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert {r.removeprefix("#/$defs/") for r in references} == set(document["$defs"])


@pytest.mark.parametrize("name", NAMES)
def test_a_result_validates(name: str) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(to_json(filled(SCHEMAS[name])))


@pytest.mark.parametrize("name", NAMES)
def test_another_shape_does_not(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(name))
    good = to_json(filled(SCHEMAS[name]))
    for key in good:
        assert not validator.is_valid({k: v for k, v in good.items() if k != key}), key
    assert not validator.is_valid({**good, "another": 1})
    assert not validator.is_valid({**good, "schema": "prunelimit.other/1"})
    assert not validator.is_valid({**good, "seed": "zero"})


def test_an_interval_is_two_numbers() -> None:
    validator = jsonschema.Draft202012Validator(schema("predict"))
    good = to_json(filled(SCHEMAS["predict"]))
    for wrong in ([0.1], [0.1, 0.2, 0.3], ["0.1", "0.2"], 0.1):
        bad = copy.deepcopy(good)
        bad["limit"]["interval"] = wrong
        assert not validator.is_valid(bad), wrong


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="predict"):
        schema("prediction")
