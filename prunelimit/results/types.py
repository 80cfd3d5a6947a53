"""What every command returns: frozen results that go to JSON and come back unchanged.

Fractions are 0..1 everywhere here; percentages are only for people. The JSON form of a result
is :func:`.serialization.to_json`; its schema is :func:`.schema.schema`.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any

from .methods import Result

__all__ = [
    "Agreement",
    "Artifact",
    "BudgetPoint",
    "CheckResult",
    "CompareResult",
    "CompensationResult",
    "Cost",
    "CurvatureSummary",
    "CurvePoint",
    "DataInfo",
    "DemoResult",
    "Dense",
    "DistanceToLimit",
    "Epsilon",
    "Gate",
    "InspectResult",
    "LayerResult",
    "Limit",
    "LinePoint",
    "MeasurePoint",
    "MeasureResult",
    "MethodResult",
    "ModelInfo",
    "OneShot",
    "PathPoint",
    "PredictResult",
    "Provenance",
    "PruneResult",
    "RegimeNetwork",
    "RegimePair",
    "RegimeResult",
    "Reliability",
    "SharpnessMeasure",
    "SharpnessSummary",
    "SpectrumResult",
    "StageResult",
    "StateInfo",
    "Target",
    "Temperature",
    "TensorInfo",
    "Threshold",
    "TrainResult",
    "Variant",
    "Witness",
]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The network: counts are numbers of scalars; ``sha256`` is of the checkpoint file."""

    spec: str
    sha256: str | None
    parameters: int
    free: int
    prunable: int
    excluded: int


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The data that the numbers belong to, and the loss and metric that judge a network on them.

    ``samples`` counts those used of ``split``, ``training_samples`` all of the training split (0 if
    not known). ``classes`` is 0 if targets are numbers. ``loss`` and ``metric`` are names, or
    FILE.py:ATTR. The accuracy in results is that metric. It has ``points`` if 1 is perfect;
    tolerances can then be hundredths of that.
    """

    spec: str
    split: str
    samples: int
    classes: int
    test_samples: int
    loss: str = "cross-entropy"
    metric: str = "accuracy"
    points: bool = True
    training_samples: int = 0


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """All that is needed to obtain a result again; the head of every command's JSON."""

    tool_version: str
    command: str
    created: str
    seed: int
    device: str
    versions: dict[str, str]
    wall_seconds: float
    peak_bytes: int
    config: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Dense:
    """The unpruned network: mean training loss and test accuracy (fraction), or the metric
    that the data name."""

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Epsilon:
    """The loss tolerance (nats) and the rule that gave it.

    The rule may be a fall in accuracy. Plain one-shot magnitude pruning then reached it at
    ``sparsity``, of the prunable weights, on ``held_out`` samples of the training split.
    ``interval`` (nats) covers the sampling error of that at 95%. ``note`` is a sentence to whoever
    chose the rule.
    """

    value: float
    rule: str
    interval: tuple[float, float] | None = None
    sparsity: float | None = None
    held_out: int | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class NestedLimit:
    """The headline's limit from ``samples`` samples, at the depth of a first reading. ``seconds``
    is the time of one product. If ``parts`` is more than one, it is the mean over so many disjoint
    subsets, and their standard deviation is ``deviation``."""

    samples: int
    sparsity: float
    seconds: float
    parts: int = 1
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class CrossCheck:
    """PyHessian's results for the same samples. The eigenvalue of largest magnitude is by power
    iteration, the trace by random probes with its standard error over them. ``agree`` says whether
    ours are the same: the eigenvalue within 1%, the trace within four standard errors."""

    lambda_max: float
    trace: float
    trace_standard_error: float
    agree: bool


