"""Results of every command, made up: what is shown of them is known beforehand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from prunelimit.gate.judge import agreement_gate
from prunelimit.results.history import HistoryPoint, HistoryResult
from prunelimit.results.sensitivity import LayerCurve, LayerPoint, SensitivityResult
from prunelimit.results.types import (
    Agreement,
    Artifact,
    BudgetPoint,
    CheckResult,
    CompareResult,
    Cost,
    CurvatureSummary,
    CurvePoint,
    DataInfo,
    Dense,
    DistanceToLimit,
    Epsilon,
    ExportResult,
    Gate,
    InspectResult,
    LayerResult,
    Limit,
    LinePoint,
    MeasurePoint,
    MeasureResult,
    MethodResult,
    ModelInfo,
    OneShot,
    PackingInfo,
    PathPoint,
    PredictResult,
    Provenance,
    PruneResult,
    RegimeNetwork,
    RegimePair,
    RegimeResult,
    Reliability,
    SharpnessMeasure,
    SharpnessSummary,
    SpectrumResult,
    StateInfo,
    Temperature,
    TensorInfo,
    Threshold,
    TrainResult,
    Variant,
    Witness,
)

PRUNABLE, PARAMETERS = 9_000, 10_000
PROVENANCE = Provenance(
    tool_version="0.1.0",
    command="predict",
    created="2024-01-02T03:04:05+00:00",
    seed=17,
    device="cpu",
    versions={"python": "3.12.0", "torch": "2.4.0"},
    wall_seconds=1.5,
    peak_bytes=10**8,
    config={},
)
MODEL = ModelInfo(
    spec="net<1>",
    sha256="ab" * 32,
    parameters=PARAMETERS,
    free=9_900,
    prunable=PRUNABLE,
    excluded=0,
)
DATA = DataInfo(spec="own & data", split="train", samples=500, classes=3, test_samples=100)
CURVATURE = CurvatureSummary(
    kind="hessian", backend="prunelimit", probes=1, steps=8, samples=500, products=8,
    lambda_max=12.5, lambda_min=-0.25, trace=40.0, trace_standard_error=0.0, negative_mass=0.125,
    gradient_seconds=0.01, product_seconds=0.02,
)  # fmt: skip
DENSE, EPSILON = Dense(loss=0.01, accuracy=0.95), Epsilon(value=0.002, rule="batch-std")
HEAD: dict[str, Any] = {"provenance": PROVENANCE, "model": MODEL, "data": DATA}
LAYERS = (
    LayerResult(name="first.weight", shape=(80, 100), kept=500, sparsity=0.9375),
    LayerResult(name="last.weight", shape=(10, 100), kept=76, sparsity=0.924),
)
RELIABLE = Reliability(
    ok=True,
    reasons=(),
    nonquadraticity=1.25,
    path=(PathPoint(sparsity=0.9, loss_rise=0.002, quadratic_rise=0.0015, linear_rise=1e-4),),
)
UNRELIABLE = dataclasses.replace(
    RELIABLE, ok=False, reasons=("The spectrum is not resolved.", "Negative curvature matters.")
)
ARTIFACT = Artifact(path="cut.safetensors", format="safetensors", bytes=4_321, bytes_dense=40_123)


def predicted(sparsity: float = 0.936, **changes: Any) -> PredictResult:
    """A prediction whose curve crosses m(R) at ``sparsity``; radius is the sparsity's square."""
    places = np.linspace(0, 1, 51)
    width = [PRUNABLE * min(1.1, max(0.0, sparsity + 3 * (sparsity - x))) for x in places]
    limit = Limit(
        sparsity=sparsity,
        of="prunable",
        sparsity_of_all=sparsity * PRUNABLE / PARAMETERS,
        kept=PRUNABLE - round(sparsity * PRUNABLE),
        radius=sparsity**2,
        formula="directional",
        operator="absolute",
        interval=(max(0.0, sparsity - 0.006), min(1.0, sparsity + 0.005)),
        confidence=0.95,
        band=(max(0.0, sparsity - 0.03), min(1.0, sparsity + 0.03)),
        errors={"probe": 0.001, "depth": 0.002},
    )
    variants = tuple(
        Variant(formula=f, operator=o, sparsity=s, interval=(s - 0.01, min(1.0, s + 0.01)))
        for f, o, s in (
            ("paper", "absolute", 0.905),
            ("isotropic", "absolute", 0.9712),
            ("directional", "absolute", sparsity),
            ("directional", "negatives-as-flat", 0.948),
        )
    )
    curve = tuple(
        CurvePoint(sparsity=float(x), radius=float(x) ** 2, width=w)
        for x, w in zip(places, width, strict=True)
    )
    settings: dict[str, Any] = {
        "dense": DENSE, "epsilon": EPSILON, "curvature": CURVATURE, "limit": limit,
        "variants": variants, "reliability": RELIABLE, "layers": LAYERS, "curve": curve,
    }  # fmt: skip
    return PredictResult(**{**HEAD, **settings, **changes})


