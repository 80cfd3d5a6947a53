"""Layers alone: their curves, what is known of none, and the allocation that shares by them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from conftest import Outcome
from made import sensitivity
from torch import nn

import prunelimit as pl
from prunelimit.errors import InputError, UsageError
from prunelimit.results.schema import schema
from prunelimit.results.sensitivity import SharedCurve, shared

Run = Callable[..., Outcome]


def problem(**changes: Any) -> pl.Problem:
    """Two layers and one that is zero from the start, one excluded, on data that they fit."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)
    )
    with torch.no_grad():
        model[2].weight.copy_(torch.eye(12))  # most of it is zero already
    inputs = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    return pl.Problem(model, (inputs, targets), (inputs, targets), **changes)


def by_hand(given: pl.Problem, name: str, sparsity: float) -> tuple[float, float]:
    """Accuracy and loss with that share of one layer's smallest weights at zero, by plain torch."""
    model = given.model
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    weight = dict(model.named_parameters())[name]
    with torch.no_grad():
        order = weight.abs().flatten().argsort(stable=True)
        weight.view(-1)[order[: round(sparsity * weight.numel())]] = 0
        ((inputs, targets),) = given.problem.train.batches(1000)
        outputs = model(inputs)
        for n, p in model.named_parameters():
            p.copy_(before[n])
    loss = nn.functional.cross_entropy(outputs, targets).item()
    return (outputs.argmax(1) == targets).float().mean().item(), loss


def test_a_layers_curve_is_that_of_pruning_it_by_hand() -> None:
    given = problem()
    found = pl.sensitivity(given, sparsities=[0.5, 0.75, 1.0])
    for layer in found.layers:
        for point in layer.curve:
            accuracy, loss = by_hand(given, layer.name, point.sparsity)
            assert point.accuracy == pytest.approx(accuracy)
            assert point.loss == pytest.approx(loss, rel=1e-5)
            assert point.drop == pytest.approx(found.dense.accuracy - point.accuracy)
            assert point.rise == pytest.approx(point.loss - found.dense.loss)
    first = found.layers[0]
    assert (first.weights, first.curve[0].changed) == (72, 36)
    assert first.curve[-1].standard_error > 0


def test_what_nothing_is_known_of_is_marked_and_is_not_called_robust() -> None:
    given = problem(exclude="^4$")
    found = pl.sensitivity(given, sparsities=[0.5, 0.9])
    first, identity, last = found.layers
    assert first.measured and first.holds is not None
    assert (identity.zeros, identity.curve, identity.holds) == (132, (), None)
    assert identity.why == "unchanged: what would go is zero already"
    assert (last.why, last.prunable) == ("not pruned: excluded", False)
    assert [each.name for each in found.top(9, least=True)] == ["0.weight"]
    text = found.summary()
    assert "2.weight: nothing is known of it" in text and "not pruned: excluded" in text
    # Beyond its zeros something changes, and it has a curve.
    assert pl.sensitivity(given, sparsities=[0.5, 0.99]).layers[1].measured


def test_a_layer_too_small_for_one_weight_to_go_says_so() -> None:
    model = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 1), nn.Linear(1, 2))
    data = torch.randn(30, 2), torch.arange(30) % 2
    found = pl.sensitivity(pl.Problem(model, data, data), sparsities=[0.1, 0.2], epsilon=0.1)
    assert found.layers[-1].why == "too small for one weight to go"


def test_it_is_within_tolerance_up_to_where_it_is_first_not() -> None:
    found = pl.sensitivity(problem(), tolerance="3pp")
    for layer in found.layers:
        if layer.measured:
            assert layer.holds is not None
            assert all(p.drop <= 0.03 for p in layer.curve if p.sparsity <= layer.holds)
            after = [p for p in layer.curve if p.sparsity > layer.holds]
            assert not after or after[0].drop > 0.03


def test_top_is_in_order_and_refuses_another() -> None:
    found = pl.sensitivity(problem())
    for by in ("loss", "accuracy"):
        ranked = found.top(9, by=by)
        values = [each.mean_rise if by == "loss" else each.mean_drop for each in ranked]
        assert values == sorted(values, reverse=True)
        assert found.top(9, by=by, least=True)[0] == ranked[-1] or len(set(values)) < len(values)
    assert len(found.top(1)) == 1
    with pytest.raises(UsageError, match="`by` 'size'"):
        found.top(by="size")