@dataclass(frozen=True, kw_only=True)
class CurvatureSummary:
    """The spectrum in a few numbers.

    ``trace`` is the trace of the matrix with its standard error over probes. ``negative_mass`` is
    the share of eigenvalues below zero. ``products`` counts matrix-vector products spent; one on a
    part of the samples counts as that part. ``ended`` says what ended the work. "tolerance": the
    limit is known as exactly as was asked for. "given": steps and probes were given. "samples": the
    error by the samples outweighs the rest. "network": the error by parameters that are not pruned
    outweighs the rest. "max-products", "max-seconds", "memory" and "interrupted" say it themselves.
    ``nested`` holds limits from fewer samples. By them the number of samples was chosen, or their
    error was estimated. ``carried`` is the share that the samples carry of the trace of the loss's
    second derivative in the outputs. It is None for the Hessian, which has no such measure.
    """

    kind: str
    backend: str
    probes: int
    steps: int
    samples: int
    products: int
    lambda_max: float
    lambda_min: float
    trace: float
    trace_standard_error: float
    negative_mass: float
    gradient_seconds: float
    product_seconds: float
    ended: str = "given"
    nested: tuple[NestedLimit, ...] = ()
    cross_check: CrossCheck | None = None
    precision: str = "full"
    rounding_error: float | None = None
    carried: float | None = None


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The largest feasible sparsity.

    ``sparsity`` is a share of the prunable weights, ``sparsity_of_all`` of all parameters. ``kept``
    counts surviving prunable weights. ``radius`` is the l2 norm of what is removed. ``interval``
    covers, at ``confidence``, the choice of probes, the Lanczos depth and the samples that stand
    for all. ``errors`` holds half the width that each alone gives. ``band`` is the ALMT transition
    band [necessary side, sufficient side]. ``alone`` is the limit with biases and the like held,
    None if it was not read. ``norm_kept`` is the share of the prunable weights' l2 norm that is
    left at the limit. ``expected`` is the 95% prediction interval for where trained survivors stop,
    from other networks, and ``expected_middle`` its middle. Both are None for formulas and
    operators that were not compared with networks, if a layer is left empty, and if no network of
    the evidence is near.
    """

    sparsity: float
    of: str
    sparsity_of_all: float
    kept: int
    radius: float
    formula: str
    operator: str
    interval: tuple[float, float]
    confidence: float
    band: tuple[float, float]
    errors: dict[str, float]
    expected: tuple[float, float] | None = None
    expected_middle: float | None = None
    alone: float | None = None
    norm_kept: float | None = None


@dataclass(frozen=True, kw_only=True)
class OneShot:
    """The largest sparsity at which plain one-shot magnitude pruning, nothing moved, is expected to
    keep the training loss within epsilon.

    ``sparsity``, a share of the prunable weights, is where the loss crosses epsilon on ``samples``
    of the ``of_samples`` training samples. It is measured on those, and predicted for all.
    ``modelled`` is where the second-order model at the trained weights crosses, None if there was
    no time for it. ``ratio`` is the actual loss rise over the modelled one at the crossing. It
    corrects the model; None if the model gives no rise. ``interval`` covers, at ``confidence``, the
    choice of samples and how finely the path was looked at. ``errors`` holds what each alone gives.
    Nothing is said about accuracy.
    """

    sparsity: float
    of: str
    interval: tuple[float, float]
    confidence: float
    modelled: float | None
    ratio: float | None
    samples: int
    of_samples: int
    errors: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The predicted number that a measured method is compared with.

    ``number`` is "limit" (survivors move freely), "one-shot" (nothing moves) or "between"
    (survivors move by a model of the loss). The measured threshold of ``rule`` ("feasibility",
    "loss" or "accuracy") should lie from ``lowest`` to ``highest``. The two are equal if there is
    one number. ``interval`` joins their own intervals.
    """

    method: str
    number: str
    rule: str
    lowest: float
    highest: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The limit by another formula or operator."""

    formula: str
    operator: str
    sparsity: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PathPoint:
    """Loss rise (nats) when magnitude pruning reaches ``sparsity``: actual and modelled.

    ``quadratic_rise`` is d^T H d / 2 and ``linear_rise`` is g^T d, for the displacement d. The
    limit rests on the quadratic part alone.
    """

    sparsity: float
    loss_rise: float
    quadratic_rise: float
    linear_rise: float


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Whether the estimate can be trusted, why not, and the evidence.

    ``nonquadraticity`` is the actual loss rise over the modelled one (linear plus quadratic), where
    the actual rise first reaches epsilon. It is 1 if the second-order model is exact.
    """

    ok: bool
    reasons: tuple[str, ...]
    nonquadraticity: float | None
    path: tuple[PathPoint, ...]


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """One prunable weight tensor: how many of its entries survive."""

    name: str
    shape: tuple[int, ...]
    kept: int
    sparsity: float


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Removed radius and squared Gaussian width (in parameters) at a sparsity."""

    sparsity: float
    radius: float
    width: float


@dataclass(frozen=True, kw_only=True)
class SharpnessMeasure:
    """One measure of sharpness and its interval.

    ``name`` is "largest eigenvalue", "trace", "Frobenius norm", "effective dimension" (at the
    ridge ``parameter``) or "Renyi sharpness" (of order ``parameter``). ``layer`` names the weight
    tensor, if the measure is that of its block alone; "all layers" is the sum over them.
    """

    name: str
    value: float
    interval: tuple[float, float]
    parameter: float | None = None
    layer: str | None = None


@dataclass(frozen=True, kw_only=True)
class SharpnessSummary:
    """All measures of sharpness. Their intervals cover, at ``confidence``, the choice of probes and
    the Lanczos depth, but not the choice of samples.

    ``reading`` says how effective dimension and Renyi sharpness read negative eigenvalues: "ggn"
    (there are none), "absolute" (their magnitude) or another reading of the operator. Trace and
    largest eigenvalue keep their signs. ``ridge`` is where the isotropic limit lies. If there is
    none it is None, and ``note`` says why.
    """

    measures: tuple[SharpnessMeasure, ...]
    confidence: float
    reading: str
    ridge: float | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class SpectrumResult(Result):
    """The spectrum: Ritz values and quadrature weights, one row per probe; and its sharpness."""

    SCHEMA: typing.ClassVar[str] = "prunelimit.spectrum/1"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    curvature: CurvatureSummary
    ritz_values: tuple[tuple[float, ...], ...]
    quadrature_weights: tuple[tuple[float, ...], ...]
    outcomes: tuple[str, ...]
    sharpness: SharpnessSummary | None = None


@dataclass(frozen=True, kw_only=True)
class PredictResult(Result):
    """The predicted limit and everything it rests on.

    Two numbers: up to ``one_shot`` the loss stays within epsilon with nothing moved. Up to
    ``limit`` some setting of the survivors keeps it there.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.predict/2"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    dense: Dense
    epsilon: Epsilon
    curvature: CurvatureSummary
    limit: Limit
    variants: tuple[Variant, ...]
    reliability: Reliability
    layers: tuple[LayerResult, ...]
    curve: tuple[CurvePoint, ...]
    one_shot: OneShot | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A written checkpoint; ``bytes_dense`` is the size of the dense one in the same format."""

    path: str
    format: str
    bytes: int
    bytes_dense: int


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """One stage of pruning: sparsity reached, and the divergence (nats, inputs held out) with the
    survivors unmoved and moved; ``trust`` is the actual over the predicted fall of the squared
    distance of the outputs on the inputs of the solve, None where there was no solve.
    ``damping`` is the ridge, ``steps`` those of conjugate gradients."""

    sparsity: float
    unmoved: float
    moved: float
    trust: float | None
    damping: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class CompensationResult:
    """How the survivors were moved.

    ``calibration`` counts the inputs of a stage, ``held_out`` those of them that only judge.
    ``divergence`` is that of the outputs from the dense network's on the latter, nats.
    ``recalibrated`` counts norm layers with new statistics. ``undone`` counts stages taken back.
    ``expected_seconds`` and ``expected_bytes`` are those stated beforehand, if any were.
    """

    epsilon: float
    calibration: int
    held_out: int
    divergence: float
    recalibrated: int
    undone: int
    stages: tuple[StageResult, ...]
    expected_seconds: float | None
    expected_bytes: int | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Within:
    """How a sparsity was found from the accuracy that may be lost; all but ``tried`` are fractions.

    On ``held_out`` training samples the network chosen loses ``drop`` of accuracy, with its paired
    standard error. ``tolerance`` is what was allowed. ``tried`` is the number of sparsities tried.
    """

    tolerance: float
    held_out: int
    drop: float
    standard_error: float
    tried: int


@dataclass(frozen=True, kw_only=True)
class PruneResult(Result):
    """What was pruned; accuracies are fractions on the test split.

    ``drop`` is the loss of accuracy there, with its paired standard error. ``nonzero`` counts the
    prunable weights that are not zero. ``method`` is criterion[/allocation][/pattern][+survivors].
    ``allocation`` says how layers shared what is removed, None if a pattern decided that.
    ``calibration`` counts the training samples that were read for scores. ``reliability`` is that
    of the prediction which chose the sparsity, None if nothing was predicted. ``within`` is set if
    accuracy chose the sparsity, ``compensation`` if survivors were moved without labels.
    ``artifact`` is None if nothing was written. ``warnings`` say what the user has to know about
    the outcome.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.prune/2"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    method: str
    amount: str
    sparsity: float
    nonzero: int
    layers: tuple[LayerResult, ...]
    artifact: Artifact | None
    accuracy_before: float
    accuracy_after: float
    drop: float
    standard_error: float
    reliability: Reliability | None = None
    allocation: str | None = "global"
    calibration: int = 0
    within: Within | None = None
    compensation: CompensationResult | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MeasurePoint:
    """One sparsity: test accuracy, mean training loss, surviving prunable weights. If survivors
    were trained, ``passes`` over the training data were spent on them, and ``outcome`` says what
    ended the training."""

    sparsity: float
    accuracy: float
    loss: float
    nonzero: int
    passes: float | None = None
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The largest sparsity that holds ``rule`` within ``tolerance`` at every sparsity up to it.

    ``rule`` is "accuracy" (tolerance a fraction of 1), "loss" (tolerance epsilon, nats) or, for
    trained survivors, "feasibility" (tolerance epsilon, nats). It can also be "dense-accuracy", the
    paper's: the highest sparsity at least as accurate as dense. ``interval`` covers the paired
    sampling error.
    """

    rule: str
    tolerance: float
    sparsity: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class BudgetPoint:
    """The feasibility threshold within ``passes`` over the training data at a sparsity, and the
    pair [largest that holds, next that fails] as ``interval``."""

    passes: float
    sparsity: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Witness:
    """How far the feasibility threshold has converged.

    ``budgets`` holds it at one, two and four times the passes that were asked for.
    ``converged_pp`` is what the last doubling added, in percentage points. Further doublings
    usually add less, but that is not guaranteed. ``minibatch_passes`` came first at a sparsity.
    """

    budgets: tuple[BudgetPoint, ...]
    converged_pp: float
    minibatch_passes: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What it took: curvature ``products``, passes over the training set (``epochs``) that
    survivors were trained for, and ``seconds``. Each product is over ``samples`` training samples
    (0 where there are none). What an interrupted run has kept counts, but for its seconds."""

    products: int
    samples: int
    epochs: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class MeasureResult(Result):
    """Accuracy and loss against sparsity, and the thresholds read from them.

    ``witness`` says how far training of survivors has converged; None if they are not trained.
    ``method`` is criterion[/allocation][/pattern][+survivors]; ``allocation`` and ``calibration``
    are as in PruneResult, ``cost`` is that of the measurement.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.measure/2"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    method: str
    dense: Dense
    epsilon: Epsilon
    curve: tuple[MeasurePoint, ...]
    thresholds: tuple[Threshold, ...]
    allocation: str = "global"
    calibration: int = 0
    cost: Cost | None = None
    witness: Witness | None = None


@dataclass(frozen=True, kw_only=True)
class DistanceToLimit(Threshold):
    """A threshold, and how far it stays below the limit: limit minus threshold, percentage
    points."""

    distance_pp: float


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method of a comparison; fields are those of MeasureResult, thresholds with distances."""

    method: str
    curve: tuple[MeasurePoint, ...]
    thresholds: tuple[DistanceToLimit, ...]
    allocation: str
    calibration: int
    cost: Cost
    witness: Witness | None = None


