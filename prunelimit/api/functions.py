"""The commands as functions on live networks: same names, defaults and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..commands.check import check_results, one_of_each, read_judged
from ..commands.compare import compare_loaded
from ..commands.measure import measure_loaded
from ..commands.predict import predict_loaded
from ..commands.prune import (
    check_prune,
    describe_pruning,
    predicted_amount,
    prune_problem,
    pruned_result,
    pruned_tensors,
)
from ..commands.regime import FEWEST, regime_loaded
from ..commands.saved import load_result
from ..commands.sensitivity import sensitivity_loaded
from ..commands.spectrum import spectrum_loaded
from ..commands.train import train_loaded
from ..config import (
    CheckConfig,
    CompareConfig,
    CurvatureConfig,
    LimitConfig,
    MeasureConfig,
    PruneConfig,
    RegimeConfig,
    SensitivityConfig,
    SharpnessConfig,
    TrainConfig,
)
from ..errors import UsageError
from ..gate import require_same
from ..progress import Progress
from ..results.methods import Result
from ..results.sensitivity import SensitivityResult
from ..results.types import (
    CheckResult,
    CompareResult,
    MeasureResult,
    PredictResult,
    RegimeResult,
    SpectrumResult,
)
from ..values import Method
from .networks import PrunedNetwork, TrainedNetwork
from .options import METHOD, configured, takes, with_method
from .problem import Problem, described, network_of, recorder, seeded, tensors_of, to_train
from .progress import reporting

__all__ = [
    "check",
    "compare",
    "load",
    "measure",
    "predict",
    "prune",
    "regime",
    "sensitivity",
    "spectrum",
    "train",
]

R = TypeVar("R", bound=Result)

OTHER_TOLERANCE = ("tolerance",)
"""``compare`` has one tolerance, that of accuracy. The tolerance of the limit keeps its default."""


@takes(LimitConfig, CurvatureConfig)
def predict(
    problem: Problem, *, progress: bool | Progress = False, seed: int | None = None, **options: Any
) -> PredictResult:
    """Predict how sparse a network can be made.

    It gives two numbers, both fractions of the prunable weights. Up to ``one_shot.sparsity`` the
    training loss stays within epsilon when the smallest weights are removed and nothing else
    changes. Up to ``limit.sparsity`` some setting of the surviving weights keeps it there. Neither
    promises an accuracy. ``reliability`` says whether the limit can be trusted, and if not, why.

    Source: Zhang et al. 2024.

    Args:
        problem: The network and its data.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of the probes and of the samples drawn; the problem's where it is left out.

    Raises:
        UsageError: a value makes no sense.
        NumericalError: the loss is not finite.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> found = pl.predict(problem, samples=100, steps=10, probes=1)
    >>> 0 < found.one_shot.sparsity < found.limit.sparsity <= 1
    True
    """
    limit, curvature = configured(LimitConfig, options), configured(CurvatureConfig, options)
    return _predicted(seeded(problem, seed), limit, curvature, progress)


def _predicted(
    problem: Problem, limit: LimitConfig, curvature: CurvatureConfig, progress: bool | Progress
) -> PredictResult:
    record = recorder("predict", problem, curvature, limit)
    with reporting(progress) as told:
        return predict_loaded(problem.loaded, curvature, limit, record, progress=told)


@takes(PruneConfig, LimitConfig, CurvatureConfig, without={PruneConfig: ("sparse",)})
def prune(
    problem: Problem,
    amount: str | float = PruneConfig.amount,
    *,
    method: Method | str | None = None,
    limit: PredictResult | str | Path | None = None,
    progress: bool | Progress = False,
    seed: int | None = None,
    **options: Any,
) -> PrunedNetwork:
    """Remove weights of a copy of the network.

    Four choices say what is done. ``criterion`` says which weights go, and ``allocation`` how that
    is shared among layers. ``pattern`` says which masks are allowed, and ``survivors`` what becomes
    of the rest. The amount is predicted unless it is given, or found by ``within``.

    Args:
        problem: The network and its data; they are not changed.
        amount: What is removed: a fraction of the prunable weights, "one-shot", "limit", or
            "auto" for the one of the two that belongs to ``survivors``.
        method: The four choices as a name, such as "wanda/rows+compensated", in their place.
        limit: A prediction, or its file, that the amount is taken from; it is predicted now where
            this is left out.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of everything random; the problem's where it is left out.

    Returns:
        The pruned network with ``model``, ``state_dict()``, ``sparsity``, ``save(path)`` and
        ``result``: layers, accuracy before and after, warnings.

    Raises:
        UsageError: a value makes no sense, or two of them exclude each other.
        InputError: ``limit`` is about another network or other data.
        NumericalError: the loss is not finite.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> pruned = pl.prune(problem, 0.5)
    >>> pruned.sparsity
    0.5
    >>> pruned.result.nonzero, pruned.result.model.prunable
    (25100, 50200)
    """
    given = with_method(method, {"amount": amount, **options})
    config, rule = configured(PruneConfig, given), configured(LimitConfig, options)
    curvature = configured(CurvatureConfig, options)
    check_prune(config)
    problem = seeded(problem, seed)
    record = recorder("prune", problem, curvature, rule, config)
    loaded, remove, reliability = problem.loaded, config.amount, None
    with reporting(progress) as told:
        if isinstance(remove, str) and not config.method.decided and config.within is None:
            if limit is None:
                predicted = _predicted(problem, rule, curvature, told)
            else:
                predicted = _read(PredictResult, limit)
                require_same(predicted, loaded.model_info, loaded.data_info, predicted.epsilon)
            remove, reliability = predicted_amount(predicted, config)
        pruned = prune_problem(
            loaded,
            config,
            remove if isinstance(remove, float) else 1.0,
            rule,
            predicted=reliability is not None,
            progress=told,
        )
    own = tensors_of(problem)
    return PrunedNetwork(
        model=network_of(problem, pruned_tensors(pruned, own)),
        description=describe_pruning(loaded, pruned, config),
        prunable=loaded.problem.prunable,
        result=pruned_result(loaded, pruned, config, own, record, reliability=reliability),
    )


@takes(MeasureConfig)
def measure(
    problem: Problem,
    method: Method | str | None = None,
    *,
    progress: bool | Progress = False,
    seed: int | None = None,
    **options: Any,
) -> MeasureResult:
    """Measure accuracy and loss against sparsity, and the thresholds.

    Args:
        problem: The network and its data.
        method: How it is pruned, such as "magnitude+staged"; or the four choices by their names.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of everything random; the problem's where it is left out.

    Returns:
        ``curve`` with accuracy (fraction) and loss (nats) by sparsity, and ``thresholds``: the
        largest sparsity that holds each rule, with its interval.

    Raises:
        UsageError: a value makes no sense.
        NumericalError: the loss is not finite.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> measured = pl.measure(problem, "magnitude", sparsities=[0, 0.5, 0.9])
    >>> [point.nonzero for point in measured.curve]
    [50200, 25100, 5020]
    """
    config = configured(MeasureConfig, with_method(method, options))
    problem = seeded(problem, seed)
    with reporting(progress) as told:
        record = recorder("measure", problem, config)
        return measure_loaded(problem.loaded, config, record, progress=told)


@takes(SensitivityConfig)
def sensitivity(
    problem: Problem, *, progress: bool | Progress = False, seed: int | None = None, **options: Any
) -> SensitivityResult:
    """Measure accuracy and loss where one layer alone is pruned, layer by layer.

    A layer of which nothing was learnt is not called robust. Its ``why`` says that its weights are
    zero already, or that it is not pruned at all.

    Args:
        problem: The network and its data.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of everything random; the problem's where it is left out.

    Returns:
        ``layers`` with the curve of each. ``top()`` gives the most sensitive layers.
        ``targets(sparsity)`` gives the sparsity of each layer with which the loss rises least. Once
        the result is saved, the allocation "targets:FILE.json" shares by it.

    Raises:
        UsageError: a value makes no sense.
        NumericalError: the loss is not finite.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> found = pl.sensitivity(problem, sparsities=[0.5, 0.9])
    >>> len(found.top(2)), sorted(found.targets(0.8))
    (2, ['layers.0.weight', 'layers.1.weight', 'layers.2.weight'])
    """
    config = configured(SensitivityConfig, options)
    problem = seeded(problem, seed)
    with reporting(progress) as told:
        record = recorder("sensitivity", problem, config)
        return sensitivity_loaded(problem.loaded, config, record, progress=told)


@takes(
    MeasureConfig,
    LimitConfig,
    CurvatureConfig,
    without={MeasureConfig: METHOD, LimitConfig: OTHER_TOLERANCE},
)
def compare(
    problem: Problem,
    methods: str | Iterable[Method | str] = CompareConfig.methods,
    limit: PredictResult | str | Path | None = None,
    *,
    progress: bool | Progress = False,
    seed: int | None = None,
    **options: Any,
) -> CompareResult:
    """Measure pruning methods side by side, against the predicted limit.

    ``tolerance`` is that of accuracy. The tolerance of the limit keeps its default.

    Args:
        problem: The network and its data.
        methods: Names such as "wanda/rows" or "magnitude+staged", in a list or with commas.
        limit: A prediction, or its file; it is predicted now where this is left out.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of everything random; the problem's where it is left out.

    Returns:
        ``methods``, each with its curve, its thresholds and how far these stay below ``limit``.

    Raises:
        UsageError: a value makes no sense, or there is no such method.
        InputError: ``limit`` is about another network, other data or another loss tolerance.
        NumericalError: the loss is not finite.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> limit = pl.predict(problem, samples=100, steps=10, probes=1)
    >>> found = pl.compare(problem, ["magnitude", "random"], limit, sparsities=[0, 0.5])
    >>> [method.method for method in found.methods]
    ['magnitude', 'random']
    """
    config = configured(CompareConfig, {"methods": methods})
    measurement = configured(MeasureConfig, options)
    rule = configured(LimitConfig, options, without=OTHER_TOLERANCE)
    curvature = configured(CurvatureConfig, options)
    problem = seeded(problem, seed)
    record = recorder("compare", problem, curvature, rule, measurement, config)
    given = None if limit is None else _read(PredictResult, limit)
    with reporting(progress) as told:
        predicted = _predicted(problem, rule, curvature, told) if given is None else given
        return compare_loaded(problem.loaded, predicted, measurement, config, record, progress=told)


@takes(CheckConfig, without={CheckConfig: ("junit", "code_quality", "report", "no_agreement")})
def check(
    limit: PredictResult | MeasureResult | str | Path | None = None,
    measured: PredictResult | MeasureResult | str | Path | None = None,
    **options: Any,
) -> CheckResult:
    """Judge the gates of a job: prediction against measurement, floors, and a baseline.

    Like is compared with like. With fixed survivors the loss threshold is compared with
    ``one_shot``. With trained ones feasibility is compared with ``limit``. With moved ones the loss
    threshold is compared with the range between. A difference that the intervals explain is no
    failure.

    Args:
        limit: The prediction, or its file.
        measured: The measurement, or its file. One of the two may be left out, if floors or a
            baseline need the other one alone.

    Returns:
        ``passed`` says whether every gate passed, ``gates`` what each found.

    Raises:
        InputError: the two are not about the same network, data or loss tolerance. Or nothing is
            predicted for the method. Or a number that a gate needs is missing.
        UsageError: a value makes no sense, or nothing is asked for.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> limit = pl.predict(problem, samples=100, steps=10, probes=1)
    >>> measured = pl.measure(problem)
    >>> pl.check(limit, measured, tolerance="5pp", min_sparsity="0.3@1pp").passed
    True
    """
    config = configured(CheckConfig, options)
    given = [_judged(each) for each in (limit, measured) if each is not None]
    return check_results(*one_of_each(given), config)


def _judged(given: PredictResult | MeasureResult | str | Path) -> PredictResult | MeasureResult:
    if isinstance(given, (str, Path)):
        return read_judged(Path(given))
    if not isinstance(given, (PredictResult, MeasureResult)):
        raise UsageError(
            f"A {type(given).__name__} is not a result; give what predict or measure returns, or "
            "its file."
        )
    return given


@takes(CurvatureConfig, SharpnessConfig)
def spectrum(
    problem: Problem, *, progress: bool | Progress = False, seed: int | None = None, **options: Any
) -> SpectrumResult:
    """Estimate the spectrum of the curvature of the training loss.

    Source: stochastic Lanczos quadrature, Ubaru, Chen and Saad 2017.

    Args:
        problem: The network and its data.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of the probes and of the samples drawn; the problem's where it is left out.

    Returns:
        ``ritz_values`` and ``quadrature_weights``, one row per probe, and in ``curvature`` the
        extreme eigenvalues, the trace with its standard error and the share of negative ones.
        ``sharpness.measures`` has each measure of sharpness with its interval.

    Raises:
        UsageError: a value makes no sense.
        NumericalError: the loss is not finite.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> problem = pl.train(problem, epochs=8, l1=1e-4).problem
    >>> found = pl.spectrum(problem, samples=100, steps=10, probes=1)
    >>> len(found.ritz_values[0]), found.curvature.lambda_max > 0
    (10, True)
    >>> [each.name for each in found.sharpness.measures][:2]
    ['largest eigenvalue', 'trace']
    """
    curvature = configured(CurvatureConfig, options)
    sharpness = configured(SharpnessConfig, options)
    problem = seeded(problem, seed)
    with reporting(progress) as told:
        record = recorder("spectrum", problem, curvature, sharpness)
        return spectrum_loaded(problem.loaded, curvature, sharpness, record, progress=told)


@takes(RegimeConfig)
def regime(
    problems: Sequence[Problem],
    *,
    progress: bool | Progress = False,
    seed: int | None = None,
    **options: Any,
) -> RegimeResult:
    """Say in which regime of pruning some networks are, and whether to train hotter or cooler.

    The regime is named by whether the straight line between two networks crosses a barrier, and by
    how alike they answer. It is "I" (poorly connected), "II-A" (connected but unlike) or "II-B"
    (connected and alike).

    Source: Zhou, Yang, Chang and Mahoney 2023, the three-regime model of pruning.

    Args:
        problems: Two or more networks of one architecture, with one mask, trained again from
            different seeds.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of the samples drawn; the first problem's where it is left out.

    Raises:
        UsageError: a value makes no sense, or there are fewer than two networks.
        InputError: they are not of one architecture and one data set, or two are the same network.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> fresh = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> start = pl.train(fresh, epochs=8, l1=1e-4).problem
    >>> seeds = [pl.train(start, epochs=2, lr=0.01, seed=seed).problem for seed in (1, 2)]
    >>> pl.regime(seeds).regime in ("I", "II-A", "II-B")
    True
    """
    config = configured(RegimeConfig, options)
    if not isinstance(problems, (list, tuple)):
        raise UsageError(
            f"`problems` is a {type(problems).__name__}; give a list of two or more networks."
        )
    if len(problems) < 2:
        raise UsageError(FEWEST)
    each = [seeded(problem, seed) for problem in problems]
    record = recorder("regime", each[0], config)
    names = [f"network {place + 1}" for place in range(len(each))]
    with reporting(progress) as told:
        loaded = [one.loaded for one in each]
        return regime_loaded(loaded, names, config, record, progress=told)


@takes(TrainConfig)
def train(
    problem: Problem, *, progress: bool | Progress = False, seed: int | None = None, **options: Any
) -> TrainedNetwork:
    """Train a copy of the network with l1, from the weights that it has.

    It uses SGD with momentum and a cosine schedule. ``sharpness`` keeps the minimum flat.
    ``keep_zeros`` keeps the zeros of a pruned network.

    Source: Zhang et al. 2024, section 7 of their settings; Foret et al. 2021 for sam.

    Args:
        problem: The network and its data; they are not changed.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.
        seed: Seed of the order of samples; the problem's where it is left out.

    Returns:
        The trained network with ``model``, ``problem`` for the other functions, ``state_dict()``,
        ``save(path)`` and ``result``: accuracy, loss, and the history by epoch.

    Raises:
        UsageError: a value makes no sense.
        NumericalError: training diverged.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> fresh = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> trained = pl.train(fresh, epochs=8, l1=1e-4)
    >>> trained.result.dense.accuracy > 0.5
    True
    """
    config = configured(TrainConfig, options)
    problem = to_train(seeded(problem, seed))
    record = recorder("train", problem, config)
    with reporting(progress) as told:
        loaded, result = train_loaded(problem.loaded, config, record, progress=told)
    return TrainedNetwork(
        model=network_of(problem, tensors_of(problem)),
        description=loaded.description,
        prunable=loaded.problem.prunable,
        problem=described(problem, loaded.description),
        result=result,
    )


def load(path: str | Path) -> Any:
    """The result in a JSON file that a command or ``save`` wrote.

    Args:
        path: The file.

    Returns:
        A PredictResult, MeasureResult or whatever the file's ``schema`` says.

    Raises:
        InputError: there is no such file, or it holds no result of ours.

    Example:

    >>> import tempfile
    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> folder = tempfile.TemporaryDirectory()
    >>> pl.spectrum(problem, samples=50, steps=5, probes=1).save(f"{folder.name}/spectrum.json")
    >>> type(pl.load(f"{folder.name}/spectrum.json")).__name__
    'SpectrumResult'
    """
    return load_result(Path(path))


def _read(kind: type[R], given: R | str | Path) -> R:
    """A result, or the one in a file."""
    found = load(given) if isinstance(given, (str, Path)) else given
    if not isinstance(found, kind):
        raise UsageError(
            f"A {kind.__name__} is needed, not a {type(found).__name__}; give what "
            f"{kind.__name__.removesuffix('Result').lower()} returns, or its file."
        )
    return found
