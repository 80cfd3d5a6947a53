"""Figures on any paper: nothing overlaps or is cut off, everything is told in two ways."""

from __future__ import annotations

import dataclasses
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import (
    MODEL,
    ONE_SHOT,
    PRUNED,
    TRAINED,
    TRAINING,
    both,
    compared,
    history,
    measured,
    predicted,
    sensitivity,
    spectrum,
    verdict,
)
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.stats import binomtest
from test_reports_page import HISTORY, contrast

from prunelimit import plugins
from prunelimit.errors import InputError, UsageError
from prunelimit.reports.drawing import COLOURS, error_bars, looks, plain
from prunelimit.reports.figure import choose, draw
from prunelimit.reports.figures.measure import plot_measure
from prunelimit.reports.paper import Paper

MANY = ("magnitude", "magnitude+staged", TRAINING, "obd", "wanda/rows", "snip", "random", "synflow")

SETS: dict[str, tuple[Any, ...]] = {
    "limit": (both(),),
    "measure": (measured(), measured(TRAINING), both()),
    "compare": (compared(MANY), both()),
    "spectrum": (spectrum(),),
    "sensitivity": (sensitivity(10),),
    "history": (history(),),
    "layers": (both(),),
    "path": (both(),),
    "verdict": (verdict(), verdict(False)),
    "training": (dataclasses.replace(TRAINED, history=HISTORY),),
}
WIDTHS = (3.25, 5.0, 8.5)


def command(result: Any) -> str:
    return str(result.SCHEMA).split(".")[1].split("/")[0]


def test_every_figure_is_tried() -> None:
    assert set(SETS) == set(plugins.names("figure"))