def test_sharing_is_the_best_of_all_ways() -> None:
    """Against all combinations of the measured points of three convex curves."""
    curves = [
        SharedCurve.through([(x, scale * x**power) for x in range(1, 7)])
        for scale, power in ((0.1, 2.0), (0.3, 1.5), (0.05, 3.0))
    ]
    for total in range(0, 19):
        counts = shared(curves, total=total)
        assert sum(counts) == pytest.approx(total)
        ways = (w for w in itertools.product(range(7), repeat=3) if sum(w) == total)
        best = min(sum(c.rises[n] for c, n in zip(curves, way, strict=True)) for way in ways)
        spent = sum(c.rises[round(n)] for c, n in zip(curves, counts, strict=True))
        assert spent == pytest.approx(best)


def test_sharing_stops_where_the_rises_add_up() -> None:
    curves = [SharedCurve.through([(10, 1.0), (20, 4.0)]), SharedCurve.through([(10, 2.0)])]
    assert shared(curves, rise=2.0) == pytest.approx([10, 5])
    assert shared(curves, rise=0.0) == pytest.approx([0, 0])
    # What lowers the loss is taken first and makes room for more.
    lower = [SharedCurve.through([(10, -1.0), (20, 1.0)])]
    assert shared(lower, rise=0.5) == pytest.approx([17.5])


def test_a_dent_above_the_chord_is_not_believed() -> None:
    assert SharedCurve.through([(5, 3.0), (10, 1.0)]).removed == (0.0, 10)
    assert SharedCurve.through([(5, 3.0), (5, 2.0)]).rises == (0.0, 2.0)


