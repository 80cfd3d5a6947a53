"""The generated parts of these pages, each made from what it describes.

    python docs/generate.py             # reference/*.md, from the commands, docstrings and schemas
    python docs/generate.py --check     # exit code 1 where one of them is out of date
    python docs/generate.py sessions    # run the commands of the consoles and show what they print
    python docs/generate.py picture     # images/measure.png, by `prunelimit demo`

Importing this makes nothing. ``python -m mkdocs build --strict`` uses :func:`on_files` and
:func:`on_page_markdown`, so that pages may link to files beside ``docs/``.
"""

from __future__ import annotations

import ast
import inspect
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MADE = "<!-- Made by docs/generate.py; do not edit. -->\n"
CONSOLE = re.compile(r"(?<=```console\n)(.*?)(?=```)", flags=re.DOTALL)
WITH_SESSIONS = ("README.md", "docs/tutorial.md")
PROGRESS = re.compile(r"^\S.*: \d+ of \d+(,|$)")
"""Lines of progress, which are not shown."""


# The command line


def commands_page() -> str:
    """Every command with every option, from click."""
    import click

    from prunelimit.cli.main import group

    context = click.Context(group, info_name="prunelimit")
    parts = [
        MADE,
        "# Commands",
        "`prunelimit COMMAND --help` shows the everyday options and two examples, `--help-all` "
        "all of them. Everyday options are **bold** here. Exit codes: 0 done; 1 a gate failed; "
        "2 usage; 3 an input cannot be read, or is unsafe to read; 4 the number is not reliable "
        "and `--strict` was given; 130 interrupted.",
    ]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        parts += _command(name, command)
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any) -> list[str]:
    import click

    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    usage = " ".join([name, "[OPTIONS]", *(str(each.metavar) for each in arguments)])
    parts = [f"## {name}", f"    prunelimit {usage}", _unwrapped(command.help or "")]
    sections: dict[str, list[str]] = {}
    for each in command.params:
        if isinstance(each, click.Option) and not each.hidden:
            title = getattr(each, "title", "General")
            sections.setdefault(title, []).append(_option(each, command))
    sections["General"] = sections.pop("General", [])
    for title, rows in sections.items():
        if rows:
            parts += [
                f"**{title}**",
                "\n".join(["| option | | default |", "|---|---|---|", *rows]),
            ]
    examples = getattr(command, "examples", ())
    if examples:
        parts.append("\n".join(f"    {line}" for line in examples))
    return parts


def _option(option: Any, command: Any) -> str:
    import click

    names = ", ".join(f"`{each}`" for each in option.opts)
    value = option.metavar or getattr(option.type, "written", "")
    if isinstance(option.type, click.Choice):
        value = value or "|".join(map(str, option.type.choices))
    everyday = option.name in getattr(command, "everyday", ()) and bool(value or option.is_flag)
    shown = f"**{names}**" if everyday else names
    if value and not option.is_flag:
        shown += f" `{value}`"
    default = option.default if option.show_default and not option.is_flag else None
    if callable(default):
        default = default()
    if isinstance(default, (list, tuple)):
        default = ", ".join(map(str, default))
    many = " Repeatable." if option.multiple else ""
    text = (option.help or "").rstrip()
    text = text if many and text.endswith("Repeatable.") else text + many
    return f"| {_cell(shown)} | {_cell(text)} | {'' if default is None else f'`{default}`'} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _unwrapped(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


# Python


def python_page() -> str:
    """What ``import prunelimit`` gives, from the docstrings."""
    import prunelimit as pl
    from prunelimit.results.methods import Result

    parts = [
        MADE,
        "# Python",
        "`import prunelimit as pl` loads nothing heavy before it is used. Each function has the "
        "name, the defaults and the numbers of its [command](commands.md). Errors name arguments. "
        "All are `prunelimit.PruneLimitError`.",
    ]
    for name in ("Problem", *(each for each in pl.__all__ if each != "Problem")):
        found = getattr(pl, name)
        if inspect.isfunction(found):
            parts += _function(f"pl.{name}", found, "##")
        elif inspect.isclass(found):
            parts += _class(f"pl.{name}", found)
    parts += _class("Results", Result)
    parts.append("The fields of every result are those of its [JSON](json.md).")
    return "\n\n".join(parts) + "\n"


def _class(title: str, kind: type[Any]) -> list[str]:
    parts = [f"## {title}", *_docstring(inspect.getdoc(kind) or "")]
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        inner = member.__func__ if isinstance(member, classmethod) else member
        owner = title if isinstance(member, classmethod) else title.rpartition(".")[2].lower()
        if inspect.isfunction(inner):
            parts += _function(f"{owner}.{name}", inner, "###", bound=True)
        elif isinstance(inner, property):
            parts += [f"### {owner}.{name}", *_docstring(inspect.getdoc(inner) or "")]
    return parts


