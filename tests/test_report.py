"""Tables, plots and the page: what people read is what the results say."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import (
    CURVATURE,
    DENSE,
    EPSILON,
    LAYERS,
    MODEL,
    ONE_SHOT,
    PROVENANCE,
    PRUNABLE,
    PRUNED,
    RELIABLE,
    TRAINED,
    TRAINING,
    UNRELIABLE,
    WITNESS,
    both,
    compared,
    measured,
    predicted,
    spectrum,
    verdict,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from rich.console import Console

from prunelimit.cli.main import main
from prunelimit.config import (
    Config,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
    SharpnessConfig,
    stage_of,
)
from prunelimit.errors import InputError, OutputError
from prunelimit.reports import words
from prunelimit.reports.command import CONFIGS, command_line
from prunelimit.reports.figures.compare import plot_compare
from prunelimit.reports.figures.limit import plot_limit
from prunelimit.reports.figures.measure import plot_measure
from prunelimit.reports.figures.spectrum import plot_spectrum
from prunelimit.reports.terminal.check import check_table
from prunelimit.reports.terminal.compare import compare_table
from prunelimit.reports.terminal.measure import measure_table
from prunelimit.reports.terminal.predict import predict_table
from prunelimit.reports.terminal.prune import prune_table
from prunelimit.reports.terminal.spectrum import spectrum_table
from prunelimit.reports.terminal.train import train_table
from prunelimit.results.types import (
    Dense,
    PredictResult,
    Within,
)


def shown_prediction(result: PredictResult, *, verbose: bool = True, width: int = 120) -> str:
    return text(predict_table(result, "net.pt", verbose=verbose), width)


def text(renderable: Any, width: int = 120) -> str:
    """A table as a terminal of this width shows it."""
    console = Console(width=width, file=io.StringIO())
    console.print(renderable, crop=False)
    return console.file.getvalue()  # type: ignore[attr-defined]


# -- numbers as words --------------------------------------------------------------------------


def test_percentages_are_as_fine_as_what_survives() -> None:
    assert words.percent(0.5) == "50.0%"
    assert words.percent(0.936) == "93.6%"
    assert words.percent(0.9888) == "98.88%"
    assert words.percent(0.99961) == "99.961%"
    assert (words.percent(0.0), words.percent(1.0)) == ("0.0%", "100.0%")
    assert words.interval(0.937, (0.931, 0.942)) == "93.7% (93.1-94.2)"
    assert words.interval(0.981, (0.979, 1.0)) == "98.10% (97.90-100.00)"


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted))
def test_an_interval_is_of_one_precision_and_true(ordered: list[float]) -> None:
    low, middle, high = ordered
    found = re.fullmatch(r"([\d.]+)% \(([\d.]+)-([\d.]+)\)", words.interval(middle, (low, high)))
    assert found is not None
    places = {len(each.partition(".")[2]) for each in found.groups()}
    assert len(places) == 1
    step = 10.0 ** -places.pop()
    for said, meant in zip(found.groups(), (middle, low, high), strict=True):
        assert abs(float(said) - 100 * meant) <= 0.501 * step


@given(st.floats(0.5, 0.999))
def test_two_percent_of_the_survivors_are_seen(sparsity: float) -> None:
    fewer = 1 - 0.6 * (1 - sparsity)
    assert words.percent(sparsity) != words.percent(fewer)


def test_counts_have_a_plural() -> None:
    assert (words.count(1, "probe"), words.count(1_200, "probe")) == ("1 probe", "1,200 probes")


# -- tables ------------------------------------------------------------------------------------


def in_full(result: PredictResult) -> Any:
    return predict_table(result, "net.pt")


def in_short(result: PredictResult) -> Any:
    return predict_table(result, "net.pt", verbose=False)


TABLES: list[tuple[Callable[[Any], Any], Any]] = [
    (train_table, TRAINED),
    (spectrum_table, spectrum()),
    (in_full, predicted()),
    (in_short, predicted(reliability=UNRELIABLE)),
    (in_full, both()),
    (prune_table, PRUNED),
    (compare_table, compared()),
    (measure_table, measured()),
    (measure_table, measured(TRAINING)),
    (check_table, verdict()),
    (check_table, verdict(False)),
]


@pytest.mark.parametrize(("table", "result"), TABLES)
def test_a_table_is_returned_not_printed_and_names_the_network(
    table: Callable[[Any], Any], result: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = table(result)
    assert capsys.readouterr() == ("", "")
    # The title is not wrapped to the width of what stands below it.
    assert any(MODEL.spec in line for line in text(shown).splitlines()[:2])
    # A command is to be copied, so it is never wrapped.
    lines = [line for line in text(shown, 60).splitlines() if "prunelimit" not in line]
    assert all(len(line) <= 60 for line in lines)


def test_names_are_shown_as_they_are() -> None:
    odd = dataclasses.replace(MODEL, spec="net[red]")
    layers = (dataclasses.replace(LAYERS[0], name="[bold]w"),)
    shown = shown_prediction(predicted(model=odd, layers=layers))
    assert "net[red]" in shown and "[bold]w" in shown


def test_a_limit_names_both_denominators() -> None:
    shown = shown_prediction(predicted())
    assert "limit             93.6% (93.0-94.1): up to here" in shown
    assert "the limit keeps 576 of 9,000 prunable weights; it is 84.2% of all parameters" in shown
    assert "90.6% to 96.6%" in shown
    for variant in predicted().variants:
        assert words.interval(variant.sparsity, variant.interval) in shown
    assert "80x100" in shown and "93.8%" in shown


@pytest.mark.parametrize(
    ("carried", "said"),
    [
        (0.9889, "190 products of the GGN on 10,000 samples that carry 98.9% of the output"),
        (0.99997, "that carry 99.997% of the output curvature"),
    ],
)
def test_what_some_samples_carry_stands_beside_their_cost(carried: float, said: str) -> None:
    some = dataclasses.replace(CURVATURE, kind="ggn", products=190, samples=10_000, carried=carried)
    assert said in " ".join(shown_prediction(predicted(curvature=some)).split())


@pytest.mark.parametrize("carried", [None, 1.0])
def test_where_nothing_is_left_out_nothing_is_said_of_it(carried: float | None) -> None:
    whole = dataclasses.replace(CURVATURE, carried=carried)
    shown = shown_prediction(predicted(curvature=whole))
    assert "8 products of the Hessian on 500 samples" in shown and "carry" not in shown


def test_a_limit_that_leans_on_what_is_not_pruned_is_called_the_middle_of_two() -> None:
    errors = {"probe": 0.001, "depth": 0.002, "network": 0.031}
    leaning = dataclasses.replace(predicted().limit, operator="ggn", errors=errors)
    shown = " ".join(shown_prediction(predicted(limit=leaning)).split())
    assert (
        "directional, ggn: the middle of all parameters free and of the prunable weights alone"
        in shown
    )
    assert "probe 0.10, depth 0.20, what is not pruned 3.10 pp to either side" in shown
    plain = shown_prediction(predicted())
    assert "middle" not in plain and "what is not pruned" not in plain


def test_two_numbers_and_what_they_are_about() -> None:
    shown = " ".join(shown_prediction(both()).split())
    assert "plain 87.1% (86.2-88.3): up to here the loss stays with nothing moved" in shown
    assert "limit 93.6% (93.0-94.1): up to here some setting of the surviving weights" in shown
    assert "predicted from 300 of 1,200 training samples" in shown
    assert "second-order model alone 88.9%; actual rise 1.2 times the model's" in shown


def test_details_are_for_those_who_ask() -> None:
    short, full = (
        " ".join(shown_prediction(both(), verbose=verbose).split()) for verbose in (False, True)
    )
    for said in ("Details", "ALMT band", "second-order model", "80x100", "Reliable", "isotropic"):
        assert said in full and said not in short
    for said in ("plain 87.1%", "limit 93.6%", "nats (batch-std)", "8 products", "Next"):
        assert said in full and said in short


def test_what_speaks_against_a_number_stands_below_it() -> None:
    wide = dataclasses.replace(ONE_SHOT, interval=(0.8, 0.9))
    result = predicted(one_shot=wide, reliability=UNRELIABLE)
    lines = [
        " ".join(line.split()) for line in shown_prediction(result, verbose=False).splitlines()
    ]
    plain, limit = (
        next(i for i, line in enumerate(lines) if line.startswith(f"{name} "))
        for name in ("plain", "limit")
    )
    assert lines[plain + 1].startswith("NOT RELIABLE: The plain threshold is not resolved")
    assert lines[limit + 1] == f"NOT RELIABLE: {UNRELIABLE.reasons[0]} (1 more with -v)"
    sure = dataclasses.replace(ONE_SHOT, interval=(0.865, 0.875))
    assert "RELIABLE" not in shown_prediction(predicted(one_shot=sure), verbose=False)


def test_the_commands_that_come_next_are_about_the_same_network() -> None:
    config = {
        "run": {"seed": 3, "batch_size": 64},
        "model": {"model": "own file.py:net", "exclude": ["head$"]},
        "data": {"data": "digits"},
        "limit": {"epsilon": "5%"},
    }
    result = both(provenance=dataclasses.replace(PROVENANCE, config=config))
    _, _, after = shown_prediction(result, verbose=False, width=60).partition("Next")
    commands = [shlex.split(line) for line in after.splitlines() if "prunelimit" in line]
    assert [each[:3] for each in commands] == [
        *[["prunelimit", "prune", "net.pt"]] * 3, ["prunelimit", "measure", "net.pt"],
    ]  # fmt: skip
    same = ["--model", "own file.py:net", "--exclude", "head$", "--data", "digits"]
    same += ["--batch-size", "64", "--seed", "3", "--epsilon", "5%"]
    for each in commands:
        assert each[3 : 3 + len(same)] == same
    assert [each[3 + len(same) :] for each in commands] == [
        ["-o", "pruned.pt"],
        ["--within", "0.5pp", "--survivors", "staged", "-o", "pruned.pt"],
        ["--survivors", "staged", "-o", "pruned.pt"],
        ["--survivors", "trained"],
    ]
    assert "plain, 87.1%" in after and "to the limit, 93.6%, about" in after


@pytest.mark.parametrize(("samples", "span"), [(0, "20 s"), (500, "20 s"), (60_000, "40 min")])
def test_what_a_measurement_of_trained_survivors_takes_is_said(samples: int, span: str) -> None:
    """By the time of a gradient over the whole training split, not over the samples chosen."""
    data, curvature = predicted().data, predicted().curvature
    made = both(
        data=dataclasses.replace(data, training_samples=samples),
        curvature=dataclasses.replace(curvature, samples=500, gradient_seconds=0.02),
    )
    _, _, after = shown_prediction(made, verbose=False).partition("Next")
    assert f"about 1,000 passes over the training data, {span} or more:" in after


@pytest.mark.parametrize(
    ("expected", "said"),
    [(None, None), ((0.8715, 0.95), "--amount 0.871 --survivors staged -o pruned.pt")],
)
def test_nobody_is_sent_to_a_limit_that_is_not_reliable(
    expected: tuple[float, float] | None, said: str | None
) -> None:
    made = both()
    made = dataclasses.replace(
        made,
        limit=dataclasses.replace(made.limit, expected=expected),
        reliability=dataclasses.replace(made.reliability, ok=False, reasons=("It is not.",)),
    )
    _, _, after = shown_prediction(made, verbose=False).partition("Next")
    assert "to the limit" not in after and "finds where trained survivors stop" in after
    assert (said in after) if said else ("--amount" not in after)


def test_a_threshold_of_all_samples_is_called_a_measurement() -> None:
    whole = dataclasses.replace(ONE_SHOT, samples=1_200, modelled=None, ratio=None)
    shown = shown_prediction(predicted(one_shot=whole))
    assert "measured on all 1,200 training samples" in shown
    assert "model alone" not in shown


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("limit", "predicted limit  "),
        ("one-shot", "predicted plain  "),
        ("between", "predicted between plain and limit  "),
    ],
)
def test_a_verdict_names_the_number(number: str, said: str) -> None:
    made = verdict()
    assert made.agreement is not None
    agreement = dataclasses.replace(made.agreement, number=number)
    shown = text(check_table(dataclasses.replace(made, agreement=agreement)))
    assert said in shown


def test_reliability_comes_with_reasons_and_evidence() -> None:
    good = shown_prediction(predicted())
    bad = shown_prediction(predicted(reliability=UNRELIABLE))
    assert "Reliable: yes" in good and "1.2 times" in good
    assert "Reliable: NO" in bad
    for reason in UNRELIABLE.reasons:
        assert reason in bad
    for shown in (good, bad):
        assert re.search(r"90\.0% +2\.00e-03 +1\.50e-03 +1\.00e-04", shown)


def test_a_long_reason_is_indented_where_it_wraps() -> None:
    long = dataclasses.replace(UNRELIABLE, reasons=("word " * 30,))
    shown = shown_prediction(predicted(reliability=long), width=60)
    _, _, after = shown.partition("Reliable: NO")
    lines = [line for line in after.splitlines() if "word" in line]
    assert len(lines) > 1
    assert lines[0].startswith("  - word")
    assert all(line.startswith("    word") for line in lines[1:])


def test_the_error_of_one_probe_is_not_claimed() -> None:
    assert "+-" not in text(spectrum_table(spectrum(1)))
    assert "40 +- 0.12 (one sd)" in text(spectrum_table(spectrum(2)))


def test_what_a_file_saves_is_beside_the_dense_size() -> None:
    shown = text(prune_table(PRUNED))
    assert "4,321 bytes" in shown and "40,123 bytes" in shown and "faster" in shown
    assert "95.00% before, 94.12% after (-0.88 pp, +- 0.40)" in shown
    doubted = dataclasses.replace(PRUNED, reliability=UNRELIABLE, warnings=("It is cut.",))
    assert "Reliable: NO" in text(prune_table(doubted))
    short = text(prune_table(doubted, verbose=False))
    assert f"The number is NOT RELIABLE: {UNRELIABLE.reasons[0]}" in short
    assert "Warning: It is cut." in short and "80x100" not in short
    found = Within(tolerance=0.005, held_out=1_000, drop=-0.002, standard_error=0.001, tried=9)
    shown = text(prune_table(dataclasses.replace(PRUNED, within=found), verbose=False))
    assert "+0.20 pp, +- 0.10, on 1,000 training samples held out; within 0.5 pp" in shown


def test_every_measured_point_and_threshold_is_shown() -> None:
    shown = text(measure_table(measured(TRAINING)))
    for point in measured().curve:
        row = rf"{100 * point.sparsity:.2f}% +{100 * point.accuracy:.2f}% .* {point.nonzero:,}"
        assert re.search(row, shown)
    assert "accuracy within 0.5 pp of dense" in shown and "survivors trained" in shown
    assert "loss within epsilon" in text(measure_table(measured()))


def test_how_far_a_threshold_has_converged_is_shown() -> None:
    shown = text(measure_table(measured(TRAINING)))
    assert re.search(r"feasible by passes +92\.2% in 50, 93\.1% in 100, 93\.5% in 200", shown)
    assert "converged within 0.35 pp by the last doubling" in shown
    assert "10 passes of Adam by minibatches, then L-BFGS" in shown
    small = dataclasses.replace(WITNESS, minibatch_passes=0)
    assert "minibatches" not in text(measure_table(measured(TRAINING, witness=small)))
    assert "passes" not in text(measure_table(measured()))


def test_methods_stand_side_by_side_with_what_is_left_to_the_limit() -> None:
    result = compared()
    shown = text(compare_table(result), width=80)
    lines = shown.splitlines()
    for method in result.methods:
        (row,) = [each for each in lines if re.match(rf"  {re.escape(method.method)} .*%", each)]
        for each in method.thresholds:
            assert f"{words.percent(each.sparsity)} {each.distance_pp:+.1f}" in row
    # what trained survivors hold stands where others have their loss
    assert sum("by loss" in each for each in lines) == 1
    (cost,) = [each for each in lines if each.startswith("  magnitude+staged ") and "1,234" in each]
    assert cost.split() == ["magnitude+staged", "1,234", "300", "-", "2.5"]


def test_a_verdict_is_said_first_and_explained() -> None:
    assert text(check_table(verdict())).startswith("PASSED")
    failed = text(check_table(verdict(False)))
    assert failed.startswith("FAILED")
    assert "+13.60 pp (tolerance 2)" in failed and "lies 13.6 pp above" in failed


# -- plots -------------------------------------------------------------------------------------

PLOTS: dict[str, Callable[[Path], None]] = {
    "spectrum": lambda path: plot_spectrum(spectrum(), path),
    "limit": lambda path: plot_limit(predicted(), path),
    "compare": lambda path: plot_compare(compared(), path),
    "measure": lambda path: plot_measure([measured(), measured(TRAINING)], predicted(), path),
}


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Axes]]:
    """Draws a plot and gives its axes, each with what is on it."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)

    def draw(plot: Callable[..., None], *arguments: Any) -> list[Axes]:
        plot(*arguments, tmp_path / "plot.png")
        return figures[-1].axes

    return draw


