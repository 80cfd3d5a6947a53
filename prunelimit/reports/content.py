"""What a report says, as sections of blocks that a page and a comment show each in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import PruneLimitError
from ..limit.reliability import judge_one_shot
from ..results.types import Agreement
from . import beside
from .blocks import (
    Bullets,
    Card,
    Code,
    Fact,
    Inline,
    Lines,
    Of,
    Picture,
    Said,
    Section,
    Table,
    Text,
    Verdict,
    table,
)
from .command import CONFIGS, command_line
from .sources import Collection, Source
from .words import SOURCES, ZEROS, digits, matrix, predicted

__all__ = ["cards", "sections", "verdicts"]


def cards(found: Collection) -> tuple[Card, ...]:
    """The two numbers, or as many as the files hold."""
    source = found.one("predict")
    if source is not None:
        of, result, made = Of(source), source.result, []
        if result.one_shot is not None:
            judged = judge_one_shot(result.one_shot, result.reliability.path)
            doubted = not judged.ok
            made.append(
                Card("Plain", of.threshold("one_shot"), PLAIN, _unresolved(of) if doubted else ())
            )
        doubts = () if result.reliability.ok else of.each("reliability.reasons")
        return (*made, Card("Limit", of.threshold("limit"), LIMIT, doubts))
    source = found.one("compare")
    if source is not None:
        of = Of(source)
        doubts = () if source.result.reliability.ok else of.each("reliability.reasons")
        return (Card("Limit", of.threshold("limit"), LIMIT, doubts),)
    source = found.one("history")
    if source is not None and source.result.points:
        return beside.last_checkpoint(source, PLAIN, LIMIT)
    return tuple(
        Card(f"Measured, {source.result.method}", Of(source).threshold("thresholds.0"),
             ("The largest sparsity with ", *Of(source).rule("thresholds.0"), "."),
             predicted=False)
        for source in found.all("measure")
        if source.result.thresholds
    )  # fmt: skip


PLAIN: Inline = ("The smallest weights removed, nothing else changed: the loss stays up to here.",)
LIMIT: Inline = ("Up to here some setting of the surviving weights keeps the loss.",)


def _unresolved(of: Of) -> tuple[Inline, ...]:
    """What plain is doubted for, which no field holds as a sentence."""
    return (("It is not resolved well: its interval is ", *of.threshold("one_shot")[2:-1], "."),)


def verdicts(found: Collection) -> tuple[Verdict, ...]:
    """What the checks say; where there is none, how to obtain one."""
    made = []
    for source in found.all("check"):
        of = Of(source)
        for number, gate in enumerate(source.result.gates):
            if gate.kind == "agreement":
                made.append(_agreement(of, source.result.agreement))
            else:
                made.append(Verdict(gate.passed, (of.said(f"gates.{number}.reason"),)))
    if len(made) > 1:
        made.sort(key=lambda each: bool(each.passed))
        passed = bool(made[0].passed)
        folded = [dataclasses.replace(each, folded=True) for each in made[OPEN:]]
        head = Verdict(passed, ("Every gate passed." if passed else "Not every gate passed.",))
        return (head, *made[:OPEN], *folded)
    if made:
        return tuple(made)
    both = [found.one("predict"), found.one("measure")]
    how: Inline = ()
    if None not in both:
        names = " ".join(each.name for each in both if each is not None)
        how = (" Obtain one: ", Code(f"prunelimit check {names}"))
    return (Verdict(None, ("No check of predicted against measured is among the files.", *how)),)


OPEN = 5
"""Gates that a reader sees at once, those that failed first."""


def _agreement(of: Of, agreement: Agreement) -> Verdict:
    parts: Inline = (
        f"{predicted(agreement.number).capitalize()} ",
        *of.interval("", "agreement.predicted_interval", "agreement.predicted"),
        ", measured (", of.said("agreement.rule"), ") ",
        *of.interval("", "agreement.measured_interval", "agreement.measured"),
        "; the difference is ", of.number("agreement.difference_pp", "points"), ", and ",
        of.number("agreement.tolerance_pp", "tolerance"), " is accepted.",
    )  # fmt: skip
    said = (*of.each("agreement.reasons"), *of.each("agreement.notes"))
    return Verdict(agreement.passed, parts, said)


def sections(found: Collection) -> tuple[Section, ...]:
    """Everything below the numbers, in the order people ask for it."""
    made = (
        _measured(found),
        _methods(found),
        _limit(found),
        _spectrum(found),
        _layers(found),
        beside.layers_alone(found),
        _reliability(found),
        _pruned(found),
        _trained(found),
        beside.checkpoints(found),
        beside.regime(found),
        beside.inspected(found),
        beside.exported(found),
        _computed(found),
    )
    return tuple(
        dataclasses.replace(each, blocks=tuple(filter(_says_something, each.blocks)))
        for each in made
        if each is not None
    )


def _says_something(block: Any) -> bool:
    if isinstance(block, Bullets):
        return bool(block.items)
    return not isinstance(block, Table) or bool(block.rows)


def _columns(of: Of) -> tuple[str, ...]:
    return "sparsity", f"test {of.metric}", f"training loss{of.unit}", "weights left"


def _curve(of: Of, place: str, points: Sequence[Any]) -> list[list[Inline]]:
    return [
        [
            (of.percent(f"{place}.{n}.sparsity", 2),),
            (of.score(f"{place}.{n}.accuracy"),),
            (of.number(f"{place}.{n}.loss", "nats"),),
            (of.number(f"{place}.{n}.nonzero", "count"),),
        ]
        for n in range(len(points))
    ]


def _measured(found: Collection) -> Section | None:
    measured = found.all("measure")
    if not measured:
        return None
    prediction = found.one("predict")
    together = measured if prediction is None else (*measured, prediction)
    first = Of(measured[0])
    title = first.metric[:1].upper() + first.metric[1:]
    rows = [
        [(Of(s).said("method"),), Of(s).rule(f"thresholds.{n}"), Of(s).threshold(f"thresholds.{n}")]
        for s in measured
        for n in range(len(s.result.thresholds))
    ]
    blocks: list[Any] = [
        Picture("measure", f"{title} and loss against sparsity", tuple(together)),
        table(
            "Largest sparsity that holds a rule",
            ("method", "rule", "of prunable weights"), rows, 2, *measured,
        ),
        Text(
            (
                "An interval covers the sampling error of the test samples. The dense network has "
                f"a test {first.metric} of ", first.score("dense.accuracy"),
                " and a mean training loss of ", *first.loss("dense.loss"),
                "; epsilon is ", *first.loss("epsilon.value"), " (", first.said("epsilon.rule"),
                ").",
            )
        ),
    ]  # fmt: skip
    for source in measured:
        witness = source.result.witness
        if witness is not None:
            of = Of(source)
            blocks.append(
                Text(
                    (
                        "How far training of the survivors (", of.said("method"), ") has "
                        "converged: the last doubling of its passes added ",
                        of.number("witness.converged_pp", "points"), ".",
                    )
                )
            )  # fmt: skip
    blocks += [
        table(
            f"All points of {source.name}", _columns(first),
            _curve(Of(source), "curve", source.result.curve), 0, source, folded=True,
        )
        for source in measured
    ]  # fmt: skip
    return Section("measured", f"{title} and loss against sparsity", tuple(blocks))


def _methods(found: Collection) -> Section | None:
    source = found.one("compare")
    if source is None:
        return None
    of, result = Of(source), source.result
    prediction = found.one("predict")
    together = (source,) if prediction is None else (source, prediction)
    rows = [
        [
            (of.said(f"methods.{m}.method"),),
            of.rule(f"methods.{m}.thresholds.{n}"),
            of.threshold(f"methods.{m}.thresholds.{n}"),
            (of.number(f"methods.{m}.thresholds.{n}.distance_pp", "points"),),
        ]
        for m, method in enumerate(result.methods)
        for n in range(len(method.thresholds))
    ]
    costs = [
        [
            (of.said(f"methods.{m}.method"),),
            (of.number(f"methods.{m}.cost.products", "count"),),
            (of.number(f"methods.{m}.cost.epochs", "count"),),
            (of.number(f"methods.{m}.cost.seconds", "seconds"),),
        ]
        for m in range(len(result.methods))
    ]
    blocks: list[Any] = [
        Picture("compare", "Methods and the limit", together),
        Text(("The limit is ", *of.threshold("limit"), " of the prunable weights.")),
        table(
            "Methods against the limit",
            ("method", "rule", "of prunable weights", "left to the limit"), rows, 2, source,
        ),
        table(
            "What each method cost", ("method", "products", "epochs", "time"), costs, 1, source,
            folded=True,
        ),
        *(
            table(
                f"All points of {method.method}",
                _columns(of), _curve(of, f"methods.{m}.curve", method.curve), 0, source,
                folded=True,
            )
            for m, method in enumerate(result.methods)
        ),
    ]  # fmt: skip
    if result.interrupted:
        blocks.insert(0, Text(("The comparison was interrupted: methods are missing.",), True))
    return Section("methods", "Methods against the limit", tuple(blocks))


def _limit(found: Collection) -> Section | None:
    source = found.one("predict")
    if source is None:
        return None
    of, result = Of(source), source.result
    limit = result.limit
    rows = [
        [
            (of.said(f"variants.{n}.formula"),),
            (of.said(f"variants.{n}.operator"),),
            of.threshold(f"variants.{n}"),
        ]
        for n in range(len(result.variants))
    ]
    errors = [
        [(SOURCES.get(name, name),), (of.number(f"limit.errors.{name}", "share-points"),)]
        for name in limit.errors
        if "." not in name
    ]
    where, caption = "where the two curves cross", "Width and radius cross at the limit"
    if limit.errors.get("network"):
        where = (
            "the middle of two crossings: of this one, with all parameters free, and of a lower "
            "one, with the prunable weights alone free"
        )
        caption = "Width and radius; the limit is the middle of this crossing and a lower one"
    blocks: list[Any] = [
        Text(
            (
                "Removing weights costs a radius; the flat directions of the loss allow a width. "
                f"The limit is {where}. It keeps ",
                of.number("limit.kept", "count"), " of ", of.number("model.prunable", "count"),
                " prunable weights and is ", of.percent("limit.sparsity_of_all"),
                " of all parameters.",
            )
        ),
        Picture("limit", caption, (source,)),
        table(
            "The limit by formula and operator",
            ("formula", "operator", "of prunable weights"), rows, 2, source,
        ),
        table(
            "What the interval covers, to either side", ("source of error", "half width"), errors,
            1, source, folded=True,
        ),
    ]  # fmt: skip
    if limit.expected is not None and limit.expected_middle is not None:
        low, high = (of.percent(f"limit.expected.{side}") for side in (0, 1))
        middle = of.percent("limit.expected_middle")
        blocks.insert(
            1, Text(("By what other networks did, trained survivors stop near ", middle, " (", low,
                     " to ", high, ").")),
        )  # fmt: skip
    return Section("limit", "Width and crossing", tuple(blocks))


SUMMARY = (
    ("lambda_max", "largest eigenvalue", "nats"),
    ("lambda_min", "smallest eigenvalue", "nats"),
    ("trace", "trace", "nats"),
    ("trace_standard_error", "standard error of the trace", "short"),
    ("negative_mass", "eigenvalues below zero", "percent"),
)


def _spectrum(found: Collection) -> Section | None:
    source = found.one("spectrum") or found.one("predict")
    if source is None:
        return None
    of, curvature = Of(source), source.result.curvature
    rows = []
    for name, label, form in SUMMARY:
        if name == "trace_standard_error" and curvature.probes < 2:
            continue  # one probe says nothing of its own error
        where = f"curvature.{name}"
        fact = of.percent(where) if form == "percent" else of.number(where, form)
        rows.append([(f"{label}",), (fact,)])
    picture = [Picture("spectrum", "The spectral density", (source,))]
    return Section(
        "spectrum",
        f"Spectrum of the {matrix(curvature.kind)}",
        (
            *(picture if source.command == "spectrum" else []),
            table("The spectrum in a few numbers", ("", "value"), rows, 1, source),
            *_sharpness(source),
        ),
    )


def _sharpness(source: Source) -> list[Any]:
    """Measures of sharpness with their intervals, where there are some."""
    sharp = getattr(source.result, "sharpness", None)
    if sharp is None:
        return []
    of, rows = Of(source), []
    for place, each in enumerate(sharp.measures):
        where = f"sharpness.measures.{place}"
        ends = [of.number(f"{where}.interval.{side}", "short") for side in (0, 1)]
        name: list[Any] = [of.said(f"{where}.name")]
        if each.layer is not None:
            name += [", ", of.said(f"{where}.layer")]
        at = () if each.parameter is None else (of.number(f"{where}.parameter", "short"),)
        value = of.number(f"{where}.value", "short")
        rows.append([tuple(name), at, (value,), (ends[0], " to ", ends[1])])
    head = ("measure", "order or ridge", "value", "interval")
    return [table("Sharpness", head, rows, 1, source, folded=len(rows) > 12)]


def _layers(found: Collection) -> Section | None:
    sources = [each for each in (found.one("predict"), *found.all("prune")) if each is not None]
    blocks: list[Any] = []
    for source in sources:
        of, layers = Of(source), source.result.layers
        if not layers:
            continue
        what = "at the limit" if source.command == "predict" else "pruned"
        rows = [
            [
                (of.said(f"layers.{n}.name"),),
                tuple(_shape(of, n, len(layer.shape))),
                (of.number(f"layers.{n}.kept", "count"),),
                (of.percent(f"layers.{n}.sparsity", digits(x.sparsity for x in layers)),),
            ]
            for n, layer in enumerate(layers)
        ]
        caption = f"Layers {what}, {source.name}"
        blocks += [
            Picture("layers", f"What survives of every layer, {what}", (source,)),
            table(
                caption, ("weight", "shape", "kept", "sparsity"), rows, 1, source,
                folded=len(layers) > 12,
            ),
        ]  # fmt: skip
    return Section("layers", "Sparsity by layer", tuple(blocks)) if blocks else None


def _shape(of: Of, layer: int, length: int) -> Iterable[str | Fact]:
    for n in range(length):
        if n:
            yield " x "
        yield of.number(f"layers.{layer}.shape.{n}", "count")


def _reliability(found: Collection) -> Section | None:
    source = found.one("predict") or found.one("compare")
    if source is None:
        return None
    of, reliability = Of(source), source.result.reliability
    blocks: list[Any] = []
    if reliability.ok:
        blocks.append(Text(("Yes: no reason against it was found.",)))
    else:
        blocks += [
            Text(
                ("No. Before you act on the limit, measure trained survivors, or mend this:",), True
            ),
            Bullets(of.each("reliability.reasons")),
        ]
    if reliability.nonquadraticity is not None:
        blocks.append(
            Text(
                (
                    "Where the loss has risen by epsilon, this rise is ",
                    of.number("reliability.nonquadraticity", "short"),
                    " times what the second-order model says; the model is exact where this is "
                    "one.",
                )
            )
        )  # fmt: skip
    if reliability.path:
        rows = [
            [
                (of.percent(f"reliability.path.{n}.sparsity"),),
                *((of.number(f"reliability.path.{n}.{name}", "rise"),)
                  for name in ("loss_rise", "quadratic_rise", "linear_rise")),
            ]
            for n in range(len(reliability.path))
        ]  # fmt: skip
        if source.command == "predict":
            blocks.append(Picture("path", "Loss along the pruning path", (source,)))
        blocks.append(
            table(
                f"Loss rise along the pruning path{of.unit}",
                ("sparsity", "actual", "quadratic part", "linear part"), rows, 0, source,
            )
        )  # fmt: skip
    return Section("reliability", "Can the limit be trusted?", tuple(blocks))


def _pruned(found: Collection) -> Section | None:
    sources = found.all("prune")
    if not sources:
        return None
    rows = [
        [
            (of.said("method"),),
            (of.percent("sparsity"),),
            (of.score("accuracy_before"),),
            (of.score("accuracy_after"),),
            of.fall("drop", "standard_error"),
            (of.number("artifact.bytes", "bytes"),) if of.source.result.artifact else ("",),
        ]
        for of in map(Of, sources)
    ]
    name = Of(sources[0]).metric
    blocks: list[Any] = [
        table(
            "What pruning left",
            ("method", "sparsity", f"{name} before", "after", "change", "file"), rows, 1, *sources,
        ),
        Text((ZEROS,)),
    ]  # fmt: skip
    warnings = tuple(item for source in sources for item in Of(source).each("warnings"))
    if warnings:
        blocks.append(Bullets(warnings))
    return Section("pruned", "Pruned networks", tuple(blocks))


def _trained(found: Collection) -> Section | None:
    source = found.one("train")
    if source is None:
        return None
    of = Of(source)
    blocks: list[Any] = [
        Text(
            (
                f"The dense network was trained to a test {of.metric} of ",
                of.score("dense.accuracy"), " and a mean training loss of ",
                *of.loss("dense.loss"), ".",
            )
        )
    ]  # fmt: skip
    if len(source.result.history) > 1:
        blocks.append(Picture("training", "Training by epoch", (source,)))
    return Section("trained", "Training", tuple(blocks))


def _computed(found: Collection) -> Section:
    prediction = found.one("predict")
    blocks: list[Any] = []
    if prediction is not None:
        of, curvature = Of(prediction), prediction.result.curvature
        carried: Inline = ()
        if curvature.carried is not None and curvature.carried < 1:
            carried = (" They carry ", of.percent("curvature.carried"), " of the output curvature.")
        blocks.append(
            Text(
                (
                    "The prediction took ", of.number("curvature.products", "count"),
                    f" products with the {matrix(curvature.kind)} on ",
                    of.number("curvature.samples", "count"), " training samples (",
                    of.number("curvature.probes", "count"),
                    " probe, " if curvature.probes == 1 else " probes, ",
                    of.number("curvature.steps", "count"), " Lanczos steps); each took ",
                    of.number("curvature.product_seconds", "seconds"), ".", *carried,
                )
            )
        )  # fmt: skip
    rows = [
        [
            (source.name,),
            (of.said("command"),),
            (of.number("wall_seconds", "seconds"),),
            (of.number("peak_bytes", "memory"),),
            (of.number("seed", "count"),),
            (of.said("device"),),
            (of.said("created"),),
        ]
        for source in found.sources
        for of in [Of(source)]
    ]
    alike = _of_one_environment(found.sources)
    versions = [
        [(str(name),), *((_version(each[0], str(name)),) for each in alike)]
        for name in dict.fromkeys(n for s in found.sources for n in s.result.provenance.versions)
        if "." not in str(name)
    ]
    tool: list[Any] = [
        ("prunelimit",),
        *((Of(each[0]).said("tool_version"),) for each in alike),
    ]
    blocks += [
        table(
            "Cost and place", ("file", "command", "time", "memory", "seed", "device", "begun"),
            rows, 2, *found.sources,
        ),
        table(
            "Environment",
            ("package", *(", ".join(s.name for s in each) if len(alike) > 1 else "version"
                          for each in alike)),
            [tool, *versions], 1 + len(alike), *found.sources, folded=True,
        ),
    ]  # fmt: skip
    lines = [line for line in map(_again, found.sources) if line is not None]
    if lines:
        blocks += [
            Text(("To obtain it again, with CKPT the checkpoint that the files are about:",)),
            Lines(tuple(lines)),
        ]
    return Section("computed", "How it was computed", tuple(blocks))


def _of_one_environment(sources: Sequence[Source]) -> list[list[Source]]:
    """Files that were made by the same versions, together."""
    groups: dict[str, list[Source]] = {}
    for each in sources:
        made = each.result.provenance
        groups.setdefault(repr((made.tool_version, sorted(made.versions.items()))), []).append(each)
    return list(groups.values())


def _version(source: Source, name: str) -> Said | str:
    if name not in source.result.provenance.versions:
        return ""
    return Of(source).said(f"versions.{name}")


def _again(source: Source) -> str | None:
    """The command line of a result, where its settings are those of this version."""
    provenance = source.result.provenance
    if provenance.command not in CONFIGS or not source.checkpoints:
        return None
    try:
        return command_line(provenance, "CKPT")
    except (PruneLimitError, TypeError, ValueError, AttributeError):
        return None
