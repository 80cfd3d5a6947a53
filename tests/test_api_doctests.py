"""The examples in docstrings run, and every public name of the Python interface has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import prunelimit as pl

EXTRAS = "prunelimit.integrations"
"""What needs packages that the tests may lack."""

MODULES = tuple(
    each.name
    for each in pkgutil.walk_packages(pl.__path__, "prunelimit.")
    if not each.name.startswith(EXTRAS) and not each.name.endswith("__main__")
)

EXAMPLES = {
    test.name: test
    for module in MODULES
    for test in doctest.DocTestFinder().find(importlib.import_module(module))
    if test.examples
}
assert len(EXAMPLES) > 30

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