def line(axes: Axes, label: str) -> Line2D:
    """The one line whose label begins so."""
    (found,) = [each for each in axes.lines if str(each.get_label()).startswith(label)]
    return found


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_result_gives_the_same_file(name: str, kind: str, tmp_path: Path) -> None:
    settings = dict(matplotlib.rcParams)
    files = [tmp_path / f"{turn}.{kind}" for turn in ("first", "second")]
    for path in files:
        PLOTS[name](path)
    first, second = (path.read_bytes() for path in files)
    assert first == second
    assert dict(matplotlib.rcParams) == settings
    if kind == "png":
        with Image.open(files[0]) as image:
            assert min(image.size) >= 500
            assert len(image.convert("L").getcolors()) > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in files]


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_goes_nowhere_else(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        PLOTS[name](tmp_path / "nowhere" / "plot.png")
    assert not list(tmp_path.iterdir())


def test_the_limit_is_where_the_curves_cross(drawn: Callable[..., list[Axes]]) -> None:
    result = predicted()
    (axes,) = drawn(plot_limit, result)
    x, y = (float(each[0]) for each in line(axes, "limit").get_data())
    assert (x, y) == (result.limit.radius, result.limit.sparsity * PRUNABLE)
    for label in ("removable", "removed"):
        radius, value = line(axes, label).get_data()
        assert np.interp(x, radius, value) == pytest.approx(y, rel=2e-3)
    radius, removed = line(axes, "removed").get_data()
    marks = [
        each
        for each in axes.lines
        if "," in str(each.get_label()) and each.get_marker() in ("^", "s", "o")
    ]
    marks = [each for each in marks if not str(each.get_label()).startswith("limit")]
    assert len(marks) == len(result.variants) - 1
    for mark in marks:
        at, height = (float(each[0]) for each in mark.get_data())
        assert np.interp(at, radius, removed) == pytest.approx(height)
        assert axes.get_xlim()[0] <= at <= axes.get_xlim()[1]
        assert axes.get_ylim()[0] <= height <= axes.get_ylim()[1]
    (percent,) = axes.child_axes
    low, high = percent.get_ylim()
    assert (low, high) == pytest.approx([100 * each / PRUNABLE for each in axes.get_ylim()])
    assert axes.get_xlabel() and "parameters" in axes.get_ylabel() and "%" in percent.get_ylabel()


def test_interval_and_band_are_shaded_where_they_are(drawn: Callable[..., list[Axes]]) -> None:
    result = predicted()
    (axes,) = drawn(plot_limit, result)
    spans = {str(each.get_label()): each.get_extents() for each in axes.patches}
    shaded = {}
    for label, box in spans.items():
        inside = box.transformed(axes.transData.inverted())
        shaded[label] = (inside.y0 / PRUNABLE, inside.y1 / PRUNABLE)
    assert shaded["95% interval of the limit"] == pytest.approx(result.limit.interval)
    assert shaded["ALMT transition band"] == pytest.approx(result.limit.band)


def test_the_spectrum_is_a_whole_measure(drawn: Callable[..., list[Axes]]) -> None:
    (axes,) = drawn(plot_spectrum, spectrum())
    curve, bars = axes.lines
    place, height = curve.get_data()
    areas = np.diff(place) * (height[1:] + height[:-1]) / 2
    assert areas.sum() == pytest.approx(1, abs=0.01)
    assert areas[place[1:] < -0.5].sum() == pytest.approx(0.1249, abs=0.01)
    assert np.nanmax(bars.get_ydata()) == pytest.approx(0.35)
    assert axes.get_yscale() == "log" and axes.get_xlabel().startswith("eigenvalue (log")
    labels = [each.get_text() for each in axes.get_xticklabels()]
    assert "0" in labels and "$10^{1}$" in labels and "$-10^{-1}$" in labels


def test_probes_that_agree_change_nothing_of_the_shape(drawn: Callable[..., list[Axes]]) -> None:
    heights = [drawn(plot_spectrum, spectrum(probes))[0].lines[0].get_ydata() for probes in (1, 3)]
    np.testing.assert_allclose(heights[0], heights[1], rtol=1e-12)


def test_measured_and_predicted_are_where_they_are(drawn: Callable[..., list[Axes]]) -> None:
    result, limit = measured(), predicted()
    upper, lower = drawn(plot_measure, [result, measured(TRAINING)], limit)
    seen = [point for point in result.curve if point.sparsity < 1]
    kept, errors = upper.lines[0].get_data()
    assert upper.lines[0].get_label() == "measured, magnitude"
    np.testing.assert_allclose(kept, [1 - point.sparsity for point in seen])
    np.testing.assert_allclose(errors, [1 - point.accuracy for point in seen])
    np.testing.assert_allclose(lower.lines[0].get_ydata(), [point.loss for point in seen])
    places = [float(each.get_xdata()[0]) for each in lower.lines if len(each.get_xdata()) == 2]
    assert 1 - limit.limit.sparsity in places
    assert places.count(pytest.approx(1 - 0.9345)) == 2
    levels = [float(each.get_ydata()[0]) for each in lower.lines if len(each.get_xdata()) == 2]
    assert DENSE.loss + EPSILON.value in levels
    (box,) = [each.get_extents() for each in lower.patches]
    inside = box.transformed(lower.transData.inverted())
    assert sorted((1 - inside.x0, 1 - inside.x1)) == pytest.approx(limit.limit.interval)
    for place, label in zip(lower.get_xticks(), lower.get_xticklabels(), strict=True):
        assert float(label.get_text().rstrip("%")) == pytest.approx(100 * (1 - place))
    for place, label in zip(upper.get_yticks(), upper.get_yticklabels(), strict=True):
        assert float(label.get_text()) == pytest.approx(100 * (1 - place))


EXPECTED = {"expected": (0.91, 0.935), "expected_middle": 0.925}


def test_what_is_expected_of_trained_survivors_is_drawn(drawn: Callable[..., list[Axes]]) -> None:
    limit = dataclasses.replace(predicted().limit, **EXPECTED)
    (axes,) = drawn(plot_limit, predicted(limit=limit))
    (mark,) = [x for x in axes.containers if str(x.get_label()).startswith("trained survivors")]
    assert mark.get_label() == "trained survivors should stop, 92.5% (91.0-93.5)"
    (middle,) = mark.lines[0].get_ydata()
    (ends,) = mark.lines[2][0].get_segments()
    assert middle == pytest.approx(0.925 * PRUNABLE)
    assert ends[:, 1] == pytest.approx([0.91 * PRUNABLE, 0.935 * PRUNABLE])
    (axes,) = drawn(plot_limit, predicted())
    assert not axes.containers


@pytest.mark.parametrize("method", ["magnitude", TRAINING])
def test_a_measurement_shows_what_is_expected_only_of_trained_survivors(
    drawn: Callable[..., list[Axes]], method: str
) -> None:
    limit = dataclasses.replace(predicted().limit, **EXPECTED)
    upper, _ = drawn(plot_measure, [measured(method)], predicted(limit=limit))
    label = "predicted for trained survivors 92.5% (91.0-93.5)"
    assert (label in [each.get_label() for each in upper.lines]) is (method == TRAINING)


@pytest.mark.parametrize("ok", [True, False])
def test_the_limit_says_whether_it_is_reliable(drawn: Callable[..., list[Axes]], ok: bool) -> None:
    found = predicted(reliability=RELIABLE if ok else UNRELIABLE)
    (axes,) = drawn(plot_limit, found)
    said = "the limit is reliable" if ok else "the limit is not reliable"
    assert axes.get_title(loc="left").endswith(said)
    labels = [str(each.get_label()) for each in axes.lines]
    (label,) = [each for each in labels if each.startswith("limit,")]
    assert label.endswith("(not reliable)") is not ok
    upper, _ = drawn(plot_measure, [measured()], found)
    assert upper.get_title(loc="left").endswith(said)
    name = "predicted limit " if ok else "predicted limit (not reliable) "
    assert any(str(each.get_label()).startswith(name + "9") for each in upper.lines)
    upper, _ = drawn(plot_measure, [measured()], None)
    assert "reliable" not in upper.get_title(loc="left")


@pytest.mark.parametrize("apart", [0.0, 0.01])
def test_a_limit_beside_the_crossing_says_why(
    drawn: Callable[..., list[Axes]], apart: float
) -> None:
    limit = predicted().limit
    found = dataclasses.replace(limit, errors={**limit.errors, "network": apart})
    (axes,) = drawn(plot_limit, predicted(limit=found))
    (label,) = [str(x.get_label()) for x in axes.lines if str(x.get_label()).startswith("limit,")]
    assert label.endswith(", the middle of two") is (apart > 0)


def test_every_method_has_a_line_of_its_own_and_the_limit_a_band(
    drawn: Callable[..., list[Axes]],
) -> None:
    moved = [f"magnitude+{name}" for name in ("compensated", "staged", "trained", "obs")]
    names = ("magnitude", *moved, "snip", "obd", "obs+obs", "wanda/rows", "magnitude/2:4+staged")
    result = compared(names)
    (axes,) = drawn(plot_compare, result)
    looks, marks = set(), set()
    for method in result.methods:
        (each,) = [x for x in axes.lines if x.get_label() == method.method]
        looks.add((each.get_color(), each.get_linestyle()))
        marks.add(each.get_marker())
        kept = [1 - p.sparsity for p in method.curve if p.sparsity < 1]
        assert np.allclose(each.get_xdata(), kept)
    assert len(looks) == len(marks) == len(names)
    limit = line(
        axes, f"predicted limit {words.interval(result.limit.sparsity, result.limit.interval)}"
    )
    assert np.allclose(limit.get_xdata(), 1 - result.limit.sparsity)
    (band,) = axes.patches
    low, high = result.limit.interval
    edges = band.get_extents().transformed(axes.transData.inverted())
    assert sorted((edges.x0, edges.x1)) == pytest.approx([1 - high, 1 - low])


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 1.0])
def test_extremes_are_drawn(sparsity: float, tmp_path: Path) -> None:
    nothing = tuple(dataclasses.replace(point, radius=0.0) for point in predicted(sparsity).curve)
    flat = dataclasses.replace(predicted(sparsity).limit, radius=0.0)
    result = predicted(sparsity, variants=())
    plot_limit(result, tmp_path / "one.png")
    plot_limit(dataclasses.replace(result, limit=flat, curve=nothing), tmp_path / "two.png")
    perfect = tuple(dataclasses.replace(point, accuracy=1.0) for point in measured().curve)
    plot_measure(
        [measured(curve=perfect, dense=Dense(loss=0.01, accuracy=1.0))], result, tmp_path / "m.png"
    )
    plot_measure([measured(curve=measured().curve[:1])], None, tmp_path / "n.png")
    plot_measure([measured(curve=measured().curve[-1:])], None, tmp_path / "o.png")


