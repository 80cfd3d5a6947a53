"""The pages say what is so: commands parse, options exist, links lead somewhere, generated parts
are up to date, and mkdocs builds them."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from prunelimit.cli.main import group

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", *DOCS.rglob("*.md"))
    if "reference" not in path.parts
)
LINKED = [*WRITTEN, *(path.relative_to(ROOT) for path in sorted(DOCS.glob("reference/*.md")))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:torchrun .*? -m )?prunelimit (?P<rest>.*)$")


def text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(page: Path) -> Iterator[str]:
    """What follows ``prunelimit`` in fenced and in indented blocks, mistakes shown left out."""
    whole = re.sub(r"(?m)^\$ .*\nError: .*\n", "", text(page))
    fenced = [body for language, body in FENCE.findall(whole) if language in ("bash", "console")]
    prose = FENCE.sub("", whole)
    indented = re.findall(r"(?m)^    (\S.*)$", prose)
    # What a console prints names commands too, but not at the beginning of a line.
    for line in [*"\n".join(fenced).replace("\\\n", " ").splitlines(), *indented]:
        found = COMMAND.match(line.partition(" && ")[2] or line)
        if found:
            yield found["rest"].partition("  #")[0].partition(" > ")[0].strip()


def parsed(arguments: list[str]) -> click.Context:
    name, *rest = arguments
    parent = click.Context(group, info_name="prunelimit")
    command = group.get_command(parent, name)
    assert command is not None, f"there is no command {name}"
    context: click.Context = command.make_context(name, rest, parent=parent)
    return context


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_every_command_parses(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands(page):
        try:
            parsed(shlex.split(command))
        except click.ClickException as error:
            pytest.fail(f"{page}: prunelimit {command}: {error.format_message()}")


def test_commands_are_found_and_unknown_options_too() -> None:
    found = list(commands(Path("README.md")))
    assert len(found) >= 10 and "demo" in found
    with pytest.raises(click.NoSuchOption):
        parsed(["predict", "x.pt", "--no-such-option"])


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_every_option_in_the_text_exists(page: Path) -> None:
    context = click.Context(group, info_name="prunelimit")
    known = {"--help", "--help-all", "--version", "--nproc-per-node", "--index-url", "--strict"}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        known |= {each for parameter in command.params for each in parameter.opts}
    prose = FENCE.sub("", text(page))
    for code in re.findall(r"`([^`\n]+)`", prose):
        if code.startswith(("python ", "benchmarks/", "mkdocs ", "pip ")):
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code):
            assert option in known, f"{page}: {option}"


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_python_blocks_compile(page: Path) -> None:
    for language, body in FENCE.findall(text(page)):
        if language == "python":
            compile(body, str(page), "exec")


def anchors(page: Path) -> set[str]:
    prose = FENCE.sub("", text(page))
    heads = re.findall(r"(?m)^#+ (.*)$", prose)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", head)) for head in heads)
    return {head.strip().lower().replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", [*LINKED, Path("benchmarks/README.md")], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text(page))):
        if re.match(r"https?:", target):
            continue
        where, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / where).resolve() if where else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(path.relative_to(ROOT)), f"{page}: {target}"


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_the_limit_is_never_said_to_be_reached_in_one_shot(page: Path) -> None:
    assert "in one shot" not in " ".join(text(page).split())


def test_every_command_stands_in_the_readme_or_the_reference() -> None:
    reference = text(Path("docs/reference/commands.md"))
    for name in group.list_commands(click.Context(group)):
        assert f"\n## {name}\n" in reference


def test_the_generated_pages_are_up_to_date() -> None:
    assert not generator().outdated(), "run python docs/generate.py"


def test_the_picture_is_small() -> None:
    pictures = sorted((DOCS / "images").iterdir())
    assert pictures
    assert all(path.stat().st_size < 150_000 for path in pictures)


def test_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    """The mean and the largest distance, and the intervals that were right."""
    tables = text(Path("benchmarks/README.md"))
    (lines,) = re.findall(
        r"<!-- benchmark:begin -->\n(.*?)<!-- benchmark:end -->",
        text(Path("docs/benchmarks.md")),
        flags=re.DOTALL,
    )
    for line in lines.strip().splitlines():
        assert line.removeprefix("- ") in tables
    (count, mean, largest) = re.findall(
        r"All: (\d+) networks, mean distance ([\d.]+) pp.*largest [+-]?([\d.]+)\.", lines
    )[0]
    readme = " ".join(text(Path("README.md")).split())
    assert f"on {count} small networks" in readme
    assert f"mean distance is {mean} percentage points, the largest {largest}" in readme
    (right, of, width) = re.findall(r"hold (\d+) of (\d+), ([\d.]+) pp wide", lines)[0]
    assert f"right {right} times of {of} and is {width} points wide" in readme
    (apart,) = re.findall(r"Expected: mean distance ([\d.]+) pp", lines)
    assert f"expected to stop, {apart} points off on average" in readme


def test_mkdocs_builds_the_pages(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/index.html").exists()
