"""Command-line options, made from the configuration dataclasses and turned back into them."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from prunelimit import plugins
from prunelimit.config import (
    CheckConfig,
    CompareConfig,
    CurvatureConfig,
    DataConfig,
    ExportConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    PlotConfig,
    PruneConfig,
    RegimeConfig,
    ReportConfig,
    RunConfig,
    SharpnessConfig,
    TrainConfig,
)

from .command import GENERAL, Command
from .settings import use_settings

__all__ = [
    "CHECK",
    "CHECKPOINT",
    "COMPARE",
    "CURVATURE",
    "CURVE_CSV",
    "DATA",
    "EXPORT",
    "LIMIT",
    "LIMIT_BESIDE",
    "MEASURE",
    "NETWORK",
    "OTHER_TOLERANCE",
    "PLOT",
    "PRUNE",
    "REGIME",
    "REPORT",
    "RESULTS",
    "RUN",
    "SHARPNESS",
    "TRAIN",
    "Section",
    "build",
    "checkpoint_options",
    "cli_command",
    "document_options",
    "exported_options",
    "flag",
    "general_options",
    "path_option",
    "titled",
]

Config = TypeVar("Config")


EVERYDAY = frozenset(
    {
        *("checkpoint", "files", "directory", "model", "data", "data_dir", "seed", "device"),
        *("criterion", "allocation", "pattern", "survivors", "amount", "within", "min_keep"),
        *("epsilon", "samples", "max_seconds", "curvature", "alpha", "sparsities", "tolerance"),
        *("methods", "predicted", "l1", "weight_decay", "epochs", "lr", "keep_zeros", "by_layer"),
        *("sharpness", "rho", "start", "barrier", "similar"),
        *("output", "plot", "csv_path", "junit", "report", "figure", "width", "no_title"),
        *("format", "sparse", "json", "strict", "resume", "dry_run", "key"),
        *("min_sparsity", "min_accuracy_at", "baseline", "max_drop", "per_layer", "keep"),
        *("no_agreement", "formula"),
    }
)
"""Options that --help shows; --help-all shows the rest too."""


@dataclass(frozen=True)
class Section:
    """The options of one dataclass under one heading; those in ``without`` keep their defaults."""

    title: str
    config: type[Any]
    without: tuple[str, ...] = ()

    def options(self) -> list[click.Option]:
        """One option per field, with the field's default, help, choices and flags; what the
        dataclass inherits comes last."""
        hints = typing.get_type_hints(self.config)
        own = inspect.get_annotations(self.config)
        return [
            _field_option(self.title, field, hints[field.name])
            for field in sorted(dataclasses.fields(self.config), key=lambda f: f.name not in own)
            if field.name not in self.without
        ]


NETWORK = Section("Network", ModelConfig)
DATA = Section("Data", DataConfig)
RUN = Section("Computation", RunConfig)
CURVATURE = Section("Curvature", CurvatureConfig)
SHARPNESS = Section("Sharpness", SharpnessConfig)
LIMIT = Section("Limit", LimitConfig)
PRUNE = Section("Pruning", PruneConfig)
REGIME = Section("Regime", RegimeConfig)
MEASURE = Section("Measurement", MeasureConfig)
CHECK = Section("Gate", CheckConfig)
COMPARE = Section("Comparison", CompareConfig)
TRAIN = Section("Training", TrainConfig)
PLOT = Section("Figure", PlotConfig)
REPORT = Section("Report", ReportConfig)
EXPORT = Section("Output", ExportConfig)

OTHER_TOLERANCE = ("tolerance",)
"""What keeps its default in a command whose --tolerance is that of something else."""

LIMIT_BESIDE = Section("Limit", LimitConfig, without=OTHER_TOLERANCE)
"""The limit in such a command."""


if typing.TYPE_CHECKING:
    _Choice = click.Choice[str]
    _Type = click.ParamType[str]
else:  # not generic in older clicks
    _Choice, _Type = click.Choice, click.ParamType


class _Name(_Choice):
    """The name of a plug-in of a kind, or FILE.py:ATTR with ``attributes``, which only the library
    can find. Names are looked for when they are wanted."""

    case_sensitive = True

    def __init__(self, kind: str, attributes: bool) -> None:
        self.kind = kind
        self.attributes = attributes

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names known now."""
        return plugins.names(self.kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.choices or (isinstance(value, str) and self._written(value)):
            return value
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            if not self.attributes:
                raise
            raise click.BadParameter(
                f"{error.message.rstrip('.')}, or FILE.py:ATTR.", ctx=ctx, param=param
            ) from None

    def _written(self, value: str) -> bool:
        """Whether it is FILE.py:ATTR, or NAME:ARGUMENT of a name that takes one."""
        return (self.attributes and ":" in value) or plugins.split(self.kind, value)[1] is not None

    def get_metavar(self, *arguments: Any, **keywords: Any) -> str:
        takes = {each.name: each.facts.get("argument") for each in plugins.describe(self.kind)}
        known = (name + (f":{takes[name]}" if takes[name] else "") for name in self.choices)
        return f"[{'|'.join((*known, *(['FILE.py:ATTR'] if self.attributes else [])))}]"


class _Figure(_Name):
    """The name of a figure of a command's results."""

    def __init__(self, command: str) -> None:
        super().__init__("figure", False)
        self.command = command

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those that draw results of this command, or do not say which they draw."""
        known = plugins.describe("figure")
        found = (e.name for e in known if self.command in e.facts.get("of", (self.command,)))
        return tuple(dict.fromkeys(found))


class _Written(_Type):
    """A text in one of the forms that the plug-ins of a kind read, in words such as N:M."""

    name = "text"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @property
    def written(self) -> str:
        """The forms."""
        found = plugins.describe(self.kind)
        return "|".join(str(each.facts.get("metavar", each.name)) for each in found)

    def get_metavar(self, *arguments: Any, **keywords: Any) -> str:
        return self.written


def _field_option(title: str, field: dataclasses.Field[Any], annotation: Any) -> click.Option:
    metadata = field.metadata
    flags = metadata["flags"] or ("--" + field.name.replace("_", "-"),)
    if annotation is bool:
        return titled(title, [field.name, *flags], is_flag=True, help=metadata["help"])
    repeatable = isinstance(field.default, tuple)
    help_text = metadata["help"] + (" Repeatable." if repeatable else "")
    kind = str if metadata["parse"] else _scalar(annotation)
    if metadata["plugins"] and metadata["parse"]:
        kind = _Written(metadata["plugins"])
    elif metadata["plugins"]:
        kind = _Name(metadata["plugins"], metadata["attributes"])
    elif metadata["choices"]:
        kind = click.Choice(metadata["choices"])
    return titled(
        title,
        [field.name, *flags],
        type=kind,
        default=field.default,
        multiple=repeatable,
        show_default=field.default not in (None, ()),
        metavar=metadata["metavar"],
        help=help_text,
    )


def _scalar(annotation: Any) -> Any:
    """The type of one value: X of X, of X | None and of tuple[X, ...]."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple):
        inner = typing.get_args(annotation)
        return next(each for each in inner if each not in (type(None), Ellipsis))
    return annotation


def titled(title: str, declarations: list[str], **settings: Any) -> click.Option:
    """An option under the heading ``title``."""
    option = click.Option(declarations, **settings)
    option.title = title  # type: ignore[attr-defined]
    return option


def build(config: type[Config], given: Mapping[str, Any], without: Iterable[str] = ()) -> Config:
    """The dataclass that the parsed options ``given`` describe; absent fields keep defaults."""
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    return config(**{n: given[n] for n in names if n in given and n not in without})


CHECKPOINT = click.Argument(["checkpoint"], metavar="CKPT", type=click.Path(path_type=Path))
"""The one positional argument of most commands."""

RESULTS = click.Argument(["files"], metavar="FILES...", nargs=-1, type=click.Path(path_type=Path))
"""JSON files of results."""


def path_option(title: str, declarations: list[str], metavar: str, help: str) -> click.Option:
    """An option that names a file to write."""
    return titled(title, declarations, metavar=metavar, help=help, type=click.Path(path_type=Path))


TABLES = (".csv", ".parquet")
"""What curves are written as, by the file's suffix."""


def _tables(
    ctx: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]
) -> tuple[Path, ...]:
    """Refuse beforehand what cannot be written at the end."""
    for path in paths:
        if path.suffix.lower() not in TABLES:
            raise click.BadParameter(
                f"A curve cannot be written as {path.name}; end its name with "
                f"{' or '.join(TABLES)}.",
                ctx,
                parameter,
            )
        if path.suffix.lower() == ".parquet":
            from prunelimit.inputs.extras import extra

            extra("pyarrow", "parquet")
    return paths