@dataclass(frozen=True, kw_only=True)
class CompareResult(Result):
    """Methods side by side on the same network and test samples, against its predicted limit.

    ``limit``, ``limit_cost`` and ``reliability`` are those of the prediction. ``methods`` are in
    the order they were asked for. There are fewer if the work was ``interrupted``.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.compare/2"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    dense: Dense
    epsilon: Epsilon
    limit: Limit
    limit_cost: Cost
    reliability: Reliability
    methods: tuple[MethodResult, ...]
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Predicted against measured; differences, errors and tolerances in percentage points.

    ``method`` is the measurement's. ``number`` is the predicted number that it was compared with
    (see Target), and ``reliability`` is that of this number. For "between", it is the reliability
    of both numbers. ``predicted`` is then the place between the two that lies nearest to the
    measured one, and ``predicted_interval`` runs from one to the other. ``error_pp`` is the part of
    a difference that the two intervals together explain. ``reasons`` says why it failed, ``notes``
    what else a reader should know. ``self_check`` says that both numbers are the loss of the same
    networks.
    """

    method: str
    number: str
    rule: str
    predicted: float
    predicted_interval: tuple[float, float]
    measured: float
    measured_interval: tuple[float, float]
    difference_pp: float
    error_pp: float
    tolerance_pp: float
    passed: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    self_check: bool
    reliability: Reliability


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One thing that a job depends on: ``value`` against ``bound``, both fractions.

    ``kind`` is "agreement", "min-sparsity", "min-accuracy" or "baseline". With "agreement" the
    value is the difference of predicted and measured, the bound its tolerance. With the others the
    value must be at least the bound. ``interval`` is that of the value at 95%. ``reason`` is a
    sentence, passed or not. ``self_check`` says that the gate compares a number with itself,
    ``reliable`` whether what was predicted of it can be trusted.
    """

    name: str
    kind: str
    passed: bool
    value: float
    interval: tuple[float, float]
    bound: float
    reason: str
    self_check: bool = False
    reliable: bool = True


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """Every gate, and whether all passed. ``agreement`` has the details of predicted against
    measured; None where the two were not compared."""

    SCHEMA: typing.ClassVar[str] = "prunelimit.check/3"
    provenance: Provenance
    model: ModelInfo
    gates: tuple[Gate, ...]
    passed: bool
    agreement: Agreement | None = None

    @property
    def failed(self) -> tuple[Gate, ...]:
        """The gates that did not pass."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclass(frozen=True, kw_only=True)
