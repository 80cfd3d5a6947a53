"""Results as tables for a terminal: rich renderables, printed by whoever asked for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import one_line
from ..estimation.plan import Plan
from ..inputs.formats import loading_line
from ..limit.reliability import judge_one_shot
from ..results.types import (
    Artifact,
    CheckResult,
    CompareResult,
    CompensationResult,
    Cost,
    CrossCheck,
    CurvatureSummary,
    DataInfo,
    Dense,
    Epsilon,
    LayerResult,
    Limit,
    MeasureResult,
    PredictResult,
    PruneResult,
    Reliability,
    SharpnessSummary,
    SpectrumResult,
    Threshold,
    TrainResult,
    Within,
    Witness,
)
from .command import problem_line
from .words import (
    basis,
    count,
    digits,
    fall,
    interval,
    matrix,
    measure_name,
    metric,
    modelled,
    percent,
    predicted,
    rule,
    score,
    span,
    unit,
)

__all__ = [
    "check_table",
    "compare_table",
    "measure_table",
    "plan_table",
    "predict_table",
    "prune_table",
    "sharpness_table",
    "spectrum_table",
    "train_table",
    "verdict",
]

BLANK = Text("")


def _titled(title: str, table: Table) -> Group:
    # A table's own title is wrapped to the table's width.
    return Group(Text(title, style="bold"), table)


def _pairs(title: str, rows: Iterable[tuple[str, str]]) -> Group:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(one_line(name)), Text(one_line(value)))
    return _titled(one_line(title), table)


def _grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Group:
    """A table whose first column is of words, the others of numbers."""
    table = Table(box=None, padding=(0, 2))
    for index, column in enumerate(columns):
        table.add_column(
            column, justify="left" if index == 0 else "right", header_style="dim", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return _titled(title, table)


def _layers(layers: Sequence[LayerResult]) -> Group:
    places = digits(layer.sparsity for layer in layers)
    return _grid(
        "Layers",
        ("weight", "shape", "kept", "sparsity"),
        (
            (
                layer.name,
                "x".join(str(size) for size in layer.shape),
                f"{layer.kept:,}",
                percent(layer.sparsity, places),
            )
            for layer in layers
        ),
    )


def _reliability(reliability: Reliability) -> Group:
    """The verdict, its reasons and the losses it rests on."""
    parts: list[RenderableType] = []
    if reliability.ok:
        parts.append(Text("Reliable: yes", style="bold green"))
    else:
        parts.append(Text("Reliable: NO", style="bold red"))
    parts += [_point(reason) for reason in reliability.reasons]
    if reliability.ok and reliability.nonquadraticity is not None:
        parts.append(
            _point(
                "Where the loss has risen by epsilon, it is "
                f"{reliability.nonquadraticity:.2g} times what the second-order model says."
            )
        )
    places = digits(point.sparsity for point in reliability.path)
    path = _grid(
        "Loss rise along the pruning path",
        ("sparsity", "actual", "quadratic part", "linear part"),
        (
            (
                percent(point.sparsity, places),
                f"{point.loss_rise:.2e}",
                f"{point.quadratic_rise:.2e}",
                f"{point.linear_rise:.2e}",
            )
            for point in reliability.path
        ),
    )
    return Group(*parts, BLANK, path) if reliability.path else Group(*parts)


def _point(text: str) -> RenderableType:
    """One of a list; what is wrapped is indented."""
    row = Table.grid(padding=(0, 1))
    row.add_row(Text("  -"), Text(text))
    return row


def _dense(dense: Dense, data: DataInfo) -> tuple[str, str]:
    scored = f"test {metric(data)} {score(dense.accuracy, data)}"
    return "dense network", f"loss {dense.loss:.4g}, {scored}"


def _tolerance(epsilon: Epsilon, data: DataInfo) -> list[tuple[str, str]]:
    """With where it comes from, and what is to be said of it."""
    rows = [("loss tolerance", f"{epsilon.value:.4g}{unit(data)} ({epsilon.rule})")]
    if epsilon.interval is not None and epsilon.sparsity is not None:
        low, high = epsilon.interval
        rows.append(
            (
                "",
                f"{low:.4g} to {high:.4g}: what plain pruning to {percent(epsilon.sparsity, 2)} "
                f"adds, where {metric(data)} on {epsilon.held_out:,} training samples has "
                "fallen so far",
            )
        )
    if epsilon.note is not None:
        rows.append(("", epsilon.note))
    return rows


def _formula(limit: Limit) -> str:
    """Of two readings it is the middle where the network leans on what is not pruned."""
    text = f"{limit.formula}, {limit.operator}"
    if not limit.errors.get("network"):
        return text
    return f"{text}: the middle of all parameters free and of the prunable weights alone"


SOURCES = {"network": "what is not pruned"}
"""Sources of error whose names say too little by themselves."""


def _sources(limit: Limit) -> str:
    parts = (
        f"{SOURCES.get(source, source)} {100 * error:.2f}" for source, error in limit.errors.items()
    )
    return f"{', '.join(parts)} pp to either side"


ENDED = {
    "tolerance": "half the interval is within {tolerance}",
    "samples": "what the samples leave open outweighs the rest; more of them narrow it",
    "network": "what the linear model makes of parameters that are not pruned outweighs the rest",
    "max-products": "the products allowed were spent before {tolerance} was reached",
    "max-seconds": "the time allowed had passed before {tolerance} was reached",
    "memory": "no memory for more Lanczos vectors before {tolerance} was reached",
    "interrupted": "interrupted before {tolerance} was reached",
}
"""Why the tool stopped refining, where it chose how far to go."""


def _ended(result: PredictResult) -> list[tuple[str, str]]:
    text = ENDED.get(result.curvature.ended)
    tolerance = result.provenance.config.get("limit", {}).get("tolerance", math.nan)
    return [] if text is None else [("ended", text.format(tolerance=f"{100 * tolerance:g}pp"))]


def _checked(found: CrossCheck | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    return [
        (
            "PyHessian",
            f"{'agrees' if found.agree else 'disagrees'}: largest eigenvalue "
            f"{found.lambda_max:.5g}, trace {found.trace:.5g} +- {found.trace_standard_error:.2g}",
        )
    ]


def _rounded(found: CurvatureSummary) -> list[tuple[str, str]]:
    if found.rounding_error is None:
        return []
    text = f"{found.precision}: a product is off by {100 * found.rounding_error:.2g}%"
    return [("precision", text)]


def _products(found: CurvatureSummary) -> str:
    products = count(found.products, "product")
    text = f"{products} of the {matrix(found.kind)} on {found.samples:,} samples"
    if found.carried is None or found.carried >= 1:
        return text
    return f"{text} that carry {_share(found.carried)} of the output curvature"


def _share(fraction: float) -> str:
    """Less than all, and shown so."""
    places = 1
    while places < 6 and round(100 * fraction, places) >= 100:
        places += 1
    return percent(fraction, places)


def train_table(result: TrainResult) -> RenderableType:
    """A finished training."""
    return _pairs(
        f"{result.model.spec} trained on {result.data.spec}",
        [
            (f"test {metric(result.data)}", score(result.dense.accuracy, result.data)),
            ("training loss", f"{result.dense.loss:.4g}{unit(result.data)}"),
            ("parameters", f"{result.model.parameters:,}"),
            ("prunable weights", f"{result.model.prunable:,}"),
            *_written(result.artifact),
        ],
    )


def _written(file: Artifact | None) -> list[tuple[str, str]]:
    if file is None:
        return []
    return [
        ("checkpoint", f"{file.path} ({file.bytes:,} bytes)"),
        ("loaded by", loading_line(file.path, file.format)),
    ]


def spectrum_table(result: SpectrumResult) -> RenderableType:
    """The spectrum in a few numbers."""
    found = result.curvature
    # One probe says nothing of its own error.
    error = f" +- {found.trace_standard_error:.2g} (one sd)" if found.probes > 1 else ""
    table = _pairs(
        f"Spectrum of the {matrix(found.kind)} of {result.model.spec} on {result.data.spec}",
        [
            ("free parameters", f"{result.model.free:,}"),
            ("samples", f"{found.samples:,}"),
            ("probes", f"{found.probes} of {found.steps} Lanczos steps"),
            ("largest eigenvalue", f"{found.lambda_max:.5g}"),
            ("smallest eigenvalue", f"{found.lambda_min:.5g}"),
            ("trace", f"{found.trace:.5g}{error}"),
            ("negative eigenvalues", percent(found.negative_mass)),
            ("seconds per product", f"{found.product_seconds:.3g}"),
            ("seconds per gradient", f"{found.gradient_seconds:.3g}"),
            *_rounded(found),
            *_checked(found.cross_check),
        ],
    )
    sharp = result.sharpness
    return table if sharp is None else Group(table, BLANK, sharpness_table(sharp))


READ = {
    "ggn": "The matrix has no negative eigenvalues.",
    "absolute": "Negative eigenvalues: with their sign in the first two, squared in the third, by "
    "magnitude in the others.",
}
"""How negative eigenvalues are read."""


def sharpness_table(found: SharpnessSummary) -> RenderableType:
    """Every measure of sharpness with its interval."""
    rows = [
        (name, f"{each.value:.5g}", "{:.5g} to {:.5g}".format(*each.interval))
        for each, name in ((each, measure_name(each)) for each in found.measures)
    ]
    grid = _grid("Sharpness", ("measure", "value", f"{percent(found.confidence, 0)}"), rows)
    said = [READ.get(found.reading, f"Negative eigenvalues are read as {found.reading}.")]
    if found.note is not None:
        said.append(f"No effective dimension: {found.note}")
    return Group(grid, *(_point(each) for each in said))


def _expected(limit: Limit) -> list[tuple[str, str]]:
    """Where trained survivors are expected to stop."""
    if limit.expected is None or limit.expected_middle is None:
        return []
    stops = interval(limit.expected_middle, limit.expected)
    return [("expected", f"{stops}: here trained survivors stop, by what other networks did")]


def _headlines(
    result: PredictResult, where: str, spell: Callable[[str], str]
) -> list[tuple[str, str]]:
    """The two numbers, with what speaks against each."""
    limit, reasons = result.limit, result.reliability.reasons
    rows = []
    if result.one_shot is not None:
        plain = result.one_shot
        stops = interval(plain.sparsity, plain.interval)
        rows.append(("plain", f"{stops}: up to here the loss stays with nothing moved"))
        judged = judge_one_shot(plain, result.reliability.path)
        if not judged.ok:
            rows.append(("", f"NOT RELIABLE: {spell(judged.reasons[0])}"))
    stops = interval(limit.sparsity, limit.interval)
    rows.append(("limit", f"{stops}: up to here some setting of the surviving weights keeps it"))
    if not result.reliability.ok:
        more = f" ({len(reasons) - 1} more {where})" if len(reasons) > 1 else ""
        rows.append(("", f"NOT RELIABLE: {reasons[0]}{more}"))
    rows += _expected(limit)
    kept = f"the limit keeps {limit.kept:,} of {result.model.prunable:,} prunable weights"
    rows.append(("", f"{kept}; it is {percent(limit.sparsity_of_all)} of all parameters"))
    return rows


def predict_table(
    result: PredictResult,
    checkpoint: str | None,
    *,
    verbose: bool = True,
    more: str = "with -v",
    spell: Callable[[str], str] = str,
) -> Group:
    """The two numbers and what to do next with ``checkpoint``, if there is one.

    With ``verbose`` the limit by other formulas and operators, the evidence and the layers too;
    without, ``more`` says where further reasons stand. ``spell`` spells fields in sentences that
    are not the result's own.
    """
    limit = result.limit
    head = _pairs(
        f"Sparsity of {result.model.spec} on {result.data.spec}, of prunable weights",
        [
            *_headlines(result, more, spell),
            *_tolerance(result.epsilon, result.data),
            _dense(result.dense, result.data),
            ("cost", _products(result.curvature)),
            *_rounded(result.curvature),
            *_checked(result.curvature.cross_check),
        ],
    )
    following = [] if checkpoint is None else [BLANK, _next(result, checkpoint)]
    if not verbose:
        return Group(head, *following)
    details = [
        ("formula", _formula(limit)),
        (f"{100 * limit.confidence:g}% interval", _sources(limit)),
        ("ALMT band", " to ".join(percent(bound) for bound in limit.band)),
        *_ended(result),
    ]
    if result.one_shot is not None:
        details.insert(0, ("plain", basis(result.one_shot)))
        if modelled(result.one_shot):
            details.insert(1, ("", modelled(result.one_shot)))
    variants = _grid(
        "By formula and operator, of prunable weights",
        ("formula", "operator", "limit"),
        (
            (each.formula, each.operator, interval(each.sparsity, each.interval))
            for each in result.variants
        ),
    )
    return Group(
        head,
        BLANK,
        _pairs("Details", details),
        BLANK,
        variants,
        BLANK,
        _reliability(result.reliability),
        BLANK,
        _layers(result.layers),
        *following,
    )


def plan_table(found: Plan, network: str) -> RenderableType:
    """What a prediction would take."""
    return _pairs(
        f"What predicting the limit of {network} takes, about",
        [
            ("products", f"{found.products:,} on {found.samples:,} samples"),
            ("time", f"{span(found.seconds)}" + (", by your budget" if found.bounded else "")),
            ("of that", f"{span(found.evaluation_seconds)} to evaluate data and pruning path"),
            ("memory", f"{found.memory_bytes / 2**20:,.0f} MiB beside network and data"),
            ("of that", f"{found.vectors_bytes / 2**20:,.0f} MiB of Lanczos vectors"),
        ],
    )


STAGE_INPUTS = 7_500
"""Inputs of a stage's solve, where there are so many."""
STAGE_PRODUCTS = 25