def boxes(figure: Figure) -> list[tuple[str, Any]]:
    """Every text that is seen, and where."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    found = []
    for axes in figure.axes:
        axes.get_tightbbox(renderer)
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [t for t in axis.get_major_ticks() if t.label1.get_visible()]
            low, high = sorted(axis.get_view_interval())
            texts = [t.label1 for t in ticks if low - 1e-12 <= t.get_loc() <= high + 1e-12]
            found += [*texts, axis.label]
        found += [*axes.texts, axes._left_title]  # type: ignore[attr-defined]
    for legend in figure.legends:
        found += legend.get_texts()
    return [
        (each.get_text(), each.get_window_extent(renderer))
        for each in found
        if each.get_text().strip() and each.get_visible()
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SETS)
def test_no_text_is_cut_off_or_lies_on_another(name: str, width: float) -> None:
    figure = draw(name, *SETS[name], sheet=Paper(width=width))
    figure.canvas.draw()
    assert figure.get_size_inches()[0] == pytest.approx(width)
    whole = figure.bbox
    seen = boxes(figure)
    assert len(seen) > 5
    for text, box in seen:
        assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, text
        assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1, text
    for (one, first), (other, second) in combinations(seen, 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert wide <= 1 or high <= 1, (one, other)
    sizes = [each.get_fontsize() for legend in figure.legends for each in legend.get_texts()]
    assert all(size >= 6.5 for size in sizes)


@pytest.mark.parametrize("name", SETS)
def test_axes_say_what_they_are_and_how_they_are_warped(name: str) -> None:
    figure = draw(name, *SETS[name])
    for axes in figure.axes:
        shared = axes is not figure.axes[-1] and len(figure.axes) > 1
        for axis, scale, own in (
            (axes.xaxis, axes.get_xscale(), not shared),
            (axes.yaxis, axes.get_yscale(), True),
        ):
            label = axis.get_label_text()
            if own and name != "verdict" and not (name == "layers" and axis is axes.yaxis):
                assert label
            if own and scale == "log":
                assert "(log" in label
    assert draw(name, *SETS[name], sheet=Paper(title=False)).axes[0].get_title(loc="left") == ""
    assert figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
@pytest.mark.parametrize("name", ["measure", "spectrum"])
def test_fonts_are_what_journals_take(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{kind}"
    draw(name, *SETS[name], path=path, sheet=Paper(width=3.25, dpi=200))
    data = path.read_bytes()
    if kind == "pdf":
        assert b"/FontFile2" in data and b"/Type3" not in data.replace(b" ", b"")
        box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", data)
        assert box is not None and float(box[1]) == pytest.approx(3.25 * 72)
    elif kind == "svg":
        text = data.decode()
        assert (text.count("<text") > 10 and "sparsity" in text) or "eigenvalue" in text
        assert "DejaVuSans-" not in text  # glyphs as paths
    else:
        assert int.from_bytes(data[16:20], "big") == 650


def test_colours_are_seen_on_white() -> None:
    for colour in COLOURS:
        assert contrast(colour, "#ffffff") >= 3


def test_methods_differ_by_mark_and_by_hue_or_line() -> None:
    found = looks([f"method{n}" for n in range(12)] + ["magnitude", TRAINING, "magnitude+staged"])
    assert len(set(found.values())) == len(found) == 15
    eight = looks(MANY)
    assert len({each.marker for each in eight.values()}) == len(MANY)
    assert len({(each.colour, each.line) for each in eight.values()}) == len(MANY)
    for each in found.values():
        assert contrast(each.colour, "#ffffff") >= 3


def test_both_predictions_are_in_the_measured_figure() -> None:
    upper, lower = plot_measure([measured()], both()).axes
    for axes in (upper, lower):
        places = [float(each.get_xdata()[0]) for each in axes.lines if len(each.get_xdata()) == 2]
        for sparsity in (both().limit.sparsity, ONE_SHOT.sparsity):
            assert any(place == pytest.approx(1 - sparsity) for place in places)
    assert len(lower.patches) == 2
    labels = upper.get_legend_handles_labels()[1]
    assert "predicted plain 87.1% (86.2-88.3)" in labels
    assert "bars: 95% sampling error of 100 test samples" in labels
    assert len(plot_measure([measured()], predicted()).axes[1].patches) == 1
    assert len(plot_measure([measured()], None).axes[1].patches) == 0


def test_error_bars_are_wilsons_intervals_and_thresholds_have_theirs() -> None:
    result = measured()
    upper, lower = plot_measure([result], None).axes
    bars = upper.collections[0].get_segments()
    points = [each for each in result.curve if each.sparsity < 1]
    assert len(bars) == len(points)
    for bar, point in zip(bars, points, strict=True):
        wrong = round(100 * (1 - point.accuracy))
        wanted = binomtest(wrong, 100).proportion_ci(0.95, method="wilson")
        low, high = sorted(bar[:, 1])
        assert high == pytest.approx(max(wanted.high, 1 - point.accuracy))
        assert low == pytest.approx(wanted.low, rel=1e-6) or low >= wanted.low
    threshold = next(each for each in result.thresholds if each.rule == "loss")
    (segment,) = lower.collections[0].get_segments()
    assert sorted(segment[:, 0]) == pytest.approx(sorted(1 - x for x in threshold.interval))


def test_bars_of_nothing_wrong_and_of_all_wrong_stay_in_the_figure() -> None:
    below, above = error_bars([1.0, 0.0], 10, 0.95, 0.05)
    assert np.isfinite([*below, *above]).all() and min(*below, *above) >= 0
    assert 0.05 - below[0] > 0 and 1 + above[1] == pytest.approx(1)


@pytest.mark.parametrize("text", ["$\\frac{$", "_hidden", "a\nb\x00", "\ud800", "x" * 999, "&<>"])
def test_names_are_text_in_figures(text: str, tmp_path: Path) -> None:
    model = dataclasses.replace(MODEL, spec=text)
    result = dataclasses.replace(measured(), model=model, method=text)
    draw("measure", result, both(model=model), path=tmp_path / "m.svg", sheet=Paper(width=4))
    layers = tuple(dataclasses.replace(each, name=text) for each in both().layers)
    draw("layers", both(model=model, layers=layers), path=tmp_path / "l.svg")
    assert not plain(text).startswith("_") and "\n" not in plain(text)


def test_hundreds_of_layers_are_drawn() -> None:
    layers = tuple(
        dataclasses.replace(both().layers[0], name=f"layer.{n}", sparsity=min(1.0, n / 300))
        for n in range(301)
    )
    figure = draw("layers", both(layers=layers), sheet=Paper(width=3.25))
    assert figure.get_size_inches()[1] < 12
    assert figure.axes[0].get_ylabel()


def test_a_pruned_network_has_its_layers_too() -> None:
    axes = draw("layers", PRUNED).axes[0]
    marks = [each for each in axes.lines if each.get_marker() == "o"]
    kept = [1 - each.sparsity for each in PRUNED.layers]
    np.testing.assert_allclose(marks[0].get_xdata(), kept)
    assert to_hex(marks[0].get_color()) in COLOURS


@pytest.mark.parametrize(
    ("commands", "name", "wanted"),
    [
        (["predict"], None, "limit"),
        (["predict"], "layers", "layers"),
        (["measure"], None, "measure"),
        (["measure", "measure", "predict"], None, "measure"),
        (["predict", "measure"], None, "measure"),
        (["compare", "predict"], None, "compare"),
        (["check", "check"], None, "verdict"),
        (["prune"], None, "layers"),
        (["train"], None, "training"),
    ],
)
def test_results_find_their_figure(commands: list[str], name: str | None, wanted: str) -> None:
    assert choose(commands, name) == wanted


@pytest.mark.parametrize(
    ("commands", "name", "said"),
    [
        (["spectrum", "measure"], None, "No figure draws 2 results of spectrum and measure"),
        (["predict", "predict"], None, "No figure draws 2 results of predict together"),
        (["measure", "predict", "predict"], None, "No figure draws 3 results"),
        (["measure"], "limit", "limit does not draw 1 result of measure; it draws predict; "),
        (["predict"], "limt", "no figure 'limt'; did you mean limit"),
        (["inspect"], None, "No figure draws results of inspect; `report` shows"),
        (
            ["regime", "export"],
            None,
            "No figure draws results of regime and export; `report` shows",
        ),
    ],
)
def test_results_without_a_common_figure_are_told(
    commands: list[str], name: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        choose(commands, name)


@pytest.mark.parametrize("name", SETS)
def test_what_is_drawn_together_is_chosen_together(name: str) -> None:
    assert choose([command(each) for each in SETS[name]], name) == name


def test_a_figure_too_narrow_for_its_axes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="no room on a figure 1 inches wide; give a larger `width`"
    ):
        draw("measure", measured(), path=tmp_path / "figure.pdf", sheet=Paper(width=1.0))
    assert not list(tmp_path.iterdir())


EMPTY: dict[str, tuple[Any, ...]] = {
    "limit": (both(variants=(), curve=()),),
    "measure": (dataclasses.replace(measured(), curve=(), thresholds=()), both()),
    "layers": (both(layers=()),),
    "path": (both(reliability=dataclasses.replace(both().reliability, path=())),),
    "training": (dataclasses.replace(TRAINED, history=()),),
    "spectrum": (dataclasses.replace(spectrum(), ritz_values=(), quadrature_weights=()),),
    "sensitivity": (dataclasses.replace(sensitivity(2), layers=()),),
    "history": (dataclasses.replace(history(), points=()),),
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_empty_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    said = f"The figure {name} cannot be drawn from these results, because there is no "
    with pytest.raises(InputError, match=said):
        draw(name, *EMPTY[name], path=tmp_path / "figure.svg")
    assert not list(tmp_path.iterdir())


def test_a_comparison_without_a_method_still_shows_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    draw("compare", dataclasses.replace(compared(), methods=()), path=path)
    assert "predicted limit" in path.read_text()


@pytest.mark.filterwarnings("ignore")
def test_a_number_that_makes_no_sense_is_said(tmp_path: Path) -> None:
    point = dataclasses.replace(both().reliability.path[0], quadratic_rise=1e300)
    reliability = dataclasses.replace(both().reliability, path=(point,))
    with pytest.raises(InputError, match="figure path cannot be drawn from these results"):
        draw("path", both(reliability=reliability), path=tmp_path / "figure.svg")
    assert not list(tmp_path.iterdir())