@pytest.mark.filterwarnings("error")
def test_a_flat_spectrum_is_drawn(tmp_path: Path) -> None:
    flat = dataclasses.replace(
        spectrum(), ritz_values=((0.0,),), quadrature_weights=((1.0,),), outcomes=("complete",)
    )
    plot_spectrum(flat, tmp_path / "plot.png")


# -- the way back ------------------------------------------------------------------------------


def parsed(tokens: list[str], monkeypatch: pytest.MonkeyPatch, command: str) -> list[Any]:
    """The configurations that the real command line makes of its arguments."""
    caught: list[Any] = []

    def catch(*configs: Any, **_: Any) -> Any:
        caught.extend(config for config in configs if isinstance(config, Config))
        raise InputError("Caught.")

    monkeypatch.setattr(f"prunelimit.commands.{command}.{command}", catch)
    assert main(tokens) == InputError.exit_code
    return caught


EVERYTHING: dict[type[Any], dict[str, Any]] = {
    ModelConfig: {"model": "a file.py:net", "exclude": ("head$", "first one")},
    DataConfig: {"download": True, "mean": "0.1,-0.2", "train_samples": 10},
    RunConfig: {"seed": 3, "batch_size": 7, "dtype": "float64", "workers": 1},
    CurvatureConfig: {"samples": 0, "curvature": "hessian", "steps": 7},
    SharpnessConfig: {"alpha": ("0.25", "3"), "by_layer": True, "epsilon": "5%"},
    LimitConfig: {"epsilon": "5%", "tolerance": "0.123456789pp", "max_seconds": 2.5},
    MeasureConfig: {
        "survivors": "staged", "pattern": "2:4", "stages": "3", "tolerance": ("1pp", "2pp"),
        "sparsities": "0,0.1,0.3", "epsilon": "0.5pp", "cg_steps": 3,
    },
    PruneConfig: {
        "criterion": "obs", "allocation": "erk", "amount": "0.1234567", "min_keep": "1.23456789%",
        "sparse": True, "survivors": "trained",
    },
}  # fmt: skip