TRAINING = "magnitude+trained"
WITNESS = Witness(
    budgets=(
        BudgetPoint(passes=50, sparsity=0.9215, interval=(0.9215, 0.922)),
        BudgetPoint(passes=100, sparsity=0.931, interval=(0.931, 0.932)),
        BudgetPoint(passes=200, sparsity=0.9345, interval=(0.934, 0.935)),
    ),
    converged_pp=0.35,
    minibatch_passes=10,
)


def measured(method: str = "magnitude", **changes: Any) -> MeasureResult:
    """Accuracy and loss that fall apart near 95%."""
    places = (0.0, 0.5, 0.9, 0.93, 0.94, 0.96, 0.99, 1.0)
    curve = tuple(
        MeasurePoint(
            sparsity=x,
            accuracy=0.95 if x < 0.93 else 0.95 - 10 * (x - 0.93),
            loss=0.01 * 10 ** max(0.0, 20 * (x - 0.92)),
            nonzero=round(PRUNABLE * (1 - x)),
        )
        for x in places
    )
    rule = "feasibility" if method == TRAINING else "loss"
    thresholds = (
        Threshold(rule="accuracy", tolerance=0.005, sparsity=0.93, interval=(0.92, 0.94)),
        Threshold(rule=rule, tolerance=0.002, sparsity=0.9345, interval=(0.934, 0.935)),
    )
    settings: dict[str, Any] = {
        "method": method, "dense": DENSE, "epsilon": EPSILON, "curve": curve,
        "thresholds": thresholds, "witness": WITNESS if method == TRAINING else None,
    }  # fmt: skip
    return MeasureResult(**{**HEAD, **settings, **changes})


ONE_SHOT = OneShot(
    sparsity=0.871,
    of="prunable",
    interval=(0.862, 0.883),
    confidence=0.95,
    modelled=0.889,
    ratio=1.25,
    samples=300,
    of_samples=1_200,
    errors={"samples": 0.01, "path": 0.0005},
)


def both(**changes: Any) -> PredictResult:
    """The prediction with its one-shot threshold."""
    return predicted(one_shot=ONE_SHOT, **changes)


METHODS = ("magnitude", "magnitude+staged", TRAINING, "obd")


def compared(methods: tuple[str, ...] = METHODS) -> CompareResult:
    """The same curve for every method, feasibility instead of loss where survivors are trained."""
    limit = predicted().limit
    cost = Cost(products=0, samples=0, epochs=0, seconds=2.5)
    moved = dataclasses.replace(cost, products=1_234, samples=300)
    found = tuple(
        MethodResult(
            method=name,
            curve=(result := measured(TRAINING if name == TRAINING else "magnitude")).curve,
            thresholds=tuple(
                DistanceToLimit(**vars(each), distance_pp=100 * (limit.sparsity - each.sparsity))
                for each in result.thresholds
            ),
            allocation="global",
            calibration=0,
            cost=moved if name.endswith("+staged") else cost,
            witness=result.witness,
        )
        for name in methods
    )
    return CompareResult(
        **HEAD, dense=DENSE, epsilon=EPSILON, limit=limit, limit_cost=moved, reliability=RELIABLE,
        methods=found, interrupted=False,
    )  # fmt: skip


SHARPNESS = SharpnessSummary(
    measures=(
        SharpnessMeasure(name="trace", value=40.0, interval=(39.5, 40.5)),
        SharpnessMeasure(
            name="Renyi sharpness", value=-3.25, interval=(-3.5, -3.0), parameter=2.0, layer="fc1"
        ),
    ),
    confidence=0.95,
    reading="absolute",
    note="`epsilon` batch-std needs more samples.",
)


def spectrum(probes: int = 2) -> SpectrumResult:
    """Bulk at zero, two outliers, a negative side; every probe finds the same."""
    nodes = (-0.25, -1e-3, 1e-9, 2e-3, 0.1, 3.0, 12.5)
    weights = (0.0249, 0.1, 0.7, 0.15, 0.02, 5e-3, 1e-4)
    return SpectrumResult(
        **HEAD,
        curvature=dataclasses.replace(CURVATURE, probes=probes, trace_standard_error=0.125),
        ritz_values=(nodes,) * probes,
        quadrature_weights=(weights,) * probes,
        outcomes=("complete",) * probes,
        sharpness=SHARPNESS,
    )


