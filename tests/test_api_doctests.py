"""The examples in docstrings of the Python interface run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import prunelimit as pl

MODULES = (
    "prunelimit.values",
    "prunelimit.api.problem",
    "prunelimit.api.functions",
    "prunelimit.api.showing",
    "prunelimit.api.history",
    "prunelimit.api.exports",
)

EXAMPLES = {
    test.name: test
    for module in MODULES
    for test in doctest.DocTestFinder().find(importlib.import_module(module))
    if test.examples
}

FUNCTIONS = [name for name in pl.__all__ if inspect.isfunction(getattr(pl, name))]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str) -> None:
    assert doctest.DocTestRunner().run(EXAMPLES[name]).failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_and_says_what_it_raises(name: str) -> None:
    assert f"{inspect.unwrap(getattr(pl, name)).__module__}.{name}" in EXAMPLES
    text = inspect.getdoc(getattr(pl, name)) or ""
    assert "Args:" in text and "Raises:" in text
    assert "--" not in text.replace("---", "")


def test_the_classes_have_examples() -> None:
    assert "prunelimit.api.problem.Problem" in EXAMPLES
    assert "prunelimit.values.Method" in EXAMPLES