def _function(
    title: str, function: Callable[..., Any], mark: str, bound: bool = False
) -> list[str]:
    text = inspect.getdoc(function) or ""
    options = dict(_entries(_sections(text).get("Options", "")))
    shown = []
    parameters = list(inspect.signature(function).parameters.values())[bound:]
    for each in parameters:
        if each.name in options:
            continue
        if each.kind is each.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = "" if each.default is each.empty else f"={_default(each.default)}"
        shown.append(f"{each}".split(":")[0].split("=")[0] + default)
    call = f"{title}({', '.join([*shown, *(['**options'] if options else [])])})"
    return [f"{mark} {title}", f"    {call}", *_docstring(text)]


def _default(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, bool, type(None), tuple)) else "..."


SECTION = re.compile(r"^(Args|Returns|Raises|Options|Example):\s*$", flags=re.MULTILINE)


def _sections(text: str) -> dict[str, str]:
    pieces = SECTION.split(text)
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2], strict=True))}


def _entries(text: str) -> list[tuple[str, str]]:
    """``name: what it is`` of a section, continued on lines that are indented more."""
    found: list[tuple[str, str]] = []
    for line in inspect.cleandoc("\n" + text).splitlines():
        name, colon, rest = line.partition(": ")
        if colon and not line.startswith(" "):
            found.append((name, rest))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def _docstring(text: str) -> list[str]:
    parts = []
    for name, body in _sections(text).items():
        if name == "":
            parts.append(_text(body.strip()))
        elif name == "Example":
            parts.append(f"```pycon\n{inspect.cleandoc(body)}\n```")
        elif name == "Returns":
            parts.append("**Returns** " + _text(_unwrapped(body)))
        else:
            rows = [f"| `{key}` | {_cell(_text(what))} |" for key, what in _entries(body)]
            title = {"Args": "argument", "Raises": "raises", "Options": "option"}[name]
            parts.append("\n".join([f"| {title} | |", "|---|---|", *rows]))
    return parts


def _text(text: str) -> str:
    """reStructuredText as the docstrings use it, in Markdown."""
    text = re.sub(r":\w+:`[~.]*(.*?)`", r"`\1`", text)
    text = re.sub(r"``+(.+?)``+", r"`\1`", text)
    return re.sub(r"(?m)^(    .*)::$", r"\1:", text)


# JSON


def json_page() -> str:
    """Every command's JSON, from the result dataclasses."""
    from prunelimit.results.schema import SCHEMAS, schema

    parts = [
        MADE,
        "# JSON",
        "Fractions are 0 to 1 in JSON; percentages are for people. Losses are in nats. `schema` "
        "names the document and its version; a new version means that a field has changed its "
        "meaning. `prunelimit schema NAME` prints the JSON Schema. Infinity and NaN are `null`.",
    ]
    shared: dict[str, Any] = {}
    for name in SCHEMAS:
        document = schema(name)
        shared |= document["$defs"]
        parts += [f"## {name}", _text(document["description"]), _fields(document["properties"])]
    parts.append("## Parts")
    for name, part in sorted(shared.items()):
        parts += [f"### {name}", _text(part["description"]), _fields(part["properties"])]
    return "\n\n".join(parts) + "\n"


def _fields(properties: Mapping[str, Any]) -> str:
    rows = [f"| `{name}` | {_kind(value)} |" for name, value in properties.items()]
    return "\n".join(["| field | type |", "|---|---|", *rows])


def _kind(value: Mapping[str, Any]) -> str:
    if "const" in value:
        return f'`"{value["const"]}"`'
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(map(_kind, value["anyOf"]))
    if "prefixItems" in value:
        return f"[{', '.join(map(_kind, value['prefixItems']))}]"
    if value.get("type") == "array":
        return f"list of {_kind(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return "object" + (f" of {_kind(inner)}" if inner else "")
    kind = value.get("type", "anything")
    return str(kind if isinstance(kind, str) else kind[0])


# Rooms


