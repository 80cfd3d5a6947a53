"""Floors and baselines: what turns each gate red, what must not, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import UNRELIABLE, measured
from made import both as predicted
from scipy.stats import binomtest

from prunelimit.config import CheckConfig
from prunelimit.errors import InputError, UsageError
from prunelimit.gate import judge
from prunelimit.gate.numbers import accuracy_interval
from prunelimit.results.types import Gate, MeasurePoint, MeasureResult, Threshold
from prunelimit.values import AccuracyFloor, SparsityFloor


def measurement(
    sparsity: float = 0.8, interval: tuple[float, float] = (0.78, 0.83), accuracy: float = 0.97
) -> MeasureResult:
    """A threshold at 0.5 pp, one at 1 pp five points above, and an accuracy at 50% and 90%."""
    made = measured()
    thresholds = tuple(
        Threshold(
            rule="accuracy",
            tolerance=tolerance,
            sparsity=sparsity + more,
            interval=(interval[0] + more, interval[1] + more),
        )
        for tolerance, more in ((0.005, 0.0), (0.01, 0.05))
    )
    curve = tuple(
        MeasurePoint(
            sparsity=removed, accuracy=right, loss=0.1,
            nonzero=round((1 - removed) * made.model.prunable),
        )
        for removed, right in ((0.5, 0.98), (0.9, accuracy))
    )  # fmt: skip
    data = dataclasses.replace(made.data, test_samples=10_000)
    return dataclasses.replace(made, thresholds=thresholds, curve=curve, data=data)


def judged(given: MeasureResult | None = None, baselines: Any = (), **options: Any) -> list[Gate]:
    config = CheckConfig(**options)
    _, gates = judge(None, measurement() if given is None else given, config, tuple(baselines))
    return list(gates)


@pytest.mark.parametrize(
    ("floor", "passed", "said"),
    [
        ("0.8", True, "at least 80.00%"),
        ("0.83", True, "within the interval: no failure"),
        ("0.8301", False, "at least 83.01%"),
        ("0.85@1pp", True, "up to 85.00%"),
        ("0.88@1pp", True, "no failure"),
        ("0.8801@1pp", False, "88.01%"),
    ],
)
def test_a_sparsity_fails_only_where_its_whole_interval_is_below(
    floor: str, passed: bool, said: str
) -> None:
    (gate,) = judged(min_sparsity=(floor,))
    assert gate.passed is passed and said in gate.reason
    assert gate.bound == SparsityFloor.parse(floor).sparsity


@pytest.mark.parametrize(
    ("floor", "passed", "said"),
    [
        ("0.9=0.97", True, "The accuracy at 90.00% is 97.00%"),
        ("0.9=0.973", True, "no failure"),
        ("0.9=0.974", False, "97.40%"),
        ("0.6=0.96", True, "at 90.00%, the next sparsity measured,"),
    ],
)
def test_an_accuracy_fails_only_beyond_its_sampling_error(
    floor: str, passed: bool, said: str
) -> None:
    (gate,) = judged(min_accuracy_at=(floor,))
    assert gate.passed is passed and said in gate.reason


def test_what_was_not_measured_is_refused() -> None:
    for options, said in (
        ({"min_accuracy_at": ("0.95=0.5",)}, "no accuracy at 95.00% or beyond"),
        ({"min_accuracy_at": ("0.6=0.975",)}, "decides nothing"),
        ({"min_sparsity": ("0.5@2pp",)}, "only at 0.5pp, 1pp"),
    ):
        with pytest.raises(InputError, match=said):
            judged(**options)
    bare = dataclasses.replace(measurement(), thresholds=())
    with pytest.raises(InputError, match="no accuracy threshold"):
        judged(bare, min_sparsity=("0.1",))
    with pytest.raises(UsageError, match="nothing to check"):
        judged()
    with pytest.raises(UsageError, match="are about a measurement"):
        judge(predicted(), None, CheckConfig(min_sparsity=("0.5",)))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_fraction_never_passes(broken: float) -> None:
    found = measurement()
    threshold = dataclasses.replace(found.thresholds[0], sparsity=broken)
    upper = dataclasses.replace(found.thresholds[0], interval=(0.5, broken))
    point = dataclasses.replace(found.curve[1], accuracy=broken)
    for changes, options in (
        ({"thresholds": (threshold,)}, {"min_sparsity": ("0.1",)}),
        ({"thresholds": (upper,)}, {"min_sparsity": ("0.1",)}),
        ({"curve": (point,)}, {"min_accuracy_at": ("0.9=0.1",)}),
    ):
        with pytest.raises(InputError, match="not a fraction"):
            judged(dataclasses.replace(found, **changes), **options)
    others = found.thresholds[1:]
    worse = dataclasses.replace(found, thresholds=(threshold, *others))
    for now, before in ((found, worse), (worse, found)):
        with pytest.raises(InputError, match="not a fraction"):
            judged(now, [dataclasses.replace(before, model=RETRAINED)])


@pytest.mark.parametrize("text", ["", "x", "1.5", "-0.1", "nan", "0.8@", "0.8@1", "0.8@-1pp"])
def test_floors_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="`min_sparsity`"):
        SparsityFloor.parse(text)


@pytest.mark.parametrize("text", ["", "0.8", "0.8=", "=0.9", "0.8=1.2", "2=0.9", "0.8=nan"])
def test_accuracy_floors_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="`min_accuracy_at`"):
        AccuracyFloor.parse(text)


@pytest.mark.parametrize(("right", "samples"), [(97, 100), (0, 50), (50, 50), (9731, 10_000)])
def test_the_interval_is_wilsons(right: int, samples: int) -> None:
    exact = binomtest(right, samples).proportion_ci(method="wilson")
    assert accuracy_interval(right / samples, samples) == pytest.approx(
        (exact.low, exact.high), abs=1e-12
    )


RETRAINED = dataclasses.replace(measured().model, sha256="9" * 64)
"""The same network after another training."""


def against(change: Callable[[MeasureResult], MeasureResult], **options: Any) -> dict[str, Gate]:
    """The gates of a measurement against the usual one, by name."""
    before = dataclasses.replace(measurement(), model=RETRAINED)
    return {gate.name: gate for gate in judged(change(measurement()), [before], **options)}


def test_a_drop_fails_where_it_is_more_than_accepted_and_than_the_intervals_explain() -> None:
    def by(drop: float) -> Gate:
        gates = against(lambda _: measurement(0.8 - drop, (0.79 - drop, 0.81 - drop)))
        return gates["baseline sparsity within 0.5 pp of accuracy"]

    assert by(0.01).passed and by(-0.05).passed
    explained = math.hypot(0.02, 0.01)
    assert by(explained - 1e-6).passed and "no failure" in by(explained - 1e-6).reason
    assert not by(explained + 1e-6).passed and "fell by" in by(0.03).reason


def test_every_number_that_is_in_both_is_a_gate() -> None:
    names = against(lambda now: now)
    assert list(names) == [
        "baseline sparsity within 0.5 pp of accuracy",
        "baseline sparsity within 1 pp of accuracy",
        "baseline accuracy at 50.00%",
        "baseline accuracy at 90.00%",
    ]
    before = dataclasses.replace(predicted(), model=RETRAINED)
    _, gates = judge(predicted(), None, CheckConfig(), (before,))
    assert [gate.name for gate in gates] == ["baseline limit", "baseline plain threshold"]
    lower = dataclasses.replace(before.limit, sparsity=0.99, interval=(0.99, 0.99))
    _, gates = judge(predicted(), None, CheckConfig(), (dataclasses.replace(before, limit=lower),))
    assert not gates[0].passed and gates[1].passed


def test_a_baseline_that_is_what_is_checked_says_so() -> None:
    assert all(
        "self-check" in gate.reason and gate.self_check
        for gate in judged(baselines=[measurement()])
    )
    assert not any(gate.self_check for gate in against(lambda now: now).values())


def test_a_baseline_of_another_network_is_told_from_an_earlier_one() -> None:
    def model(**changes: Any) -> MeasureResult:
        given = measurement()
        return dataclasses.replace(given, model=dataclasses.replace(given.model, **changes))

    other = judged(baselines=[model(sha256="cd" * 32, spec="big", prunable=12_345)])
    assert other and all("another network, big with 12,345 prunable" in g.reason for g in other)
    earlier = judged(baselines=[model(sha256="cd" * 32)])
    assert earlier and not any("another network" in gate.reason for gate in earlier)


def test_baselines_of_something_else_are_refused() -> None:
    before = dataclasses.replace(measurement(), model=RETRAINED)
    for change, said in (
        ({"data": dataclasses.replace(before.data, spec="other")}, "data other"),
        ({"method": "snip"}, "measured snip"),
        ({"thresholds": (), "curve": ()}, "has no number in common"),
    ):
        with pytest.raises(InputError, match=said):
            judged(baselines=[dataclasses.replace(before, **change)])
    with pytest.raises(InputError, match="has no number in common"):
        judged(baselines=[predicted()])


def test_where_the_baseline_is_broken_it_says_nothing() -> None:
    lost = dataclasses.replace(measurement().dense, accuracy=0.99)
    before = dataclasses.replace(measurement(accuracy=0.93), model=RETRAINED, dense=lost)
    now = dataclasses.replace(measurement(accuracy=0.3), dense=lost)
    names = [gate.name for gate in judged(now, [before])]
    assert "baseline accuracy at 50.00%" in names and "baseline accuracy at 90.00%" not in names


def test_a_number_that_is_not_reliable_is_told_by_its_gate() -> None:
    doubted = predicted(reliability=UNRELIABLE)
    before = dataclasses.replace(predicted(), model=RETRAINED)
    _, gates = judge(doubted, None, CheckConfig(), (before,))
    assert not gates[0].reliable and "not reliable" in gates[0].reason
    _, gates = judge(predicted(), None, CheckConfig(), (before,))
    assert gates[0].reliable and "not reliable" not in gates[0].reason


def test_what_a_measurement_says_twice_or_of_no_samples_is_refused() -> None:
    found = measurement()
    twice = dataclasses.replace(found, curve=(*found.curve, found.curve[0]))
    for options in ({"min_accuracy_at": ("0.5=0.1",)}, {"baselines": [found]}):
        with pytest.raises(InputError, match="two points at one sparsity"):
            judged(twice, **options)
    for samples in (0, -5):
        data = dataclasses.replace(found.data, test_samples=samples)
        with pytest.raises(InputError, match="test samples"):
            judged(dataclasses.replace(found, data=data), min_accuracy_at=("0.9=0.1",))


def test_a_threshold_that_only_the_baseline_has_is_told() -> None:
    fewer = dataclasses.replace(measurement(), thresholds=measurement().thresholds[:1])
    with pytest.raises(
        InputError, match="within 1 pp of accuracy and the results that are checked have none"
    ):
        judged(fewer, [dataclasses.replace(measurement(), model=RETRAINED)])


class TestCommand:
    def test_each_gate_has_its_line_its_case_and_its_part_in_the_exit_code(
        self, prunelimit: Any, results: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        _, measured = results
        outcome = prunelimit(
            "check", measured, "--min-sparsity", "0.05", "--min-sparsity", "0.999@1pp",
            "--min-accuracy-at", "0.1=0.2", "--baseline", measured, "--max-drop", "2pp",
            "--junit", "j.xml", "--code-quality", "q.json", "--json",
        )  # fmt: skip
        assert outcome.code == 1
        gates = outcome.document["gates"]
        assert [gate["passed"] for gate in gates[:3]] == [True, False, True]
        assert all(gate["self_check"] for gate in gates[3:])
        assert outcome.document["agreement"] is None
        assert len(json.loads(Path("q.json").read_text())) == 1
        assert outcome.stderr.count("::error title=") == 1
        for gate in gates:
            assert " ".join(gate["reason"].split())[:40] in " ".join(outcome.stderr.split())
        quiet = prunelimit("check", measured, "--min-sparsity", "0.05", "-q")
        assert quiet.code == 0 and quiet.stderr.startswith("PASSED")

    def test_a_checkpoint_is_measured_where_the_floors_are(
        self, prunelimit: Any, trained: Path
    ) -> None:
        outcome = prunelimit(
            "check", trained, "--no-agreement", "--min-sparsity", "0.01@3pp",
            "--min-accuracy-at", "0.123=0.2", "--json", "-q",
        )  # fmt: skip
        assert outcome.code == 0
        first, second = outcome.document["gates"]
        assert "within 3 pp" in first["reason"] and "at 12.3" in second["reason"]
        assert "next sparsity" not in second["reason"]

    def test_bad_input(self, prunelimit: Any, results: tuple[Path, Path]) -> None:
        predicted, measured = results
        for arguments, code, said in (
            ((measured,), 2, "nothing to check"),
            ((predicted, "--min-sparsity", "0.5"), 2, "--min-sparsity"),
            ((measured, "--min-sparsity", "2"), 2, "--min-sparsity"),
            ((measured, "--min-accuracy-at", "0.5"), 2, "--min-accuracy-at"),
            ((measured, "--baseline", "none.json"), 3, "none.json"),
            ((measured, "--baseline", predicted), 3, "has no number in common"),
            ((measured, "--min-sparsity", "0.5", "--max-drop", "x"), 2, "--max-drop"),
        ):
            outcome = prunelimit("check", *arguments)
            assert outcome.code == code and said in outcome.stderr

    def test_strict_needs_reliable_numbers(
        self, prunelimit: Any, results: tuple[Path, Path]
    ) -> None:
        document = json.loads(results[0].read_text())
        document["reliability"]["ok"] = False
        document["reliability"]["reasons"] = ["The spectrum is not resolved."]
        Path("p.json").write_text(json.dumps(document))
        given = ("check", "p.json", "--baseline", results[0], "-q")
        assert prunelimit(*given).code == 0
        assert prunelimit(*given, "--strict").code == 4
