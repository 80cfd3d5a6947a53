"""``compare``: every method as ``measure`` has it, against the limit as ``predict`` has it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from conftest import Outcome

from prunelimit.commands import compare as pipeline
from prunelimit.results.schema import schema
from prunelimit.results.serialization import from_json
from prunelimit.results.types import CompareResult
from prunelimit.storage.files import resume_path

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]

QUICK = ("--steps", "12", "--directional-steps", "8", "--samples", "256")
MEASURE = (
    "--tolerance", "1pp", "--resolution", "0.02", "--calibration", "300", "--cg-steps", "3",
    "--refit-passes", "2", "--epsilon", "0.02",
)  # fmt: skip
METHODS = ("magnitude", "magnitude+compensated", "snip+staged", "magnitude+trained", "obd")
SPARSITIES = ("--sparsities", "0,0.5,0.9")


@pytest.fixture(scope="module")
def prediction(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prunelimit.cli.main import main

    path = tmp_path_factory.mktemp("prediction") / "predict.json"
    assert main(["predict", str(trained), *QUICK, "--epsilon", "0.02", "-q", "-o", str(path)]) == 0
    return path


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    cost = {key: value for key, value in document["cost"].items() if key != "seconds"}
    return {**document, "cost": cost}


def test_each_method_is_what_measure_gives_and_distances_are_from_the_limit(
    prunelimit: Run, trained: Path, prediction: Path
) -> None:
    outcome = prunelimit(
        "compare", trained, "--methods", ",".join(METHODS), "--predicted", prediction, *MEASURE,
        "-o", "c.json", "--csv", "c.csv", "--plot", "c.png", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    document = outcome.document
    jsonschema.Draft202012Validator(schema("compare")).validate(document)
    assert document == json.loads(Path("c.json").read_text())
    assert from_json(CompareResult, document).methods[0].method == "magnitude"
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    predicted = json.loads(prediction.read_text())
    assert document["limit"] == predicted["limit"]
    assert document["dense"] == predicted["dense"]
    assert document["limit_cost"]["products"] == predicted["curvature"]["products"]
    assert [each["method"] for each in document["methods"]] == list(METHODS)
    assert not document["interrupted"]
    rows = list(csv.DictReader(Path("c.csv").read_text().splitlines()))
    for each in document["methods"]:
        criterion, _, survivors = each["method"].partition("+")
        choices = ("--criterion", criterion, "--survivors", survivors or "fixed")
        alone = prunelimit("measure", trained, *choices, *MEASURE, "--json", "-q").document
        assert alone["dense"] == document["dense"]
        thresholds = []
        for threshold in each["thresholds"]:
            distance = threshold.pop("distance_pp")
            assert distance == pytest.approx(
                100 * (document["limit"]["sparsity"] - threshold["sparsity"])
            )
            thresholds.append(threshold)
        assert thresholds == alone["thresholds"]
        fields = set(each) - {"thresholds"}
        mine = without_time({key: each[key] for key in fields})
        assert mine == without_time({key: alone[key] for key in fields})
        curve = [float(r["accuracy"]) for r in rows if r["method"] == each["method"]]
        assert curve == [point["accuracy"] for point in each["curve"]]
        assert each["cost"]["seconds"] > 0
        moves, trains = survivors in ("compensated", "staged"), survivors == "trained"
        assert (each["cost"]["products"] > 0) is moves
        assert each["cost"]["samples"] == (225 if moves else 0)
        assert (each["cost"]["epochs"] > 0) is trains
        assert f"  {each['method']} " in outcome.stderr
    assert "points left to the limit" in outcome.stderr


def test_the_limit_is_predicted_where_none_is_given(
    prunelimit: Run, trained: Path, prediction: Path
) -> None:
    options = ("--epsilon", "0.02", *QUICK, *SPARSITIES, "--methods", "magnitude,snip,magnitude")
    document = prunelimit("compare", trained, *options, "--json", "-q").document
    predicted = json.loads(prediction.read_text())
    assert document["limit"] == predicted["limit"]
    assert document["reliability"] == predicted["reliability"]
    assert [each["method"] for each in document["methods"]] == ["magnitude", "snip"]
    assert all(len(each["curve"]) == 3 for each in document["methods"])


def test_an_interrupt_leaves_the_methods_done(
    prunelimit: Run, trained: Path, prediction: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = pipeline.measure

    def interrupted(problem: Any, config: Any, **given: Any) -> Any:
        if config.method.name == "snip":
            raise KeyboardInterrupt
        return measure(problem, config, **given)

    monkeypatch.setattr(pipeline, "measure", interrupted)
    options = ("--epsilon", "0.02", "--predicted", prediction, *SPARSITIES, "-q", "-o", "c.json")
    outcome = prunelimit("compare", trained, "--methods", "magnitude,snip", *options)
    assert outcome.code == 130 and "c.json holds the methods done" in outcome.stderr
    document = json.loads(Path("c.json").read_text())
    assert [each["method"] for each in document["methods"]] == ["magnitude"]
    assert document["interrupted"]
    outcome = prunelimit("compare", trained, "--methods", "snip,magnitude", *options, "--force")
    assert outcome.code == 130 and "what is done is kept" in outcome.stderr
    outcome = prunelimit("compare", trained, "--methods", "magnitude,snip", *options[:-2], "--json")
    assert outcome.code == 130 and "these are the methods done." in outcome.stderr
    assert outcome.document["interrupted"] and "--resume" not in outcome.stderr
    outcome = prunelimit("compare", trained, "--methods", "snip", *options[:-2])
    assert outcome.code == 130 and "nothing was written" in outcome.stderr


class Ended(Exception):
    """Stands for an end that gives no chance to write anything."""


def ending(monkeypatch: pytest.MonkeyPatch, at: str, how: type[BaseException]) -> list[str]:
    """Lets the work end when it comes to the method ``at``; the names of what is computed."""
    measure, predict, computed = pipeline.measure, pipeline.predict_loaded, []

    def measured(problem: Any, config: Any, **given: Any) -> Any:
        if config.method.name == at:
            raise how
        computed.append(config.method.name)
        return measure(problem, config, **given)

    def predicted(*arguments: Any, **given: Any) -> Any:
        computed.append("limit")
        return predict(*arguments, **given)

    monkeypatch.setattr(pipeline, "measure", measured)
    monkeypatch.setattr(pipeline, "predict_loaded", predicted)
    return computed


def numbers(path: str) -> dict[str, Any]:
    """What a comparison says, but for when and how fast."""
    document = json.loads(Path(path).read_text())
    methods = [without_time(each) for each in document["methods"]]
    limit = {**document["limit_cost"], "seconds": None}
    own = ("model", "data", "dense", "epsilon", "limit", "reliability", "interrupted", "config")
    return {**{key: document[key] for key in own}, "methods": methods, "limit_cost": limit}


RESUMABLE = (
    *MEASURE,
    *QUICK,
    *SPARSITIES,
    "--methods",
    "magnitude,magnitude+trained,magnitude+compensated",
)


@pytest.mark.parametrize("how", [KeyboardInterrupt, Ended])
def test_it_goes_on_with_the_methods_that_are_not_done(
    prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException]
) -> None:
    command = ("compare", trained, *RESUMABLE, "-q", "-o")
    assert prunelimit(*command, "whole.json").code == 0
    first, second, third = RESUMABLE[-1].split(",")
    for at, already in ((first, []), (second, [first]), (third, [second])):
        with monkeypatch.context() as patched:
            computed = ending(patched, at, how)
            outcome = prunelimit(*command, "c.json", "--resume")
        assert outcome.code == (130 if how is KeyboardInterrupt else 3)
        assert computed == (already or ["limit"])
        told = "run the same command with --resume to go on" in outcome.stderr
        written = how is KeyboardInterrupt and at != first
        assert told is (how is KeyboardInterrupt) and Path("c.json").exists() is written
    with monkeypatch.context() as patched:
        computed = ending(patched, "none", how)
        outcome = prunelimit(*command, "c.json", "--resume", "--plot", "c.png")
    assert outcome.code == 0, outcome.stderr
    assert computed == [third]
    assert numbers("c.json") == numbers("whole.json")
    assert sorted(each.name for each in Path().iterdir()) == ["c.json", "c.png", "whole.json"]


def test_what_is_computed_stays_until_the_result_is_written(
    prunelimit: Run, trained: Path, prediction: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--predicted", prediction, *MEASURE, *SPARSITIES, "--methods", "magnitude", "-q")
    command = ("compare", trained, *options, "-o", "c.json", "--plot", "c.png")
    with monkeypatch.context() as patched:

        def fails(*arguments: Any) -> None:
            raise Ended

        patched.setattr("prunelimit.reports.figure.draw", fails)
        assert prunelimit(*command).code == 3
    computed = ending(monkeypatch, "magnitude", Ended)
    assert prunelimit(*command, "--resume").code == 0
    assert not computed and not resume_path(Path("c.json")).exists()


def test_an_interrupted_comparison_is_neither_mixed_with_another_nor_lost(
    prunelimit: Run, trained: Path, prediction: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("p.json").write_text(prediction.read_text())
    options = ("--predicted", "p.json", *MEASURE, *SPARSITIES, "--methods", "magnitude,snip", "-q")
    command, state = ("compare", trained, *options, "-o", "c.json"), Path("c.json.resume")
    with monkeypatch.context() as patched:
        ending(patched, "snip", Ended)
        assert prunelimit(*command).code == 3
    kept = state.read_bytes()
    outcome = prunelimit(*command)
    assert outcome.code == 2 and "--resume" in outcome.stderr and "--force" in outcome.stderr
    for other, told in (
        (("--seed", "1"), "another seed (0, now 1)"),
        (("--methods", "snip"), "another methods"),
        (("--refit-passes", "3"), "another refit_passes ("),
        (("--steps", "9"), "another steps ("),
    ):
        outcome = prunelimit(*command, "--resume", *other)
        assert outcome.code == 2 and told in " ".join(outcome.stderr.split())
    Path("p.json").write_text(prediction.read_text() + "\n")
    outcome = prunelimit(*command, "--resume")
    assert outcome.code == 2 and "another predicted;" in " ".join(outcome.stderr.split())
    Path("p.json").write_text(prediction.read_text())
    assert state.read_bytes() == kept and not Path("c.json").exists()
    document = torch.load(state, weights_only=True)
    document["state"]["m"] = document["state"].pop("methods")
    torch.save(document, "other")
    for damaged in (b"", b"[]", b"{}", kept[: len(kept) // 2], Path("other").read_bytes()):
        state.write_bytes(damaged)
        outcome = prunelimit(*command, "--resume")
        assert outcome.code == 3 and "state of a comparison" in outcome.stderr
        assert state.read_bytes() == damaged and not Path("c.json").exists()
    outcome = prunelimit("compare", trained, *options, "--resume")
    assert outcome.code == 2 and "-o FILE.json" in outcome.stderr
    computed = ending(monkeypatch, "none", Ended)
    assert prunelimit(*command, "--force").code == 0
    assert computed == ["magnitude", "snip"] and not state.exists()
    assert prunelimit(*command, "--resume").code == 2  # it is done, and stays
    state.mkdir()
    outcome = prunelimit(*command, "--force")
    assert outcome.code == 2 and "cannot be removed" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--methods", "magnitude,two-shot"), 2, "two-shot"),
        (("--methods", "magnitude,,obd"), 2, "--methods"),
        (("--methods", ""), 2, "--methods"),
        (("--methods", "magnitude,none.py:scores"), 3, "none.py"),
        (("--methods", "magnitude,obd/2:4/erk"), 2, "leave out --allocation"),
        (("--methods", "magnitude+stage"), 2, "did you mean staged?"),
        (("--allocation", "erk"), 2, "--allocation"),
        (("--tolerance", "much"), 2, "much"),
        (("--methods", "magnitude,magnitude+staged", "--cg-steps", "some"), 2, "--cg-steps"),
        (("--sparsities", "2"), 2, "--sparsities"),
        (("--predicted", "none.json"), 3, "none.json"),
        (("--predicted", "list.json"), 3, "list.json"),
        (("--predicted", "other.json"), 3, "checkpoint"),
        (("--predicted", "same.json", "--epsilon", "0.5"), 3, "loss tolerance"),
        (("--predicted", "c.json"), 2, "c.json"),
    ],
)
def test_mistakes_are_told_before_the_work(
    prunelimit: Run, trained: Path, prediction: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    document = json.loads(prediction.read_text())
    Path("list.json").write_text("[]")
    Path("same.json").write_text(json.dumps(document))
    other = {**document, "model": {**document["model"], "sha256": "0" * 64}}
    Path("other.json").write_text(json.dumps(other))
    given = ("--methods", "magnitude", "--epsilon", "0.02", *SPARSITIES, *QUICK, *options)
    outcome = prunelimit("compare", trained, *given, "-o", "c.json")
    assert outcome.code == code, outcome.stderr
    assert said in outcome.stderr.splitlines()[-1]
    assert outcome.stdout == "" and "Traceback" not in outcome.stderr
    assert outcome.stderr.startswith("Error: ")
    assert not Path("c.json").exists()


def test_strict_needs_a_reliable_limit(prunelimit: Run, trained: Path, prediction: Path) -> None:
    document = json.loads(prediction.read_text())
    for ok, code in ((True, 0), (False, 4)):
        document["reliability"].update(ok=ok, reasons=[] if ok else ["It is not resolved."])
        Path("p.json").write_text(json.dumps(document))
        options = ("--methods", "magnitude", "--epsilon", "0.02", *SPARSITIES, "--strict", "-q")
        assert prunelimit("compare", trained, *options, "--predicted", "p.json").code == code
