"""``compare``: every method as ``measure`` has it, against the limit as ``predict`` has it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Outcome

from prunelimit.pipeline import compare as pipeline
from prunelimit.results import CompareResult, from_json
from prunelimit.schemas import schema

Run = Callable[..., Outcome]

QUICK = ("--steps", "12", "--directional-steps", "8", "--samples", "256")
MEASURE = (
    "--tolerance", "1pp", "--resolution", "0.02", "--calibration", "300", "--cg-steps", "3",
    "--refit-epochs", "1", "--refit-lr", "0.004", "--epsilon", "0.02",
)  # fmt: skip
METHODS = ("one-shot", "compensated", "staged", "refit", "obd")
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
    assert from_json(CompareResult, document).methods[0].method == "one-shot"
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    predicted = json.loads(prediction.read_text())
    assert document["limit"] == predicted["limit"]
    assert document["dense"] == predicted["dense"]
    assert document["limit_cost"]["products"] == predicted["curvature"]["products"]
    assert [each["method"] for each in document["methods"]] == list(METHODS)
    assert not document["interrupted"]
    rows = list(csv.DictReader(Path("c.csv").read_text().splitlines()))
    for each in document["methods"]:
        alone = prunelimit(
            "measure", trained, "--method", each["method"], *MEASURE, "--json", "-q"
        ).document
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
        moves, trains = each["method"] in ("compensated", "staged"), each["method"] == "refit"
        assert (each["cost"]["products"] > 0) is moves
        assert each["cost"]["samples"] == (225 if moves else 0)
        assert (each["cost"]["epochs"] > 0) is trains
        assert f"  {each['method']} " in outcome.stderr
    assert "points left to the limit" in outcome.stderr


def test_the_limit_is_predicted_where_none_is_given(
    prunelimit: Run, trained: Path, prediction: Path
) -> None:
    options = ("--epsilon", "0.02", *QUICK, *SPARSITIES, "--methods", "one-shot,snip,one-shot")
    document = prunelimit("compare", trained, *options, "--json", "-q").document
    predicted = json.loads(prediction.read_text())
    assert document["limit"] == predicted["limit"]
    assert document["reliability"] == predicted["reliability"]
    assert [each["method"] for each in document["methods"]] == ["one-shot", "snip"]
    assert all(len(each["curve"]) == 3 for each in document["methods"])


def test_an_interrupt_leaves_the_methods_done(
    prunelimit: Run, trained: Path, prediction: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = pipeline.measure

    def interrupted(problem: Any, config: Any, **given: Any) -> Any:
        if config.method == "snip":
            raise KeyboardInterrupt
        return measure(problem, config, **given)

    monkeypatch.setattr(pipeline, "measure", interrupted)
    options = ("--epsilon", "0.02", "--predicted", prediction, *SPARSITIES, "-q", "-o", "c.json")
    outcome = prunelimit("compare", trained, "--methods", "one-shot,snip", *options)
    assert outcome.code == 130 and "c.json holds the methods done" in outcome.stderr
    document = json.loads(Path("c.json").read_text())
    assert [each["method"] for each in document["methods"]] == ["one-shot"]
    assert document["interrupted"]
    outcome = prunelimit("compare", trained, "--methods", "snip,one-shot", *options, "--force")
    assert outcome.code == 130 and "nothing was written" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--methods", "one-shot,two-shot"), 2, "two-shot"),
        (("--methods", "one-shot,,refit"), 2, "--methods"),
        (("--methods", ""), 2, "--methods"),
        (("--methods", "one-shot,none.py:scores"), 3, "none.py"),
        (("--methods", "one-shot,staged", "--allocation", "erk"), 2, "--allocation"),
        (("--tolerance", "much"), 2, "much"),
        (("--methods", "one-shot,staged", "--cg-steps", "0"), 2, "--cg-steps"),
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
    given = ("--methods", "one-shot", "--epsilon", "0.02", *SPARSITIES, *QUICK, *options)
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
        options = ("--methods", "one-shot", "--epsilon", "0.02", *SPARSITIES, "--strict", "-q")
        assert prunelimit("compare", trained, *options, "--predicted", "p.json").code == code