def verdict(passed: bool = True) -> CheckResult:
    agreement = Agreement(
        method="magnitude+trained",
        number="limit",
        predicted=0.936,
        predicted_interval=(0.93, 0.941),
        measured=0.9345 if passed else 0.8,
        measured_interval=(0.934, 0.935) if passed else (0.79, 0.81),
        rule="feasibility",
        difference_pp=0.15 if passed else 13.6,
        error_pp=0.5 if passed else 1.0,
        tolerance_pp=2.0,
        passed=passed,
        reasons=() if passed else ("The prediction lies 13.6 pp above.",),
        notes=(),
        self_check=False,
        reliability=RELIABLE,
    )
    gates = (
        agreement_gate(agreement),
        Gate(
            name="min-accuracy at 80.00%", kind="min-accuracy", passed=True, value=0.95,
            interval=(0.93, 0.97), bound=0.9,
            reason="The accuracy at 80.00% is 95.00%; at least 90.00% is asked for.",
        ),
    )  # fmt: skip
    return CheckResult(
        provenance=PROVENANCE, model=MODEL, gates=gates, passed=passed, agreement=agreement
    )


PRUNED = PruneResult(
    **HEAD, method="magnitude", amount="auto", sparsity=0.936, nonzero=576, layers=LAYERS,
    artifact=ARTIFACT, accuracy_before=0.95, accuracy_after=0.9412,
    drop=0.0088, standard_error=0.004,
)  # fmt: skip
TRAINED = TrainResult(**HEAD, dense=DENSE, artifact=ARTIFACT)


def sensitivity(count: int = 3) -> SensitivityResult:
    """Layers of which each loses more than the last, and one that is zero from the start."""
    places = (0.5, 0.8, 0.9, 0.95, 0.99)
    layers = []
    for number in range(count):
        falls = [(0.01 + 0.05 * number) * x**4 for x in places]
        curve = tuple(
            LayerPoint(
                sparsity=x,
                changed=round(100 * x),
                accuracy=0.95 - fall,
                drop=fall,
                standard_error=0.005,
                loss=0.01 + 2 * fall,
                rise=2 * fall,
            )
            for x, fall in zip(places, falls, strict=True)
        )
        layers.append(
            LayerCurve(
                name=f"block{number}.weight",
                shape=(10, 10),
                weights=100,
                zeros=0,
                curve=curve,
                holds=0.8,
            )
        )
    dead = LayerCurve(
        name="dead.weight", shape=(5, 4), weights=20, zeros=20, curve=(), holds=None,
        why="zero already",
    )  # fmt: skip
    return SensitivityResult(
        **HEAD, criterion="magnitude", dense=DENSE, epsilon=EPSILON, tolerance=0.005,
        layers=(*layers, dead),
    )  # fmt: skip


def history(count: int = 6) -> HistoryResult:
    """Checkpoints that become sparser; the first is not reliable."""
    points = tuple(
        HistoryPoint(
            name=f"epoch={number}.ckpt",
            epoch=number,
            step=None,
            sha256=f"{number:064d}",
            accuracy=0.5 + 0.07 * number,
            loss=1 / number,
            epsilon=0.01,
            plain=0.1 * number,
            plain_interval=(0.1 * number - 0.02, 0.1 * number + 0.02),
            limit=0.6 + 0.05 * number,
            limit_interval=(0.58 + 0.05 * number, 0.61 + 0.05 * number),
            reliable=number > 1,
            reason=None if number > 1 else "The spectrum is not resolved.",
            kept=False,
        )
        for number in range(1, count + 1)
    )
    return HistoryResult(**HEAD, directory="run", order="epoch", points=points)


REGIME = RegimeResult(
    **HEAD,
    regime="I",
    connectivity=-0.125,
    similarity=0.875,
    density=0.25,
    networks=(
        RegimeNetwork(
            name="a.pt", density=0.25, accuracy=0.94,
            temperature=Temperature(lr=0.1, batch_size=64, epochs=5, noise=0.0156),
        ),
        RegimeNetwork(name="b.pt", density=0.25, accuracy=0.93),
    ),
    pairs=(
        RegimePair(
            first="a.pt", second="b.pt", connectivity=-0.125, similarity=0.875,
            line=(LinePoint(at=0.0, loss=0.1, error=0.05), LinePoint(at=1.0, loss=0.1, error=0.05)),
        ),
    ),
    advice="Train the dense network hotter.",
    notes=("The files do not all say how the dense network was trained.",),
)  # fmt: skip

INSPECTED = InspectResult(
    provenance=PROVENANCE, path="net.pt", format="torch", bytes=40_123, sha256="ab" * 32, code=(),
    states=(StateInfo(key="", tensors=2, entries=9_100),), state="", prefix="", entries=9_100,
    zeros=300, dtypes={"float32": 2},
    tensors=(
        TensorInfo(name="first.weight", shape=(80, 100), dtype="float32", zeros=300, share=0.879,
                   prunable=True),
        TensorInfo(name="norm.weight", shape=(10, 10), dtype="float32", zeros=0, share=0.011,
                   why="of a norm layer"),
    ),
)  # fmt: skip

EXPORTED = ExportResult(
    provenance=PROVENANCE, source="net.pt", state="", format="bitmask", artifact=ARTIFACT,
    tensors=2, matrices=2, packed=("first.weight",), entries=9_000, zeros=8_424,
    packings=(PackingInfo(name="dense", bytes=36_000, break_even=None),),
)  # fmt: skip