class TestTargets:
    def test_they_add_up(self) -> None:
        found = pl.sensitivity(problem())
        for sparsity in (0.0, 0.3, 0.9, 0.99):
            targets = found.targets(sparsity)
            sizes = {each.name: each.weights for each in found.layers}
            total = sum(sizes[name] * share for name, share in targets.items())
            assert total == pytest.approx(sparsity * sum(sizes.values()))
        with pytest.raises(UsageError, match=r"`sparsity` is 1, .* 0\.99"):
            found.targets(1)
        assert all(0 <= share <= 1 for share in found.targets().values())

    def test_the_allocation_does_the_same_from_the_file(self, tmp_path: Path) -> None:
        given = problem()
        found = pl.sensitivity(given)
        found.save(tmp_path / "layers.json")
        by_name = tmp_path / "targets.json"
        by_name.write_text(json.dumps(found.targets(0.8)))
        for file in (tmp_path / "layers.json", by_name):
            pruned = pl.prune(given, 0.8, allocation=f"targets:{file}", min_keep=0)
            assert pruned.sparsity == pytest.approx(0.8, abs=0.002)
            for layer in pruned.result.layers:
                share = found.targets(0.8)[layer.name]
                assert layer.sparsity == pytest.approx(share, abs=1.01 / 36)

    @pytest.mark.parametrize("amount", [0.0, 0.2, 0.95, 1.0])
    def test_any_amount_is_met(self, amount: float, tmp_path: Path) -> None:
        given = problem()
        file = tmp_path / "targets.json"
        file.write_text(json.dumps({"0.weight": 0.5, "2.weight": 0.9, "4.weight": 0}))
        pruned = pl.prune(given, amount, method=f"magnitude/targets:{file}", min_keep=0)
        assert pruned.sparsity == pytest.approx(amount, abs=1 / 252)
        shares = [each.sparsity for each in pruned.result.layers]
        if amount in (0.2,):
            assert shares[2] == 0 and shares[1] > shares[0] > 0
        assert pruned.result.method == f"magnitude/targets:{file}"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("{}", "has no sparsity for 0.weight"),
            ('{"0.weight": 0.5, "2.weight": 0.5, "4.weight": 2}', "fraction from 0 to 1"),
            ('{"0.weight": 0.5, "2.weight": 0.5, "4.weight": "all"}', "fraction from 0 to 1"),
            ('{"layers": [1]}', "no sparsity for a layer's name"),
            (
                '{"0.weight": 0, "2.weight": 0, "4.weight": 0, "9.weight": 0}',
                "not a prunable layer",
            ),
            ("[]", "JSON object"),
            ("nonsense", "cannot be read as JSON"),
        ],
    )
    def test_a_file_that_makes_no_sense_is_refused(
        self, text: str, said: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "targets.json"
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            pl.prune(problem(), 0.5, allocation=f"targets:{file}")

    def test_curves_of_another_network_are_refused(self, tmp_path: Path) -> None:
        sensitivity().save(tmp_path / "layers.json")
        with pytest.raises(InputError, match="another network"):
            pl.prune(problem(), 0.5, allocation=f"targets:{tmp_path}/layers.json")

    @pytest.mark.parametrize("change", [{"rise": None}, {"sparsity": 7.0}, {"sparsity": None}])
    def test_a_damaged_curve_is_refused(self, change: dict[str, Any], tmp_path: Path) -> None:
        given = problem()
        document = pl.sensitivity(given, sparsities=[0.5, 0.99]).to_dict()
        document["layers"][0]["curve"][0] |= change
        file = tmp_path / "layers.json"
        file.write_text(json.dumps(document))
        with pytest.raises(InputError, match=r"makes no sense|is not sound: layers\.0\.curve\.0"):
            pl.prune(given, 0.5, allocation=f"targets:{file}")

    def test_the_name_alone_asks_for_a_file(self) -> None:
        for call in (
            lambda: pl.prune(problem(), 0.5, allocation="targets"),
            lambda: pl.Method.parse("magnitude/targets"),
        ):
            with pytest.raises(UsageError, match=r"targets:FILE\.json"):
                call()


class TestCommand:
    def test_table_json_plot_and_csv(self, prunelimit: Run, trained: Path, tmp_path: Path) -> None:
        outcome = prunelimit(
            *("measure", trained, "--per-layer", "--sparsities", "0.5,0.9", "--json"),
            *("--plot", "layers.svg", "--csv", "layers.csv", "-o", "layers.json"),
        )
        assert outcome.code == 0, outcome.stderr
        document = outcome.document
        jsonschema.Draft202012Validator(schema("sensitivity")).validate(document)
        assert "each layer alone, by magnitude" in outcome.stderr
        assert len((tmp_path / "layers.csv").read_text().splitlines()) == 1 + 3 * 2
        assert "layers.1.weight" in (tmp_path / "layers.svg").read_text()
        here = pl.sensitivity(pl.Problem.from_checkpoint(trained), sparsities="0.5,0.9")
        assert document["layers"] == here.to_dict()["layers"]
        pruned = prunelimit(
            *("prune", trained, "--allocation", "targets:layers.json", "--amount", "0.8"),
            *("-o", "pruned.pt", "--json", "-q"),
        )
        assert pruned.code == 0, pruned.stderr
        assert pruned.document["allocation"] == "targets:layers.json"
        assert pruned.document["sparsity"] == pytest.approx(0.8)
        compared = prunelimit(
            *("measure", trained, "--allocation", "targets:layers.json", "--json", "-q"),
            *("--sparsities", "0.8"),
        )
        assert compared.code == 0

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--survivors", "trained"), "leave out --survivors"),
            (("--allocation", "uniform"), "leave out --allocation"),
            (("--pattern", "2:4"), "leave out --pattern"),
            (("--sparsities", "0"), "none above 0"),
        ],
    )
    def test_what_does_not_go_with_it_is_refused(
        self, prunelimit: Run, trained: Path, options: tuple[str, ...], said: str
    ) -> None:
        outcome = prunelimit("measure", trained, "--per-layer", *options)
        assert outcome.code == 2 and said in outcome.stderr

    def test_the_name_alone_is_refused(self, prunelimit: Run) -> None:
        outcome = prunelimit("prune", "x.pt", "--allocation", "targets", "-o", "y.pt")
        assert outcome.code == 2 and "targets:FILE.json" in outcome.stderr


def test_frames_have_a_row_per_layer_and_point() -> None:
    found = sensitivity()
    assert len(found.to_pandas()) == sum(len(each.curve) for each in found.layers)
    layers = found.to_pandas("layers")
    assert list(layers["why"].dropna()) == [each.why for each in found.layers if each.why]


def test_the_figure_has_a_line_for_what_is_known_and_words_for_what_is_not(tmp_path: Path) -> None:
    found = sensitivity()
    figure = found.plot()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("zero already" in each for each in labels)
    alone = dataclasses.replace(found, layers=found.layers[-1:])
    assert alone.plot() is not None  # nothing is known at all