@pytest.mark.parametrize("command", CONFIGS)
@pytest.mark.parametrize("changed", [False, True])
def test_a_result_names_the_command_that_makes_it(
    command: str, changed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "a b.pt"
    checkpoint.touch()
    configs = [kind(**(EVERYTHING[kind] if changed else {})) for kind in CONFIGS[command]]
    # As it comes back from JSON.
    stored = json.loads(json.dumps({stage_of(type(each)): each.echo() for each in configs}))
    provenance = dataclasses.replace(PROVENANCE, command=command, config=stored)
    tokens = shlex.split(command_line(provenance, str(checkpoint)))
    assert tokens[0] == "prunelimit" and (len(tokens) == 3) is not changed
    monkeypatch.chdir(tmp_path)
    if command == "prune":
        tokens += ["-o", "pruned.pt"]
    assert parsed(tokens[1:], monkeypatch, command) == configs


def test_what_files_say_cannot_begin_a_line_or_move_the_cursor() -> None:
    hostile = "net\x1b[2J\n::error::forged"
    made = verdict()
    model = dataclasses.replace(made.model, spec=hostile)
    shown = text(check_table(dataclasses.replace(made, model=model)))
    assert "\x1b[2J" not in shown
    assert not any(line.startswith("::error") for line in shown.splitlines())