def _next(result: PredictResult, checkpoint: str) -> RenderableType:
    """The commands for this very file."""
    found, limit = result.curvature, result.limit.sparsity
    share = min(STAGE_INPUTS, result.data.samples) / max(1, found.samples)
    stages = 2 * max(1.0, -math.log2(max(1e-4, 1 - limit)))
    staged = 2 * stages * STAGE_PRODUCTS * share * found.product_seconds
    prune = problem_line(result.provenance, "prune", checkpoint)
    measure = problem_line(result.provenance, "measure", checkpoint)
    rows = []
    if result.one_shot is not None:
        plain = percent(result.one_shot.sparsity)
        rows.append((f"{prune} -o pruned.pt", f"plain, {plain}"))
    about = f"about {span(staged)}"
    if result.data.points:
        rows.append(
            (
                f"{prune} --within 0.5pp --survivors staged -o pruned.pt",
                f"sparsest within half a point of {metric(result.data)}, {about} or more",
            )
        )
    doubt = "" if result.reliability.ok else ", which is not reliable"
    rows.append(
        (
            f"{prune} --survivors staged -o pruned.pt",
            f"to the limit, {percent(limit)}{doubt}, {about}",
        )
    )
    rows.append((f"{measure} --survivors trained", "tests the limit"))
    lines: list[RenderableType] = [Text("Next", style="bold")]
    for command, what in rows:
        lines += [Text(f"  {what}:"), Text(f"    {command}", overflow="ignore", no_wrap=True)]
    return Group(*lines)