class TrainResult(Result):
    """A finished training: accuracy on the test split, and the checkpoint it left.

    ``artifact`` is None where nothing was written.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.train/1"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    dense: Dense
    artifact: Artifact | None
    history: tuple[dict[str, float], ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """The settings that made the training of a dense network hot or cool. ``noise`` is the scale of
    SGD's noise, lr / (batch_size (1 - momentum)). More epochs are cooler."""

    lr: float
    batch_size: int
    epochs: int
    noise: float


@dataclass(frozen=True, kw_only=True)
class RegimeNetwork:
    """One of the networks. ``density`` is the share of prunable weights that are not zero: the
    load. ``accuracy`` is that of the test split. ``temperature`` is None if no file says it."""

    name: str
    density: float
    accuracy: float
    temperature: Temperature | None = None


@dataclass(frozen=True, kw_only=True)
class LinePoint:
    """A network on the line between two, with its training loss, and its training error as a
    fraction. ``at`` is 0 at the first and 1 at the second."""

    at: float
    loss: float
    error: float


@dataclass(frozen=True, kw_only=True)
class RegimePair:
    """Two networks. ``connectivity`` is the mean error of both minus the error on the line that is
    farthest from it, a fraction. It is negative if a barrier lies between them. ``similarity`` is
    the linear CKA of their outputs, 0 to 1."""

    first: str
    second: str
    connectivity: float
    similarity: float
    line: tuple[LinePoint, ...]