def rooms_page() -> str:
    """The rooms of the library in the order of the test that reads the imports."""
    test = ast.parse((ROOT / "tests/test_architecture.py").read_text(encoding="utf-8"))
    (rooms,) = (
        ast.literal_eval(node.value)
        for node in test.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROOMS"
    )
    rows = []
    for room in rooms:
        base = ROOT / ("cli" if room == "cli" else f"prunelimit/{room}")
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        name = f"{base.relative_to(ROOT)}/" if base.is_dir() else str(path.relative_to(ROOT))
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append(f"| `{name}` | {_cell(_text(text.split(chr(10) * 2)[0]))} |")
    head = "Data flow one way. A module imports only from rooms above its own. A test reads the "
    return (
        "\n\n".join(
            [
                MADE,
                "# Rooms of the library",
                head + "imports and keeps this order. The library never prints, and `cli/` does no "
                "mathematics.",
                "\n".join(["| room | job |", "|---|---|", *rows]),
            ]
        )
        + "\n"
    )


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/python.md": python_page,
    "reference/json.md": json_page,
    "reference/rooms.md": rooms_page,
}
"""What is generated, by its path below ``docs/``."""


def outdated() -> list[str]:
    """The generated pages that are not what they would be if they were made now."""
    return [
        name
        for name, make in PAGES.items()
        if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != make()
    ]


# Sessions and the picture


def sessions(files: Iterable[str] = WITH_SESSIONS) -> None:
    """Run the commands of the consoles, one folder per file, and put in what they print."""
    for name in files:
        path = ROOT / name
        blocks = CONSOLE.findall(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            printed = iter([_session(block, folder) for block in blocks])
        text = CONSOLE.sub(lambda _: next(printed), path.read_text(encoding="utf-8"))  # noqa: B023
        path.write_text(text, encoding="utf-8")


def commands_of(block: str) -> list[str]:
    """The commands of a console, without the dollar."""
    return re.findall(r"(?m)^\$ (.*(?:\\\n.*)*)", block)


def _session(block: str, folder: str) -> str:
    printed = []
    for command in commands_of(block):
        arguments = shlex.split(command.replace("\\\n", " "), comments=True)
        if arguments[0] == "prunelimit":
            arguments[:1] = [sys.executable, "-m", "prunelimit"]
        elif arguments[0] == "python":
            arguments[0] = sys.executable
        done = subprocess.run(
            arguments,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        lines = [line.rstrip() for line in (done.stdout + done.stderr).strip().splitlines()]
        lines = [line for line in lines if not PROGRESS.match(line)]
        printed.append("\n".join([f"$ {command}", *lines, ""]))
    return "\n".join(printed)


def picture() -> None:
    """The figure of measured and predicted sparsity that the demonstration leaves."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "prunelimit", "demo", "-q"], cwd=folder, check=True)
        shutil.copy(Path(folder) / "prunelimit-demo/measure.png", DOCS / "images/measure.png")


# Links out of docs/, for mkdocs

EXAMPLES = ("own_network.py", "live_module.py", "ci-gate/gate.sh", "ci-gate/prune-gate.yml")


def _outside() -> dict[str, str]:
    """Pages made from files beside ``docs/``: path below the site -> text."""
    tables = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    examples = ["# Examples", "Each of them is run by the tests."]
    for name in EXAMPLES:
        text = (ROOT / "examples" / name).read_text(encoding="utf-8")
        language = {"py": "python", "sh": "bash", "yml": "yaml"}[name.rpartition(".")[2]]
        examples += [f"## {name}", f"```{language}\n{text.rstrip()}\n```"]
    return {
        "tables.md": tables,
        "examples.md": "\n\n".join(examples) + "\n",
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    }


def on_files(files: Any, config: Any) -> Any:
    """mkdocs: add the pages made from files beside ``docs/``."""
    from mkdocs.structure.files import File

    for name, text in _outside().items():
        # These pages stand within docs/, the files that they are made from beside it.
        inside = re.sub(r"\]\((?:\.\./)?docs/", "](", text)
        files.append(File.generated(config, name, content=inside))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """mkdocs: let links to files beside ``docs/`` lead to the pages made from them."""
    up = posixpath.relpath(".", posixpath.dirname(page.file.src_uri) or ".")
    out = r"\]\((?:\.\./)+"
    markdown = re.sub(out + r"benchmarks/README\.md", f"]({up}/tables.md", markdown)
    markdown = re.sub(out + r"examples[^)]*", f"]({up}/examples.md", markdown)
    return re.sub(out + r"CONTRIBUTING\.md", f"]({up}/contributing.md", markdown)


def main(arguments: list[str]) -> int:
    """What the module's head says."""
    if arguments == ["--check"]:
        late = outdated()
        for name in late:
            print(f"docs/{name} is out of date; run python docs/generate.py.")
        return int(bool(late))
    if arguments == ["picture"]:
        picture()
    elif arguments[:1] == ["sessions"]:
        sessions(arguments[1:] or WITH_SESSIONS)
    elif arguments:
        print(__doc__)
        return 2
    else:
        for name, make in PAGES.items():
            (DOCS / name).parent.mkdir(exist_ok=True)
            (DOCS / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