def prune_table(result: PruneResult, *, verbose: bool = True) -> RenderableType:
    """What was removed, and what the file saves."""
    head = _pairs(
        f"{result.model.spec} pruned by {result.method}",
        [
            (
                "sparsity",
                f"{percent(result.sparsity)} of prunable weights, "
                f"{result.nonzero:,} of {result.model.prunable:,} not zero",
            ),
            (
                f"test {metric(result.data)}",
                f"{score(result.accuracy_before, result.data)} before, "
                f"{score(result.accuracy_after, result.data)} after "
                f"({fall(result.drop, result.standard_error, result.data)})",
            ),
            *_held_out(result.within),
            *_shared(result.allocation, result.calibration),
            *_saved(result.artifact),
        ],
    )
    note = Text("Unstructured zeros save bytes on disk; they do not make a CPU or GPU faster.")
    parts: list[RenderableType] = [head, note]
    if result.reliability is not None and not result.reliability.ok:
        parts.append(Text(f"The number is NOT RELIABLE: {result.reliability.reasons[0]}"))
    if verbose:
        if result.reliability is not None:
            parts += [BLANK, _reliability(result.reliability)]
        if result.compensation is not None:
            parts += [BLANK, *_compensation(result.compensation)]
        parts += [BLANK, _layers(result.layers)]
    return Group(*parts, *(Text(f"Warning: {each}") for each in result.warnings))


