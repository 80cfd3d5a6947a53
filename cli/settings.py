"""Defaults of options from ``[tool.prunelimit]`` of pyproject.toml and from a ``--config`` file."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from prunelimit.errors import InputError, UsageError

from .suggest import nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["use_settings"]

PROJECT_FILE = Path("pyproject.toml")

COMMAND_LINE_ONLY = {
    "config": "names the file itself",
    "help": "has no default",
    "trust-pickle": "lets a checkpoint run code",
    "force": "replaces files",
}
"""Options that no file may set, and why."""

CODE = re.compile(r"(?<![\w.])(?!(?:folder|npz|torchvision|timm|hf):)[^\s,:]+:[A-Za-z_]\w*")
"""FILE.py:ATTR or PACKAGE.MODULE:ATTR within a value."""


def use_settings(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Let the files' values stand in for the defaults of this command's options.

    A sub-table named after a command goes before the table's own keys, and ``--config`` before
    pyproject.toml. A key may belong to any command; those of other commands are passed over.

    Raises:
        UsageError: a key is no option's name, or its value is of a wrong kind.
        InputError: a file cannot be read.
    """
    commands = _commands(context)
    name = context.info_name or ""
    defaults: dict[str, Any] = {}
    for file in (PROJECT_FILE if PROJECT_FILE.is_file() else None, path):
        if file is not None:
            defaults |= _defaults(file, _table(file, required=file is path), name, commands)
    context.default_map = {**(context.default_map or {}), **defaults}


Options = Mapping[str, click.Parameter]


def _commands(context: click.Context) -> dict[str, Options]:
    """The options of every command, by their names on the command line without the dashes."""
    commands = {context.info_name or "": context.command}
    parent = context.parent
    if parent is not None and isinstance(parent.command, click.Group):
        group = parent.command
        for name in group.list_commands(parent):
            found = group.get_command(parent, name)
            if found is not None:
                commands[name] = found
    return {name: _options(command) for name, command in commands.items()}


def _options(command: click.Command) -> Options:
    return {
        max(parameter.opts, key=len).lstrip("-"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }


def _table(path: Path, *, required: bool) -> dict[str, Any]:
    """The settings in ``path``: its ``[tool.prunelimit]``, or a ``--config`` file's whole."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"The configuration file {path} cannot be read ({why}); check its name."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML ({error}); correct it.") from error
    tool = document.get("tool")
    inner = tool.get("prunelimit") if isinstance(tool, dict) else None
    if inner is None:
        inner = document if required and tool is None else {}
    if not isinstance(inner, dict):
        raise UsageError(f"tool.prunelimit in {path} is not a table; make it [tool.prunelimit].")
    return inner


def _defaults(
    path: Path, table: Mapping[str, Any], command: str, commands: Mapping[str, Options]
) -> dict[str, Any]:
    """Parameter name -> value for ``command``, every key of the file checked."""
    common: dict[str, Any] = {}
    own: dict[str, Any] = {}
    everything = {key: option for options in commands.values() for key, option in options.items()}
    for key, value in table.items():
        if key in commands and isinstance(value, dict):
            for inner, item in value.items():
                option = _known(path, f"{key}.", inner, commands[key])
                if key == command:
                    own[option.name or ""] = _value(path, f"{key}.{inner}", option, item)
            continue
        option = _known(path, "", key, everything, also=commands)
        here = commands.get(command, {}).get(_dashed(key))
        if here is not None:
            common[here.name or ""] = _value(path, key, here, value)
        else:
            _value(path, key, option, value)
    return common | own


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _known(
    path: Path, prefix: str, key: str, options: Options, also: Mapping[str, Any] | None = None
) -> click.Parameter:
    name = _dashed(key)
    if name in COMMAND_LINE_ONLY:
        raise UsageError(
            f"{prefix}{key} in {path} is not allowed: --{name} {COMMAND_LINE_ONLY[name]}; "
            "give it on the command line only."
        )
    if name not in options:
        known = [each for each in (*options, *(also or ())) if each not in COMMAND_LINE_ONLY]
        raise UsageError(f"{path} has an unknown option {prefix}{key}{nearest(name, known)}")
    return options[name]


def _value(path: Path, key: str, option: click.Parameter, value: Any) -> Any:
    """``value`` as click wants a default: a list where repeatable, text where text is expected."""
    if isinstance(option, click.Option) and option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{key} in {path} should be true or false, not {value!r}.")
        return value
    items = value if option.multiple else [value]
    if option.multiple and not isinstance(value, list):
        items = [value]
    if any(isinstance(item, (dict, list, bool)) for item in items):
        kind = "a list of values" if option.multiple else "one value"
        raise UsageError(f"{key} in {path} should be {kind}, not {value!r}.")
    texts = [str(item) for item in items]
    for text in texts:
        if not text.isprintable():
            raise UsageError(f"{key} in {path} is {text!r}; leave control characters out.")
        if not isinstance(option.type, click.Path) and CODE.search(text):
            raise UsageError(
                f"{key} in {path} names code to run ({text}), and only the command line may name "
                f"code; give it there, as --{max(option.opts, key=len).lstrip('-')}."
            )
    given = texts if option.multiple else texts[0]
    try:
        option.type_cast_value(click.Context(click.Command(key)), given)
    except click.BadParameter as error:
        raise UsageError(f"{key} in {path} is wrong: {error.message.rstrip('.')}.") from error
    return given
