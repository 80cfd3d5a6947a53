"""Files that anybody may have written: numbers that no command writes are refused in a sentence."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome
from made import (
    EXPORTED,
    INSPECTED,
    PRUNED,
    REGIME,
    TRAINED,
    TRAINING,
    both,
    compared,
    history,
    measured,
    sensitivity,
    spectrum,
    verdict,
)

from prunelimit.commands.saved import load_result
from prunelimit.errors import InputError
from prunelimit.results.serialization import to_json
from prunelimit.results.soundness import require_sound

Run = Callable[..., Outcome]

SOUND = [
    both(), measured(), measured(TRAINING), compared(), spectrum(), verdict(), verdict(False),
    PRUNED, TRAINED, sensitivity(), history(), REGIME, INSPECTED, EXPORTED,
]  # fmt: skip


@pytest.mark.parametrize("result", SOUND, ids=lambda each: each.SCHEMA)
def test_what_commands_write_is_sound(result: Any) -> None:
    require_sound(result, "file.json")


EXPECTED = dataclasses.replace(
    both(), limit=dataclasses.replace(both().limit, expected=(0.9, 0.95), expected_middle=0.93)
)

FAULTS: list[tuple[Any, str, Any, str]] = [
    (both(), "limit.interval", [0.95, 0.93], "the wrong way round"),
    (both(), "limit.interval", [0.1, 0.2], "sparsity is 0.936, outside of this interval"),
    (both(), "limit.interval", [0.9, 1.5], "an end of this interval is not a fraction"),
    (both(), "limit.interval", [None, 0.95], "an end of this interval is not a fraction"),
    (both(), "limit.band", [0.99, 0.9], "the wrong way round"),
    (both(), "limit.sparsity", 93.6, "not a fraction from 0 to 1"),
    (both(), "limit.sparsity", None, "not a fraction from 0 to 1"),
    (both(), "limit.kept", -3, "a negative count"),
    (both(), "limit.kept", 3, "weights kept is not a sparsity of 0.936"),
    (both(), "limit.radius", -1.0, "which is negative"),
    (both(), "limit.confidence", 1.0, "which is not between 0 and 1"),
    (both(), "limit.confidence", None, "which is not between 0 and 1"),
    (EXPECTED, "limit.expected", [0.9, 0.91], "expected_middle is 0.93, outside of this interval"),
    (both(), "limit.errors", {"depth": -0.1}, "an error is negative"),
    (both(), "layers.1.sparsity", 0.5, "weights kept is not a sparsity of 0.5"),
    (both(), "curvature.trace_standard_error", -1.0, "which is negative"),
    (both(), "curvature.products", -1, "a negative count"),
    (both(), "one_shot.interval", [0.9, 0.8], "the wrong way round"),
    (both(), "layers.1.sparsity", -0.5, "not a fraction from 0 to 1"),
    (both(), "variants.0.interval", [0.99, 0.1], "the wrong way round"),
    (both(), "dense.accuracy", 95.0, "not a fraction from 0 to 1"),
    (measured(), "thresholds.1.interval", [0.0, 0.5], "outside of this interval"),
    (measured(), "curve.2.sparsity", 1.2, "not a fraction from 0 to 1"),
    (measured(), "curve.2.accuracy", -0.1, "not a fraction from 0 to 1"),
    (compared(), "methods.0.thresholds.0.interval", [1.0, 0.0], "the wrong way round"),
    (verdict(), "agreement.measured_interval", [0.1, 0.2], "outside of this interval"),
    (verdict(), "gates.1.interval", [0.1, 0.2], "value is 0.95, outside of this interval"),
    (history(), "points.0.limit_interval", [0.7, 0.6], "the wrong way round"),
    (history(), "points.0.plain", 2.0, "not a fraction from 0 to 1"),
    (sensitivity(), "layers.0.curve.0.sparsity", 1.01, "not a fraction from 0 to 1"),
    (REGIME, "density", -1.0, "not a fraction from 0 to 1"),
    (spectrum(), "sharpness.measures.0.interval", [50.0, 40.0], "the wrong way round"),
]


def spoilt(result: Any, field: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(to_json(result))
    *way, last = field.split(".")
    inner: Any = document
    for step in way:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[int(last) if isinstance(inner, list) else last] = value
    return document


@pytest.mark.parametrize(("result", "field", "value", "said"), FAULTS)
def test_what_makes_no_sense_is_refused(
    result: Any, field: str, value: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(spoilt(result, field, value)))
    with pytest.raises(InputError) as caught:
        load_result(path)
    text = str(caught.value)
    assert text.startswith(f"{path} is not sound: {field} is ") and said in text
    assert text.count(". ") == 0 and text.endswith("run the command that wrote it again.")


def test_the_accuracy_of_a_broken_network_may_be_no_number(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(spoilt(measured(), "curve.2.accuracy", None)))
    assert load_result(path).curve[2].accuracy != 0.95


def test_every_command_that_reads_results_refuses_them(tmp_path: Path, prunelimit: Run) -> None:
    Path("bad.json").write_text(json.dumps(spoilt(both(), "limit.interval", [0.95, 0.93])))
    measured().save("m.json")
    for words in (
        ("check", "bad.json", "m.json"),
        ("check", "m.json", "--min-sparsity", "0.5", "--baseline", "bad.json"),
        ("report", "bad.json", "-o", "r.html"),
        ("plot", "bad.json", "-o", "f.pdf"),
    ):
        outcome = prunelimit(*words)
        assert outcome.code == 3 and "the wrong way round" in outcome.stderr, words
        assert outcome.stderr.count("\n") == 1
    outcome = prunelimit("history", ".", "-d", "digits")
    assert outcome.code == 3 and "bad.json is not sound" in outcome.stderr
    assert not Path("r.html").exists() and not Path("f.pdf").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["layers"][0]["curve"][0].update(accuracy=None), "an accuracy or a loss of"),
        (lambda d: d["layers"][0]["curve"][0].update(rise=None), "an accuracy or a loss of"),
        (lambda d: d["layers"][0]["curve"][0].update(sparsity=7), "not a fraction from 0 to 1"),
    ],
)
def test_targets_of_curves_without_numbers_are_refused(
    change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    import torch

    import prunelimit as pl

    model = torch.nn.Linear(4, 2)
    data = torch.randn(50, 4), torch.arange(50) % 2
    problem = pl.Problem(model, data, data)
    document = pl.sensitivity(problem, sparsities=[0.5], epsilon="5%").to_dict()
    change(document)
    path = tmp_path / "s.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=said):
        pl.prune(problem, 0.5, allocation=f"targets:{path}")
    path.write_text('{"weight": 1.0}')
    with pytest.raises(InputError, match="gives every layer a sparsity of 1"):
        pl.prune(problem, 0.5, allocation=f"targets:{path}")
