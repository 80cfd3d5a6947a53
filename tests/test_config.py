"""Configurations refuse what makes no sense, by the field's name; the command line by its flag."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Outcome

from prunelimit import config
from prunelimit.cli.spelling import spelled, spelled_result
from prunelimit.config import RANGES, Config, MeasureConfig, PruneConfig
from prunelimit.errors import UsageError
from prunelimit.results.types import Reliability

KINDS = [
    kind
    for kind in vars(config).values()
    if isinstance(kind, type) and issubclass(kind, Config) and kind is not Config
]
OUTSIDE = {
    "0 or more": (-1, math.nan, math.inf),
    "a number of GiB, 0 or more": (-1.0, math.nan, math.inf, 1e300),
    "1 or more": (0, -1, math.nan),
    "a number from 0 to 2^63 - 1": (-1, 2**63, 2**64),
    "a number greater than 0": (0, -1, math.nan, math.inf),
    "0 or more and less than 1": (-0.1, 1, math.nan),
    "a number between 0 and 1": (0, 1, -0.1, 1.5, math.nan),
    "0 for all, or a positive number": (-1, math.nan),
    "from 30 to 2400": (29, 2401),
}
NONSENSE = "no such thing"
BAD = [
    (kind, field.name, value)
    for kind in KINDS
    for field in dataclasses.fields(kind)
    for value in (
        OUTSIDE[field.metadata["within"]]
        if field.metadata["within"]
        else (NONSENSE,)
        if field.metadata["parse"] or field.metadata["choices"]
        else ()
    )
]
COMMAND = {
    "ModelConfig": "predict",
    "DataConfig": "predict",
    "RunConfig": "predict",
    "CurvatureConfig": "predict",
    "LimitConfig": "predict",
    "MethodConfig": "measure",
    "SurvivorConfig": "measure",
    "PruneConfig": "prune",
    "MeasureConfig": "measure",
    "SensitivityConfig": "measure",
    "HistoryConfig": "history",
    "CheckConfig": "check",
    "CompareConfig": "compare",
    "TrainConfig": "train",
    "PlotConfig": "plot",
    "ReportConfig": "report",
    "ExportConfig": "export",
    "SharpnessConfig": "spectrum",
    "RegimeConfig": "regime",
}


def test_every_range_is_tried() -> None:
    assert set(OUTSIDE) == set(RANGES)
    assert set(COMMAND) == {kind.__name__ for kind in KINDS}
    assert len(BAD) > 80


@pytest.mark.parametrize(("kind", "name", "value"), BAD)
def test_what_makes_no_sense_is_refused_by_the_fields_name(
    kind: type[Config], name: str, value: Any
) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**{name: value})
    said = str(caught.value)
    if name == "methods":
        assert f"no criterion {NONSENSE!r}" in said
    elif value == NONSENSE and any(
        field.name == name and field.metadata["choices"] for field in dataclasses.fields(kind)
    ):
        assert f"no {name} {NONSENSE!r}" in said
    else:
        assert f"`{name}` " in said
    assert said.endswith(".") and "--" not in said


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [each for each in BAD if not (isinstance(each[2], float) and math.isnan(each[2]))],
)
def test_the_command_line_says_its_own_word_for_it(
    prunelimit: Callable[..., Outcome], kind: type[Config], name: str, value: Any
) -> None:
    command = COMMAND[kind.__name__]
    if command == "check" and name == "tolerance":
        kind = config.CheckConfig
    given = () if command == "train" else ("x.pt",)
    (field,) = (each for each in dataclasses.fields(kind) if each.name == name)
    flag = (*field.metadata["flags"], f"--{name.replace('_', '-')}")[0]
    long = (*field.metadata["flags"], f"--{name.replace('_', '-')}")[-1]
    output = ("-o", "out.pt") if command == "prune" else ()
    outcome = prunelimit(command, *given, f"{long}={value}", *output)
    assert outcome.code == 2
    assert outcome.stderr.startswith("Error: ") and outcome.stderr.count("\n") == 1
    assert "`" not in outcome.stderr
    if name != "methods":
        assert flag in outcome.stderr or long in outcome.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_what_json_holds_makes_the_same_again(kind: type[Config]) -> None:
    made = kind()
    assert kind(**json.loads(json.dumps(made.echo()))) == made
    assert dataclasses.replace(made) == made


def test_values_are_parsed_once_when_one_is_made() -> None:
    made = PruneConfig(amount="0.9", within="0.5pp", min_keep="1%", pattern="2:4", stages="3")
    assert (made.amount, made.within, made.stages) == (0.9, 0.005, 3)
    assert str(made.min_keep) == "1%" and str(made.pattern) == "2:4"
    assert PruneConfig(**json.loads(json.dumps(made.echo()))) == made
    assert MeasureConfig(tolerance=["1pp", "1pp"]).tolerance == (0.01,)


def test_choices_that_exclude_each_other_are_told_when_one_is_made() -> None:
    for kind in (PruneConfig, MeasureConfig):
        with pytest.raises(UsageError, match=r"`pattern` 2:4 .* leave out `allocation`"):
            kind(pattern="2:4", allocation="erk")


def test_fields_are_spelled_as_flags_and_nothing_else_is() -> None:
    assert spelled("give `min_keep` or `model`") == "give --min-keep or --model"
    assert spelled("see `nothing` and `a b`") == "see `nothing` and `a b`"
    told = Reliability(ok=False, reasons=("raise `steps`",), nonquadraticity=None, path=())
    assert spelled_result(told).reasons == ("raise --steps",)
    assert told.reasons == ("raise `steps`",)