CURVE_CSV = titled(
    "Output",
    ["csv_path", "--csv", "--parquet"],
    metavar="FILE",
    help="Write the measured curve here, as .csv or .parquet.",
    type=click.Path(path_type=Path),
    multiple=True,
    callback=_tables,
)


def flag(title: str, declaration: str, help: str) -> click.Option:
    """An option without a value."""
    return titled(title, [declaration], is_flag=True, help=help)


def figure_options(command: str) -> list[click.Option]:
    """Where a figure of a command's result goes, and which; the first of them is the default."""
    figures = _Figure(command)
    return [
        path_option("Output", ["--plot"], "FILE", "Draw a figure here (png, pdf, svg)."),
        titled(
            "Output",
            ["--figure"],
            type=figures,
            callback=lambda ctx, parameter, name: name or figures.choices[0],
            help="Which figure --plot draws (default: the first).",
        ),
    ]


def document_options(*, figures_of: str | None = None, strict: bool = False) -> list[click.Option]:
    """Where a command's result goes; ``figures_of`` is the command, where it has figures."""
    options = [
        path_option("Output", ["output", "-o", "--output"], "FILE.json", "Write the result here."),
        flag("Output", "--json", "Print the result as JSON, and nothing else, on stdout."),
    ]
    if figures_of is not None:
        options += figure_options(figures_of)
    if strict:
        options.append(flag("Output", "--strict", "Exit with 4 when the estimate is unreliable."))
    return options