def _saved(file: Artifact | None) -> list[tuple[str, str]]:
    """What was written, and what packing saves."""
    if file is None:
        return []
    packed = [("not packed", f"{file.bytes_dense:,} bytes")] * (file.bytes != file.bytes_dense)
    return [
        ("checkpoint", f"{file.path}: {file.bytes:,} bytes ({file.format})"),
        *packed,
        ("loaded by", loading_line(file.path, file.format)),
    ]


def _held_out(found: Within | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    text = (
        f"{0.0 - 100 * found.drop:+.2f} pp, +- {100 * found.standard_error:.2f}, on "
        f"{found.held_out:,} training samples held out; within {100 * found.tolerance:g} pp was "
        "asked for"
    )
    return [("held out", text)]


def _shared(allocation: str | None, calibration: int) -> list[tuple[str, str]]:
    facts = []
    if allocation not in (None, "global"):
        facts.append(("allocation", str(allocation)))
    if calibration:
        facts.append(("calibration", f"{calibration:,} training samples"))
    return facts


def _compensation(found: CompensationResult) -> list[RenderableType]:
    """Stage by stage, then what is to be warned of."""
    grid = _grid(
        f"Compensation on {found.calibration:,} inputs a stage, {found.undone} stages undone",
        ("sparsity", "divergence unmoved", "moved", "trust", "steps"),
        (
            (
                percent(each.sparsity),
                f"{each.unmoved:.3g}",
                f"{each.moved:.3g}",
                "-" if each.trust is None else f"{each.trust:.2f}",
                str(each.steps),
            )
            for each in found.stages
        ),
    )
    return [grid, *(Text(warning) for warning in found.warnings)]


def measure_table(result: MeasureResult) -> RenderableType:
    """The thresholds, then the curve."""
    facts = [_dense(result.dense, result.data), *_tolerance(result.epsilon, result.data)]
    facts += _shared(result.allocation, result.calibration)
    if result.witness is not None:
        facts += _witness(result.witness)
    if result.cost is not None and result.cost.products:
        products = count(result.cost.products, "product")
        facts.append(("cost", f"{products} on {result.cost.samples:,} samples"))
    head = _pairs(
        f"Measured sparsity of {result.model.spec} on {result.data.spec}, {result.method}", facts
    )
    thresholds = _grid(
        "Thresholds, of prunable weights",
        ("largest sparsity with", "sparsity"),
        (
            (rule(each, result.data), interval(each.sparsity, each.interval))
            for each in result.thresholds
        ),
    )
    curve = _grid(
        "Curve",
        ("sparsity", f"test {metric(result.data)}", "training loss", "weights not zero"),
        (
            (
                percent(point.sparsity, 2),
                score(point.accuracy, result.data),
                f"{point.loss:.4g}",
                f"{point.nonzero:,}",
            )
            for point in result.curve
        ),
    )
    return Group(head, BLANK, thresholds, BLANK, curve)


def _witness(found: Witness) -> list[tuple[str, str]]:
    """How the threshold grows with the budget."""
    places = digits(each.sparsity for each in found.budgets)
    by_budget = ", ".join(
        f"{percent(each.sparsity, places)} in {each.passes:g}" for each in found.budgets
    )
    solver = "L-BFGS over all training samples"
    if found.minibatch_passes:
        solver = f"{found.minibatch_passes} passes of Adam by minibatches, then {solver}"
    return [
        ("survivors trained", solver),
        ("feasible by passes", by_budget),
        ("", f"converged within {abs(found.converged_pp):.2f} pp by the last doubling"),
    ]


def compare_table(result: CompareResult) -> RenderableType:
    """Every method's thresholds and what is left to the limit, then what each cost."""
    limit = result.limit
    head = _pairs(
        f"Methods on {result.model.spec}, {result.data.spec}",
        [
            ("limit", f"{interval(limit.sparsity, limit.interval)} of prunable weights"),
            ("reliable", "yes" if result.reliability.ok else "NO"),
            _dense(result.dense, result.data),
            *_tolerance(result.epsilon, result.data),
        ],
    )
    columns: dict[tuple[str, float], str] = {}
    for method in result.methods:
        for each in method.thresholds:
            columns.setdefault(_column(each), _short(each))
    thresholds = _grid(
        "Largest sparsity by rule, and percentage points left to the limit",
        ("method", *columns.values()),
        (
            (
                method.method,
                *(
                    " / ".join(
                        f"{percent(each.sparsity)} {each.distance_pp:+.1f}"
                        for each in method.thresholds
                        if _column(each) == column
                    )
                    or "-"
                    for column in columns
                ),
            )
            for method in result.methods
        ),
    )
    costs = _grid(
        "Cost",
        ("", "products", "on samples", "epochs", "seconds"),
        (
            ("predicting the limit", *_cost(result.limit_cost)),
            *((method.method, *_cost(method.cost)) for method in result.methods),
        ),
    )
    return Group(head, BLANK, thresholds, BLANK, costs)


def _column(threshold: Threshold) -> tuple[str, float]:
    """Where a threshold stands: by loss, with the survivors as they are or trained, in one."""
    by_loss = threshold.rule in ("loss", "feasibility")
    return "loss" if by_loss else threshold.rule, threshold.tolerance


def _short(threshold: Threshold) -> str:
    if threshold.rule == "accuracy":
        return f"within {100 * threshold.tolerance:g} pp"
    return "as dense" if threshold.rule == "dense-accuracy" else "by loss"


def _cost(cost: Cost) -> tuple[str, str, str, str]:
    return (
        f"{cost.products:,}" if cost.products else "-",
        f"{cost.samples:,}" if cost.products else "-",
        f"{cost.epochs:,}" if cost.epochs else "-",
        f"{cost.seconds:.3g}",
    )


FEW_REASONS = 3
"""Gates that failed whose reasons stand in one line."""


def verdict(result: CheckResult) -> str:
    """The verdict in one line: of a single gate what it found, else how many failed and why."""
    if len(result.gates) == 1:
        (gate,) = result.gates
        return f"{'PASSED' if gate.passed else 'FAILED'}: {gate.reason}"
    if result.passed:
        return f"PASSED: all {len(result.gates)} gates"
    reasons = " ".join(gate.reason for gate in result.failed[:FEW_REASONS])
    rest = len(result.failed) - FEW_REASONS
    more = f" And {rest} more." if rest > 0 else ""
    return f"FAILED: {len(result.failed)} of {len(result.gates)} gates: {reasons}{more}"


def check_table(result: CheckResult) -> RenderableType:
    """The verdict, the two numbers where they were compared, and a line for every gate."""
    word = Text("PASSED", style="bold green") if result.passed else Text("FAILED", style="bold red")
    parts: list[RenderableType] = [word]
    agreement = result.agreement
    if agreement is not None:
        difference = f"{agreement.difference_pp:+.2f} pp (tolerance {agreement.tolerance_pp:g})"
        parts.append(
            _pairs(
                f"Predicted against measured sparsity of {result.model.spec}, of prunable weights",
                [
                    (
                        predicted(agreement.number),
                        interval(agreement.predicted, agreement.predicted_interval),
                    ),
                    (
                        f"measured ({agreement.rule})",
                        interval(agreement.measured, agreement.measured_interval),
                    ),
                    ("difference", difference),
                ],
            )
        )
        parts += [_point(said) for said in (*agreement.reasons, *agreement.notes)]
    others = [gate for gate in result.gates if gate.kind != "agreement"]
    if others:
        rows = [("passed" if gate.passed else "FAILED", gate.reason) for gate in others]
        parts.append(_pairs(f"Floors and baselines of {result.model.spec}", rows))
    return Group(*parts)