@dataclass(frozen=True, kw_only=True)
class RegimeResult(Result):
    """The regime of pruning: "I" (poorly connected), "II-A" (connected but unlike) or "II-B"
    (connected and alike), by the means over pairs; ``advice`` says what to change."""

    SCHEMA: typing.ClassVar[str] = "prunelimit.regime/1"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    regime: str
    connectivity: float
    similarity: float
    density: float
    networks: tuple[RegimeNetwork, ...]
    pairs: tuple[RegimePair, ...]
    advice: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DemoResult(Result):
    """The demonstration in a few numbers; ``files`` are names within ``directory``.

    ``one_shot`` is the plain threshold that was predicted. ``fixed`` and ``trained`` are the
    measured thresholds, with survivors fixed and trained. ``trained_accuracy`` is that of the
    sparsest network whose trained survivors keep the loss. ``sparse_artifact`` holds the same
    network as ``artifact``.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.demo/2"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    directory: str
    files: tuple[str, ...]
    dense: Dense
    predicted: float
    interval: tuple[float, float]
    fixed: tuple[Threshold, ...]
    trained: tuple[Threshold, ...]
    pruned_sparsity: float
    pruned_accuracy: float
    artifact: Artifact
    sparse_artifact: Artifact
    difference_pp: float
    tolerance_pp: float
    passed: bool
    reliability: Reliability
    one_shot: OneShot | None = None
    trained_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor of a file. ``zeros`` of its entries are zero. ``same_as`` names an earlier tensor
    that lies in the same memory. A matrix is ``prunable``, or ``why`` says why it is not. ``share``
    is its part of all entries, from 0 to 1."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    zeros: int
    share: float
    same_as: str | None = None
    prunable: bool = False
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class StateInfo:
    """One state_dict of a file: where it lies, and how many ``tensors`` and ``entries`` it has."""

    key: str
    tensors: int
    entries: int


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """What a checkpoint holds, read without running anything.

    ``tensors`` are those of the state_dict at the key ``state``. Their names are without the
    ``prefix`` of a wrapper that all share. ``code`` names what the file would run on loading; such
    a file is not read. ``folded`` are weights stored as parts. ``claimed`` is the accuracy that the
    file states, from 0 to 1. ``described`` is the network that a file of ours names. ``likely`` is
    the built-in network with the same names. The ``network`` that is named or found says which
    matrices are prunable; without one, names and shapes do.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.inspect/1"
    provenance: Provenance
    path: str
    format: str
    bytes: int
    sha256: str | None
    code: tuple[str, ...]
    states: tuple[StateInfo, ...]
    state: str | None
    prefix: str
    entries: int
    zeros: int
    dtypes: dict[str, int]
    tensors: tuple[TensorInfo, ...]
    folded: tuple[str, ...] = ()
    claimed: float | None = None
    described: str | None = None
    likely: str | None = None
    network: str | None = None


@dataclass(frozen=True, kw_only=True)
class PackingInfo:
    """The size of a checkpoint's tensors in one packing, without the file around them.

    ``bytes`` counts matrices as packed if that is smaller; it is None if the packing cannot hold
    them. ``break_even`` is a share of zeros, from 0 to 1. With more zeros, matrices of these shapes
    are smaller in the packing. For N:M it is the share for groups of four.
    """

    name: str
    bytes: int | None
    break_even: float | None


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """A checkpoint in another format, every weight bit for bit.

    ``matrices`` are the tensors that a packing may hold. They have ``entries`` numbers, of which
    ``zeros`` are zero. ``packed`` names those that are packed. ``state`` is the key of the
    state_dict that was taken. For .onnx, ``difference`` is the difference of the outputs of
    onnxruntime and torch on ``samples`` test samples, over the largest output.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.export/1"
    provenance: Provenance
    source: str
    state: str
    format: str
    artifact: Artifact
    tensors: int
    matrices: int
    packed: tuple[str, ...]
    entries: int
    zeros: int
    packings: tuple[PackingInfo, ...]
    samples: int | None = None
    difference: float | None = None
