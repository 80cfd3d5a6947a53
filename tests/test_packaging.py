"""What is built holds every package, and nothing else at its top."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import prunelimit

ROOT = Path(__file__).parents[1]

TEST_COMMAND = "python -m pip install -e '.[test]' && pytest"
DEMO_COMMAND = "python -m pip install . && prunelimit demo"

IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn"}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def folders() -> set[str]:
    """Packages on disk; cli/ is installed as prunelimit.cli."""
    inner = {path.parent.relative_to(ROOT) for path in (ROOT / "prunelimit").rglob("__init__.py")}
    outer = {path.parent.relative_to(ROOT) for path in (ROOT / "cli").rglob("__init__.py")}
    return {".".join(p.parts) for p in inner} | {f"prunelimit.{'.'.join(p.parts)}" for p in outer}


def test_the_list_of_packages_is_the_folders(setup: configparser.ConfigParser) -> None:
    listed = setup["options"]["packages"].split()
    assert len(listed) == len(set(listed))
    assert set(listed) == folders()


def test_every_python_file_is_in_a_package() -> None:
    for base in ("prunelimit", "cli"):
        for path in (ROOT / base).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_tests_are_no_package() -> None:
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_every_import_is_required(setup: configparser.ConfigParser) -> None:
    """A third-party package that is imported must be asked for, and the other way round."""
    required = {
        re.split(r"[<>=;\s\[]", line)[0].lower()
        for line in setup["options"]["install_requires"].strip().splitlines()
    }
    trees = [
        ast.parse(path.read_text())
        for base in ("prunelimit", "cli")
        for path in (ROOT / base).rglob("*.py")
        if not path.is_relative_to(ROOT / "prunelimit/integrations")  # of packages that call it
        and path != ROOT / "prunelimit/pytest_plugin.py"
    ]
    used = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            used |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            used.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "find_spec":
            used |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    third_party = used - set(sys.stdlib_module_names) - {"prunelimit"}
    assert third_party == {IMPORT_NAMES.get(name, name) for name in required}


def test_the_version_is_stated_once(setup: configparser.ConfigParser) -> None:
    assert setup["metadata"]["version"] == "attr: prunelimit.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", prunelimit.__version__)


@pytest.mark.parametrize("line", [TEST_COMMAND, DEMO_COMMAND])
def test_the_readme_has_the_two_commands(line: str) -> None:
    readme = [re.sub(r"\s+", " ", each).strip() for each in (ROOT / "README.md").open()]
    assert any(each.split(" #")[0].strip() == line for each in readme)


def test_continuous_integration_runs_the_readmes_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert TEST_COMMAND in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_wheel_holds_prunelimit_alone(tmp_path: Path) -> None:
    """Built from a copy, so that no build folder of this tree gets in and none is left behind."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("prunelimit", "cli"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    build = (
        "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"prunelimit"}
    packed = {name for name in names if name.startswith("prunelimit/")}
    on_disk = {
        str(Path(prefix, path.relative_to(ROOT / base)).as_posix())
        for base, prefix in (("prunelimit", "prunelimit"), ("cli", "prunelimit/cli"))
        for path in (ROOT / base).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == on_disk
