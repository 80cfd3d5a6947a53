"""The rooms of the library: who may import whom, read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prunelimit import plugins

ROOT = Path(__file__).parents[1]

ROOMS = (
    "errors",
    "plugins",
    "values",
    "config",
    "progress",
    "randomness",
    "hashing",
    "devices",
    "results",
    "storage",
    "distributed",
    "inputs",
    "curvature",
    "lanczos",
    "limit",
    "pruning",
    "compensation",
    "training",
    "estimation",
    "measurement",
    "gate",
    "reports",
    "commands",
    "api",
    "integrations",
    "pytest_plugin",
    "cli",
)
"""In data order: a module imports only from rooms above its own, or from its own package."""

SIBLINGS = {
    ("estimation", "compensation"),
    ("gate", "measurement"),
    ("reports", "measurement"),
    ("cli", "api"),
    ("cli", "integrations"),
    ("cli", "pytest_plugin"),
}
"""Pairs that the order would allow, but that are to know nothing of each other."""

LIGHT = (
    "__init__",
    "errors",
    "plugins",
    "values",
    "config",
    "progress",
    "results",
    "storage.files",
)
"""Rooms and modules that do without torch and its like."""

HEAVY = {"torch", "torchvision", "numpy", "scipy", "sklearn", "matplotlib", "pyhessian", "jinja2"}


def modules() -> dict[str, Path]:
    """Dotted name below ``prunelimit`` (``cli`` included) -> file, of every module."""
    found = {}
    for base, prefix in ((ROOT / "prunelimit", ()), (ROOT / "cli", ("cli",))):
        for path in sorted(base.rglob("*.py")):
            parts = (*prefix, *path.relative_to(base).with_suffix("").parts)
            found[".".join(parts)] = path
    return found


MODULES = modules()


def is_light(module: str) -> bool:
    return any(module == light or module.startswith(f"{light}.") for light in LIGHT)


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports(module: str, tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Absolute dotted names that a module imports, ``from X import a`` given as ``X.a``."""
    package = ["prunelimit", *module.split(".")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            inner = node.module.split(".") if node.module else []
            for alias in node.names:
                yield ".".join([*base, *inner, alias.name]), node


def own_imports(module: str) -> set[str]:
    """Dotted names below ``prunelimit`` of the modules that ``module`` imports."""
    found = set()
    for name, _ in imports(module, ast.parse(MODULES[module].read_text())):
        parts = name.split(".")
        if parts[0] != "prunelimit":
            continue
        inner = ".".join(parts[1:])
        while inner and inner not in MODULES and f"{inner}.__init__" not in MODULES:
            inner = inner.rpartition(".")[0]
        found.add(inner if inner in MODULES or not inner else f"{inner}.__init__")
    return found


def packages_used(module: str) -> set[str]:
    """Top-level names of everything that ``module`` imports, anywhere in it."""
    tree = ast.parse(MODULES[module].read_text())
    return {name.split(".")[0] for name, _ in imports(module, tree)}


def test_every_module_belongs_to_a_room() -> None:
    outside = {room_of(name) for name in MODULES} - set(ROOMS) - {"__init__", "__main__"}
    assert not outside


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("__init__", "__main__")])
def test_imports_go_one_way(module: str) -> None:
    here = room_of(module)
    for imported in own_imports(module):
        room = room_of(imported) if imported else "__init__"
        if room in (here, "__init__"):
            continue
        assert ROOMS.index(room) < ROOMS.index(here), f"{module} imports {imported}"
        assert (here, room) not in SIBLINGS, f"{module} imports {imported}"


def test_no_cycles_within_a_room() -> None:
    graph = {name: own_imports(name) - {name, ""} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name in done:
            return
        for imported in graph[name]:
            visit(imported, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("module", [m for m in MODULES if is_light(m)])
def test_the_light_rooms_stay_light(module: str) -> None:
    names = {
        name.split(".")[0] for name, _ in imports(module, ast.parse(MODULES[module].read_text()))
    }
    assert not names & HEAVY


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("cli.")])
def test_the_command_line_starts_light(module: str) -> None:
    """What a module of cli imports at its top is light; the rest comes when a command runs."""
    tree = ast.parse(MODULES[module].read_text())
    for node in tree.body:
        for name, _ in imports(module, ast.Module([node], [])):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            assert name.split(".")[0] not in HEAVY, f"{module} imports {name}"
            if name.startswith("prunelimit.") and not name.startswith("prunelimit.cli"):
                inner = name.removeprefix("prunelimit.")
                assert is_light(inner) or inner == "__version__", name


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) != "cli"])
def test_the_library_never_prints(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{module}:{node.lineno}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("cli.")])
def test_the_command_line_does_no_mathematics(module: str) -> None:
    names = {
        name.split(".")[0] for name, _ in imports(module, ast.parse(MODULES[module].read_text()))
    }
    assert not names & {"torch", "scipy", "math", "sklearn"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_says_what_it_is(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree), f"{module} has no docstring"
    names = {name for name, _ in imports(module, tree)}
    assert len(tree.body) == 1 or "__future__.annotations" in names, (
        f"{module} lacks `from __future__ import annotations`"
    )


@pytest.mark.parametrize("kind", plugins.KINDS.values(), ids=plugins.KINDS)
def test_folders_of_what_is_found_by_name_hold_one_each(kind: plugins.Kind) -> None:
    """A file is one of its kind, knows nothing of the others by import, and is named after it."""
    room = kind.folder.replace("/", ".")
    inside = [name for name in MODULES if name.rpartition(".")[0] == room]
    for module in inside:
        tree = ast.parse(MODULES[module].read_text())
        assigned = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        if module.endswith("__init__"):
            assert len(tree.body) == 1, f"{module} holds more than its docstring"
            continue
        assert assigned.count(kind.attribute) == assigned.count("NAME") == 1, module
        assert not own_imports(module) & set(inside), f"{module} knows its neighbours"
        (name,) = (
            each.name
            for each in plugins.describe(kind.name)
            if each.where.startswith(f"prunelimit.{module}:")
        )
        assert module.rpartition(".")[2].rstrip("_") == re.sub(r"\W", "_", name), module