def checkpoint_options(default: str) -> list[click.Option]:
    """Where a command's checkpoint goes."""
    return [
        titled(
            "Output",
            ["output", "-o", "--output"],
            metavar="CKPT",
            type=click.Path(path_type=Path),
            default=Path(default),
            show_default=True,
            help="Write the checkpoint here: .safetensors, .pt, .pth, or .pt.gz, which is smaller.",
        ),
        flag("Output", "--json", "Print the result as JSON, and nothing else, on stdout."),
    ]


def exported_options(formats: str) -> list[click.Option]:
    """Where a command's checkpoint goes, of which there is no usual name."""
    return [
        titled(
            "Output",
            ["output", "-o", "--output"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            required=True,
            help=f"Write it here: {formats}.",
        ),
        flag("Output", "--json", "Print the result as JSON, and nothing else, on stdout."),
    ]


def general_options() -> list[click.Option]:
    """The options of every command that computes something."""
    return [
        flag(GENERAL, "--force", "Replace outputs that exist."),
        titled(GENERAL, ["quiet", "-q", "--quiet"], is_flag=True, help="Only errors on stderr."),
        titled(
            GENERAL,
            ["verbose", "-v", "--verbose"],
            is_flag=True,
            help="Show details, and tracebacks of errors.",
        ),
        titled(
            GENERAL,
            ["--config"],
            metavar="FILE.toml",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=use_settings,
            help="Defaults of options. They go before [tool.prunelimit] of pyproject.toml.",
        ),
    ]


def cli_command(
    name: str,
    *parts: Section | click.Parameter | list[click.Option],
    examples: Iterable[str] = (),
) -> Callable[[Callable[..., int | None]], Command]:
    """Make a function the command ``name`` with the arguments and options of ``parts``.

    Of two options with the same name the first stays: one flag then feeds both dataclasses.
    ``examples`` are command lines that end its help.
    """
    parameters: dict[str, click.Parameter] = {}
    for part in parts:
        each = part.options() if isinstance(part, Section) else part
        for parameter in each if isinstance(each, list) else [each]:
            parameters.setdefault(parameter.name or "", parameter)

    def wrap(function: Callable[..., int | None]) -> Command:
        return Command(
            name,
            params=list(parameters.values()),
            callback=function,
            help=function.__doc__,
            everyday=EVERYDAY,
            examples=tuple(examples),
        )

    return wrap
