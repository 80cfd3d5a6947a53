"""Every layer pruned alone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ...results.sensitivity import LayerCurve, SensitivityResult
from ..drawing import (
    COLOURS,
    GREY,
    canvas,
    counted_out,
    key,
    least_kept,
    level,
    looks,
    loss_axis,
    numbers,
    plain,
    require_some,
    score_axis,
    score_place,
    short_names,
    sparsity_axis,
    titled,
    wrapped,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import unit

NAME = "sensitivity"
ORDER = 9
SOURCE = "prunelimit"
HELP = "Accuracy and loss where one layer alone is pruned, layer by layer."
OF = ("sensitivity",)

__all__ = ["FIGURE", "plot_sensitivity"]

LOOKS = tuple(each for each in COLOURS if each != GREY)

NAMED = 8
"""Layers that have a look of their own, the most sensitive first; others are grey."""


def plot_sensitivity(result: SensitivityResult, path: Path | None = None) -> Figure:
    """Test accuracy and training loss by the sparsity of one layer, one line per layer.

    Bars are one paired standard error of what accuracy loses. Layers of which nothing was learnt
    have no line: the key names them.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    require_some("layer", result.layers)
    ranked = result.top(len(result.layers))
    named, others = ranked[:NAMED], ranked[NAMED:]
    unknown = [each for each in result.layers if not each.measured and each.curve == ()]
    points = [p for each in ranked for p in each.curve if p.sparsity < 1]
    floor = least_kept(p.sparsity for p in points)
    known = [p for p in points if numbers(p)]
    scores = [result.dense.accuracy, *(p.accuracy for p in known)]
    place, styles = score_place(result.data, scores), looks((x.name for x in named), LOOKS)
    letters = paper().letters(0.7, paper().small)
    shown_as = dict(
        zip(
            (each.name for each in result.layers),
            short_names([each.name for each in result.layers], letters),
            strict=True,
        )
    )
    stroke = paper().stroke
    with canvas(path, 2, 6.8, sharex=True) as (figure, (upper, lower)):

        def line(layer: LayerCurve, label: str | None, **style: object) -> None:
            shown = [p for p in layer.curve if numbers(p) and 1 - p.sparsity >= floor]
            kept = [1.0, *(1 - p.sparsity for p in shown)]
            values = [result.dense.accuracy, *(p.accuracy for p in shown)]
            upper.plot(kept, [place(v) for v in values], label=label, **style)
            lower.plot(kept, [result.dense.loss, *(p.loss for p in shown)], **style)
            if label is None or not shown:
                return
            ends = [
                [place(p.accuracy + side * p.standard_error) for p in shown] for side in (1, -1)
            ]
            middle = [place(p.accuracy) for p in shown]
            below = [abs(a - b) for a, b in zip(ends[0], middle, strict=True)]
            above = [abs(a - b) for a, b in zip(ends[1], middle, strict=True)]
            upper.errorbar(
                kept[1:], middle, yerr=(below, above), fmt="none", ecolor=style["color"],
                elinewidth=0.8 * stroke,
            )  # fmt: skip

        for layer in others:
            line(layer, None, color=GREY, linewidth=0.6 * stroke, alpha=0.6)
        for layer in named:
            look = styles[layer.name]
            line(
                layer, shown_as[layer.name], color=look.colour, marker=look.marker,
                linestyle=look.line, linewidth=1.3 * stroke, markersize=3.5 * stroke,
            )  # fmt: skip
        upper.axhline(place(result.dense.accuracy), color=GREY, linewidth=0.8)
        level(lower, result.dense.loss + result.epsilon.value, "dense loss + epsilon")
        if others:
            upper.plot([], [], color=GREY, linewidth=0.6 * stroke, label=f"{len(others)} others")
        for layer in unknown[:3]:
            upper.plot([], [], " ", label=f"{shown_as[layer.name]}: {layer.why}")
        if len(unknown) > 3:
            upper.plot([], [], " ", label=f"{len(unknown) - 3} more without a line")
        counted_out(upper, len(points) - len(known))
        tall = paper().height(6.8) / 2.6
        score_axis(upper, result.data, scores, tall)
        of = unit(result.data)
        label = "mean training loss" + (f",{of}" if of else "")
        target = result.dense.loss + result.epsilon.value
        loss_axis(lower, label, [result.dense.loss, target, *(p.loss for p in known)], tall)
        sparsity_axis(lower, floor)
        lower.set_xlabel(wrapped("sparsity of one layer, % of its weights (log of what survives)"))
        what = f"Each layer of {plain(result.model.spec)} alone, on {plain(result.data.spec)}"
        titled(upper, what)
        key(figure, upper)
    return figure


FIGURE = ReportFigure(
    NAME, SOURCE, HELP, draw=lambda results, path: plot_sensitivity(results[0], path)
)
