"""``prunelimit schema``."""

from __future__ import annotations

import json

import click

from prunelimit.results.schema import SCHEMAS, schema

from .command import result_stream
from .options import cli_command

NAME = click.Argument(["name"], metavar="NAME", type=click.Choice(sorted(SCHEMAS)))


@cli_command("schema", NAME)
def command(name: str) -> None:
    """Print the JSON Schema of a command's JSON."""
    click.echo(json.dumps(schema(name), indent=2), file=result_stream())


command.help = f"{command.help}\n\nNAME is one of {', '.join(sorted(SCHEMAS))}."
