"""Figures of results at the edge: what has a place is seen, what has none is said or refused."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Any

import pytest
from made import (
    RELIABLE,
    TRAINED,
    both,
    compared,
    history,
    measured,
    sensitivity,
    spectrum,
    verdict,
)
from matplotlib.figure import Figure
from test_reports_page import HISTORY, everything

from prunelimit.errors import InputError
from prunelimit.reports.drawing import short_names
from prunelimit.reports.figure import draw
from prunelimit.reports.markdown import markdown
from prunelimit.reports.page import page
from prunelimit.reports.paper import Paper
from prunelimit.reports.sources import collect
from prunelimit.results.types import Dense, LayerResult, MeasurePoint, PredictResult

NAN = float("nan")
LONG = "model.transformer.encoder.layers.{}.self_attention.output_projection.weight"


def layers(*sparsities: float, name: str = "layer.{}") -> tuple[LayerResult, ...]:
    return tuple(
        LayerResult(name=name.format(n), shape=(10, 10), kept=50, sparsity=x)
        for n, x in enumerate(sparsities)
    )


def with_layers(*sparsities: float, all_of_them: float = 0.936) -> PredictResult:
    limit = dataclasses.replace(both().limit, sparsity=all_of_them)
    return both(layers=layers(*sparsities), limit=limit)


def points(*given: tuple[float, float, float]) -> tuple[MeasurePoint, ...]:
    return tuple(MeasurePoint(sparsity=s, accuracy=a, loss=x, nonzero=9) for s, a, x in given)


def keyed(figure: Figure) -> list[str]:
    return [each.get_text() for legend in figure.legends for each in legend.get_texts()]


@pytest.mark.parametrize(
    "sparsities", [(1.0, 1.0, 1.0), (1.0, 0.5, 0.0), (0.0, 0.0), (0.9, 0.9), (0.5,), (1 - 1e-7,)]
)
def test_a_layer_of_which_nothing_survives_is_told_from_one_of_which_little_does(
    sparsities: tuple[float, ...],
) -> None:
    figure = draw("layers", with_layers(*sparsities, all_of_them=sparsities[0]))
    (axes,) = figure.axes
    marks = {line.get_marker(): list(line.get_ydata()) for line in axes.lines}
    empty = [n for n, each in enumerate(sparsities) if each == 1]
    assert marks.get("x", []) == empty
    assert marks.get("o", []) == [n for n in range(len(sparsities)) if n not in empty]
    assert ("nothing survives of a layer" in keyed(figure)) is bool(empty)
    figure.canvas.draw()
    low, high = axes.get_xlim()
    ticks = [t for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high * 1.0001]
    assert len(ticks) >= 2 and all(t.label1.get_text().endswith("%") for t in ticks)
    assert not any(t.label1.get_text() for t in axes.xaxis.get_minor_ticks())


def test_long_names_stay_different() -> None:
    names = [LONG.format(n) for n in range(40)]
    for letters in (12, 20, 50, 200):
        short = short_names(names, letters)
        assert len(set(short)) == 40 and max(map(len, short)) <= letters
    assert short_names(names, 200) == names
    assert short_names(["a.weight", LONG], 20)[0] == "a.weight"
    assert short_names([], 9) == []
    assert len(short_names(["x" * 99], 20)[0]) == 20


def test_what_was_predicted_beyond_the_measurement_is_in_its_place() -> None:
    result = dataclasses.replace(measured(), curve=points((0.0, 0.95, 0.01)), thresholds=())
    for axes in draw("measure", result, both()).axes:
        right = min(axes.get_xlim())
        assert right < 1 - both().limit.sparsity
    one = dataclasses.replace(compared().methods[0], curve=result.curve)
    (axes,) = draw("compare", dataclasses.replace(compared(), methods=(one,))).axes
    assert min(axes.get_xlim()) < 1 - both().limit.sparsity


@pytest.mark.parametrize("loss", [0.0, -2.0])
def test_a_loss_that_is_not_above_zero_has_an_axis_that_shows_it(loss: float) -> None:
    perfect = dataclasses.replace(
        measured(),
        dense=Dense(loss=loss, accuracy=1.0),
        curve=points((0.1, 1.0, loss), (0.9, 1.0, loss)),
    )
    lower = draw("measure", perfect).axes[1]
    assert lower.get_yscale() == "linear" and "log" not in lower.get_ylabel()
    assert draw("measure", measured()).axes[1].get_yscale() == "log"


def test_points_without_a_number_are_counted() -> None:
    curve = points((0.1, 0.9, 0.1), (0.5, NAN, NAN), (0.9, 0.8, 0.3))
    figure = draw("measure", dataclasses.replace(measured(), curve=curve))
    assert "1 point has no number and cannot be shown" in keyed(figure)
    methods = tuple(dataclasses.replace(each, curve=curve) for each in compared().methods)
    figure = draw("compare", dataclasses.replace(compared(), methods=methods))
    assert "4 points have no number and cannot be shown" in keyed(figure)
    layer = sensitivity(1).layers[0]
    lost = dataclasses.replace(layer.curve[0], accuracy=NAN, drop=NAN)
    layer = dataclasses.replace(layer, curve=(lost, *layer.curve[1:]))
    figure = draw("sensitivity", dataclasses.replace(sensitivity(1), layers=(layer,)))
    assert "1 point has no number and cannot be shown" in keyed(figure)


def test_rises_that_are_never_above_zero_are_said() -> None:
    point = dataclasses.replace(both().reliability.path[0], quadratic_rise=-1e-3)
    reliability = dataclasses.replace(both().reliability, path=(point,))
    assert "quadratic part: never above zero" in keyed(draw("path", both(reliability=reliability)))


def test_one_epoch_or_one_checkpoint_is_seen() -> None:
    for axes in draw("training", dataclasses.replace(TRAINED, history=HISTORY[:1])).axes:
        assert axes.lines[0].get_marker() == "o"
    lines = [line for axes in draw("history", history(1)).axes for line in axes.lines]
    assert all(
        line.get_marker() not in ("", "None", None) for line in lines if len(line.get_xdata())
    )


REFUSED: dict[str, Any] = {
    "layers": with_layers(0.5, NAN),
    "limit": both(limit=dataclasses.replace(both().limit, radius=NAN)),
    "spectrum": dataclasses.replace(
        spectrum(1), ritz_values=((1.0, NAN),), quadrature_weights=((0.5, 0.5),)
    ),
    "spectrum ": dataclasses.replace(
        spectrum(1), ritz_values=((1.0,),), quadrature_weights=((0.0,),)
    ),
    "verdict": dataclasses.replace(
        verdict(), agreement=dataclasses.replace(verdict().agreement, predicted=NAN)
    ),
    "history": dataclasses.replace(history(), points=()),
    "history ": dataclasses.replace(
        history(), points=(dataclasses.replace(history().points[0], limit=NAN),)
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_number_that_a_figure_is_about_is_never_left_out(name: str) -> None:
    with (
        warnings.catch_warnings(),
        pytest.raises(InputError, match=f"The figure {name.strip()} cannot be drawn"),
    ):
        warnings.simplefilter("error")
        draw(name.strip(), REFUSED[name])


@pytest.mark.slow
@pytest.mark.parametrize("width", [3.25, 8.5])
def test_a_long_key_leaves_room_for_the_axes(width: float) -> None:
    many = [measured(f"criterion{n}/allocation{n}/2:4+staged") for n in range(12)]
    wide = dataclasses.replace(
        sensitivity(60),
        layers=tuple(
            dataclasses.replace(each, name=LONG.format(n))
            for n, each in enumerate(sensitivity(60).layers)
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (
            draw("measure", *many, both(), sheet=Paper(width=width)),
            draw("sensitivity", wide, sheet=Paper(width=width)),
            draw("compare", compared(tuple(f"a{n}/b/2:4" for n in range(30)))),
        ):
            figure.canvas.draw()
            for axes in figure.axes:
                assert axes.get_window_extent().height / figure.dpi > 0.7


def test_other_losses_and_metrics_have_their_own_names() -> None:
    data = dataclasses.replace(TRAINED.data, loss="mse", metric="r2", classes=0)
    train = dataclasses.replace(TRAINED, data=data, history=HISTORY)
    upper, lower = draw("training", train).axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("test r2", "training loss")
    assert draw("path", both(data=data)).axes[0].get_ylabel() == "loss rise (log)"
    assert draw("history", dataclasses.replace(history(), data=data)).axes[1].get_ylabel() == (
        "test r2"
    )
    assert draw("history", history()).axes[1].get_ylabel() == "test accuracy, %"


def hollowed(result: Any, field: str) -> Any:
    """A result of which a field holds nothing."""
    return dataclasses.replace(result, **{field: ()})


HOLLOW = [
    (name, field.name)
    for name, result in everything()
    for field in dataclasses.fields(result)
    if isinstance(getattr(result, field.name), tuple) and getattr(result, field.name)
]


@pytest.mark.parametrize(("name", "field"), HOLLOW)
def test_a_page_leaves_out_what_its_file_lacks(name: str, field: str) -> None:
    result = hollowed(dict(everything())[name], field)
    found = collect([(name, result)])
    text = page(found)
    assert markdown(found) and text.count("<figure>") == text.count("<figcaption>")
    lacking = re.findall(r"The figure (\w+) cannot be drawn[^<]*", text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in lacking:
            with pytest.raises(InputError, match=f"The figure {figure} cannot be drawn"):
                draw(figure, result)


def test_a_page_says_which_figure_it_leaves_out() -> None:
    for name, field, figure, what in (
        ("predict.json", "curve", "limit", "curve of width and radius"),
        ("one-shot.json", "curve", "measure", "point of a curve"),
        ("spectrum.json", "ritz_values", "spectrum", "eigenvalue"),
        ("layers.json", "layers", "sensitivity", "layer"),
    ):
        result = hollowed(dict(everything())[name], field)
        said = (
            f"The figure {figure} cannot be drawn from these results, because there is no {what} in"
        )
        assert said in page(collect([(name, result)]))
        with pytest.raises(InputError, match=said):
            draw(figure, result)
    result = dataclasses.replace(both(), reliability=dataclasses.replace(RELIABLE, path=()))
    for figure, given in (
        ("path", result),
        ("layers", both(layers=())),
        ("training", dataclasses.replace(TRAINED, history=())),
    ):
        with pytest.raises(InputError, match="because there is no"):
            draw(figure, given)


def test_a_number_that_is_none_costs_its_figure_and_not_the_page() -> None:
    limit = dataclasses.replace(both().limit, radius=NAN)
    text = page(collect([("predict.json", both(limit=limit))]))
    assert "The figure limit cannot be drawn" in text and "Loss along the pruning path" in text


@pytest.mark.parametrize(("name", "result"), everything(), ids=lambda each: str(each)[:20])
def test_a_notebook_shows_every_result(name: str, result: Any) -> None:
    if name == "inspect.json":
        pytest.skip("it has no table of its own")
    text = result._repr_html_()
    assert text.startswith("<div><pre") and text.endswith("</div>")
    assert ("</svg>" in text) is (name not in ("regime.json", "export.json"))


def test_a_notebook_says_why_there_is_no_figure() -> None:
    assert "<p>The figure limit cannot be drawn" in both(curve=())._repr_html_()
    floors = dataclasses.replace(verdict(), agreement=None)
    assert "<p>A check of floors" in floors._repr_html_()
