"""One frozen dataclass per stage: the only home of every default, its help and its source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import UsageError
from .values import (
    SHARPNESS,
    SURVIVORS,
    AccuracyFloor,
    EpsilonRule,
    KeepRule,
    Method,
    Pattern,
    SparsityFloor,
    amount,
    cg_steps,
    choice,
    inches,
    methods,
    orders,
    plugin,
    points,
    sparsities,
    stages,
)

__all__ = [
    "CheckConfig",
    "CompareConfig",
    "Config",
    "CurvatureConfig",
    "DataConfig",
    "ExportConfig",
    "HistoryConfig",
    "LimitConfig",
    "MeasureConfig",
    "MethodConfig",
    "ModelConfig",
    "PlotConfig",
    "PruneConfig",
    "RegimeConfig",
    "ReportConfig",
    "RunConfig",
    "SensitivityConfig",
    "SharpnessConfig",
    "SurvivorConfig",
    "TrainConfig",
    "option",
    "stage_of",
]


def option(
    default: Any,
    help: str,
    *,
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] | None = None,
    plugins: str | None = None,
    attributes: bool = False,
    metavar: str | None = None,
    source: str | None = None,
    parse: Callable[[Any], Any] | None = None,
    within: str | None = None,
) -> Any:
    """A dataclass field that carries what a command-line option needs.

    ``flags`` overrides the flag made from the field's name (``min_keep`` -> ``--min-keep``). A
    tuple default makes the option repeatable. ``plugins`` is the kind of plug-in that it names;
    with ``attributes``, FILE.py:ATTR is allowed beside the names. ``source`` says where the default
    comes from. ``parse`` turns the given text into the value, once. ``within`` is a key of
    :data:`RANGES`, the range of a number.
    """
    metadata = {
        "help": help,
        "flags": flags,
        "choices": choices,
        "plugins": plugins,
        "attributes": attributes,
        "metavar": metavar,
        "source": source,
        "parse": parse,
        "within": within,
    }
    return field(default=default, metadata=metadata)


RANGES: dict[str, Callable[[float], bool]] = {
    "0 or more": lambda x: 0 <= x < math.inf,
    "a number of GiB, 0 or more": lambda x: 0 <= x < 2**33,
    "a number from 0 to 2^63 - 1": lambda x: 0 <= x < 2**63,
    "1 or more": lambda x: x >= 1,
    "a number greater than 0": lambda x: 0 < x < math.inf,
    "0 or more and less than 1": lambda x: 0 <= x < 1,
    "a number between 0 and 1": lambda x: 0 < x < 1,
    "0 for all, or a positive number": lambda x: x >= 0,
    "from 30 to 2400": lambda x: 30 <= x <= 2400,
}
"""Ranges of numbers, in words and as a test."""


class Config:
    """The base of the dataclasses: values are parsed and checked when one is made.

    Raises:
        UsageError: a value makes no sense; the message has the field's name in backticks.
    """

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if value is None:
                continue
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, each.name, value)
            if each.metadata["parse"] is not None:
                object.__setattr__(self, each.name, each.metadata["parse"](value))
            elif each.metadata["plugins"] is not None:
                plugin(each.metadata["plugins"], value, attributes=each.metadata["attributes"])
            elif each.metadata["choices"] is not None:
                choice(each.name, value, each.metadata["choices"])
            rule = each.metadata["within"]
            if rule is not None and not RANGES[rule](value):
                raise UsageError(f"`{each.name}` is {value}; give {rule}.")

    def echo(self) -> dict[str, Any]:
        """The values for JSON: rules and methods become their texts."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}  # type: ignore[arg-type]

    def spelled(self, name: str) -> tuple[str, ...]:
        """The value of the field ``name`` as the command line spells it, once per repetition."""
        value = getattr(self, name)
        (parse,) = (each.metadata["parse"] for each in fields(self) if each.name == name)  # type: ignore[arg-type]
        if parse in (points, _within, _max_drop, _barrier, _one_tolerance):
            return (f"{100 * value:.12g}pp",)
        if parse is _tolerances:
            return tuple(f"{100 * each:.12g}pp" for each in value)
        if parse in (stages, cg_steps) and value is None:
            return ("auto",)
        if parse in (sparsities, methods):
            return (",".join(map(str, _plain(value))),)
        return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def stage_of(config: type[Config]) -> str:
    """The name of a configuration in the JSON: ``LimitConfig`` -> "limit"."""
    return config.__name__.removesuffix("Config").lower()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Method):
        return value.name
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _epsilon(given: EpsilonRule | str | float) -> EpsilonRule:
    return given if isinstance(given, EpsilonRule) else EpsilonRule.parse(given)


def _pattern(given: Pattern | str) -> Pattern:
    return given if isinstance(given, Pattern) else Pattern.parse(given)


def _min_keep(given: KeepRule | str | int) -> KeepRule:
    return given if isinstance(given, KeepRule) else KeepRule.parse(given)


def _sparsity_floors(given: tuple[Any, ...] | str | float) -> tuple[SparsityFloor, ...]:
    each = given if isinstance(given, tuple) else (given,)
    return tuple(e if isinstance(e, SparsityFloor) else SparsityFloor.parse(e) for e in each)


def _accuracy_floors(given: tuple[Any, ...] | str) -> tuple[AccuracyFloor, ...]:
    each = given if isinstance(given, tuple) else (given,)
    return tuple(e if isinstance(e, AccuracyFloor) else AccuracyFloor.parse(e) for e in each)


def _max_drop(given: str | float) -> float:
    return points(given, "max_drop")


def _within(given: str | float) -> float:
    return points(given, "within")


def _barrier(given: str | float) -> float:
    return points(given, "barrier")


def _one_tolerance(given: str | float | tuple[str | float, ...]) -> float:
    """The first, where several are given."""
    return _tolerances(given)[0]


def _tolerances(given: str | float | tuple[str | float, ...]) -> tuple[float, ...]:
    each = given if isinstance(given, (tuple, list)) else (given,)
    if not each:
        raise UsageError("No `tolerance` is given; give one such as 0.5pp.")
    return tuple(dict.fromkeys(points(one) for one in each))


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Which network the checkpoint belongs to, and what is never pruned."""

    model: str | None = option(
        None,
        "Network: a built-in name, torchvision:NAME, timm:NAME, hf:NAME or hf:FOLDER, "
        "package.module:attr or path/to/file.py:attr.",
        flags=("-m", "--model"),
        metavar="SPEC",
    )
    model_arg: tuple[str, ...] = option(
        (), "Keyword argument for the network's constructor, as key=value.", metavar="KEY=VALUE"
    )
    exclude: tuple[str, ...] = option(
        (),
        "Module names (a regular expression) kept as trained: never pruned, never free.",
        metavar="REGEX",
    )
    key: str | None = option(
        None,
        "Where in the file the state_dict lies that is meant, such as ema or state_dict.student, "
        "where there are several.",
        metavar="NAME",
    )
    include_embeddings: bool = option(
        False, "Prune the tables of embeddings too, which are otherwise free but stay whole."
    )
    trust_pickle: bool = option(
        False, "Load a checkpoint that runs code on loading. Only for files you made yourself."
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Which data, and how they are normalised."""

    data: str | None = option(
        None,
        "Data: digits, mnist, fashion-mnist, cifar10, cifar100, folder:PATH, npz:PATH, "
        "package.module:attr or path/to/file.py:attr.",
        flags=("-d", "--data"),
        metavar="SPEC",
    )
    data_dir: str | None = option(
        None, "Where torchvision's data sets lie on disk (default: data).", metavar="DIR"
    )
    download: bool = option(False, "Fetch the data set into --data-dir when it is not there.")
    mean: str | None = option(
        None, "Channel means that inputs are normalised with, comma-separated.", metavar="M,..."
    )
    std: str | None = option(
        None, "Channel deviations that inputs are normalised with.", metavar="S,..."
    )
    train_samples: int | None = option(
        None,
        "Training samples that make up the training loss, drawn by seed (default: all; 0 too).",
        metavar="N",
        within="0 for all, or a positive number",
    )
    loss: str | None = option(
        None,
        "Loss: a name, or FILE.py:ATTR for a function of outputs and targets that gives one loss "
        "per sample (default: what suits the targets, or `loss` beside your own data).",
        plugins="loss",
        attributes=True,
    )
    metric: str | None = option(
        None,
        "Metric in the place of accuracy: a name, or FILE.py:ATTR for a function that gives one "
        "score per sample (default: what belongs to the loss, or `metric` beside your own data).",
        plugins="metric",
        attributes=True,
    )
    ignore_index: int | None = option(
        None,
        "Class of positions that do not count (default: -100, as in torch).",
        metavar="N",
    )
    image_size: int | None = option(
        None,
        "Resize and centre-crop the images of folder:PATH to this many pixels.",
        metavar="N",
        within="1 or more",
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Where and how the numbers are computed."""

    batch_size: int | None = option(
        None,
        "Samples per forward pass (default: as many as caches like, at most 500); changes memory "
        "and time, never the result.",
        flags=("-b", "--batch-size"),
        metavar="N",
        within="1 or more",
    )
    seed: int = option(
        0, "Seed of everything random.", metavar="N", within="a number from 0 to 2^63 - 1"
    )
    device: str = option(
        "cpu",
        "Device: auto (a GPU where there is one), cpu, cuda, cuda:N, mps, or another that torch "
        "names.",
        metavar="DEVICE",
    )
    dtype: str = option("float32", "Floating-point type.", choices=("float32", "float64"))
    workers: int = option(
        0, "Processes that load data.", flags=("-j", "--workers"), metavar="N", within="0 or more"
    )
    cache: str | None = option(
        None,
        "Folder in which the losses of the dense network are kept, for further commands on the "
        "same checkpoint and data; changes no number, may be deleted at any time, takes 1 GiB at "
        "most.",
        metavar="DIR",
    )


@dataclass(frozen=True, kw_only=True)
class CurvatureConfig(Config):
    """Which curvature matrix, and how its spectrum is estimated."""

    curvature: str = option(
        "ggn",
        "Curvature matrix of the training loss. The paper's own recipe is --formula paper "
        "--curvature hessian.",
        plugins="curvature",
    )
    with_ggn: bool = option(
        False, "Give the limits by the GGN too, beside the Hessian's, at some more products."
    )
    backend: str = option(
        "prunelimit", "Whose curvature products are used.", choices=("prunelimit", "pyhessian")
    )
    shard: str = option(
        "samples",
        "What processes started by torchrun share: samples and vectors, or the parameters too, "
        "where they do not fit one device.",
        choices=("samples", "parameters"),
    )
    probes: int | None = option(
        None,
        "Random probe vectors (default: one, and more where the limit needs them).",
        metavar="N",
        within="1 or more",
    )
    steps: int | None = option(
        None,
        "Lanczos steps per probe (default: as many as the limit needs; 120 for spectrum).",
        metavar="N",
        within="1 or more",
    )
    samples: int | None = option(
        None,
        "Training samples that the curvature is read from, 0 for all: for the GGN those on which "
        "the network is least sure, for the Hessian and for spectrum a uniform draw (default: as "
        "many as the limit needs, from 1000 to 10000 or to what --max-seconds allows; 10000 for "
        "spectrum).",
        metavar="N",
        within="0 for all, or a positive number",
    )
    precision: str = option(
        "full",
        "Arithmetic of products: full (that of --dtype), or bfloat16 with vectors and sums in "
        "float32: faster where the processor has it, but rounding, measured and reported, blurs "
        "the eigenvalues nearest zero, on which the limit rests; for looking at the largest.",
        choices=("full", "bfloat16"),
    )
    basis: str = option(
        "memory",
        "Where Lanczos vectors lie: bfloat16 halves the memory at a small loss of orthogonality, "
        "none keeps but two and converges late.",
        choices=("memory", "bfloat16", "disk", "none"),
    )
    memory: float | None = option(
        None,
        "GiB in which what products have in common is kept (default: half of what is free).",
        metavar="GIB",
        within="a number of GiB, 0 or more",
    )
    cross_check: bool = option(
        False, "Compare largest eigenvalue and trace of the Hessian with PyHessian's own."
    )


@dataclass(frozen=True, kw_only=True)
class SharpnessConfig(Config):
    """Which measures of sharpness are taken of a spectrum."""

    alpha: tuple[float, ...] = option(
        ("0.5", "1", "2"),
        "Order of the Renyi sharpness, greater than 0: 1 is Shannon's entropy; larger ones look at "
        "the largest eigenvalues, smaller ones at the bulk.",
        metavar="A",
        parse=orders,
        source="Zhang, Sun, Zhang et al. 2025",
    )
    by_layer: bool = option(
        False,
        "Give the Renyi sharpness of every prunable weight tensor's block too, which rescaling of "
        "layers does not change, at as many products each.",
    )
    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance: batch-std, a number, a percentage of the dense loss such as 5%, or 0.5pp: "
        "the loss rise that costs so much accuracy on training samples, by magnitude pruning.",
        metavar="RULE",
        parse=_epsilon,
    )


@dataclass(frozen=True, kw_only=True)
class LimitConfig(Config):
    """The loss tolerance and how the limit is stated."""

    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance: batch-std, a number, a percentage of the dense loss such as 5%, or 0.5pp: "
        "the loss rise that costs so much accuracy on training samples, by magnitude pruning.",
        metavar="RULE",
        parse=_epsilon,
        source="Zhang et al. 2024: standard deviation of the loss over mini-batches of 128",
    )
    formula: str = option(
        "directional",
        "Which limit is the headline; the others are given beside it.",
        plugins="formula",
    )
    confidence: float = option(
        0.95, "Level of every interval.", metavar="P", within="a number between 0 and 1"
    )
    tolerance: float = option(
        "0.25pp",
        "Go on until half the interval is no wider, where steps and probes are not given.",
        metavar="Npp",
        parse=points,
    )
    max_products: int | None = option(
        None,
        "Curvature products that may be spent (default: 600 once the samples are chosen, beside "
        "those of steps that are given).",
        metavar="N",
        within="1 or more",
    )
    max_seconds: float | None = option(
        None,
        "Seconds from the start, reading and evaluating included, after which no further product "
        "is begun (default: no limit).",
        metavar="S",
        within="a number greater than 0",
    )
    directional_steps: int | None = option(
        None,
        "Lanczos steps from the removed weights, per candidate sparsity (default: as many as the "
        "limit needs).",
        metavar="N",
        within="1 or more",
    )
    no_drift: bool = option(
        False,
        "Do not estimate what comes of using some of the samples; limit and interval are then "
        "those of these samples alone.",
    )


@dataclass(frozen=True, kw_only=True)
class MethodConfig(Config):
    """A pruned network is four independent choices."""

    criterion: str = option(
        "magnitude",
        "Which weights go: those of least score by this criterion, or by a function of your own.",
        plugins="criterion",
        attributes=True,
    )
    allocation: str | None = option(
        None,
        "How what is removed is shared among layers (default: global; rows with wanda).",
        plugins="allocation",
    )
    pattern: Pattern | None = option(
        None,
        "Which masks are allowed. N:M, such as 2:4, keeps the N highest scores of every M inputs "
        "in a row; that decides the amount, and inputs that make no whole group stay. block:RxC, "
        "such as block:4x4, removes whole tiles of R rows and C columns, to any amount; tiles at "
        "the end of a matrix may be smaller, and the last one may go in part.",
        plugins="pattern",
        parse=_pattern,
    )
    survivors: str = option(
        "fixed",
        "What becomes of the weights that stay: fixed as they are; layerwise, each layer fitted to "
        "the dense one's outputs; compensated, moved together so that the network's outputs stay "
        "near the dense one's; staged, the same in many stages; trained on the loss; obs, moved by "
        "Optimal Brain Surgeon. Only trained and obs read labels.",
        choices=SURVIVORS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.method  # refuse now what cannot be combined

    @property
    def method(self) -> Method:
        """The four together."""
        return Method(self.criterion, self.allocation, self.pattern, self.survivors)


@dataclass(frozen=True, kw_only=True)
class SurvivorConfig(Config):
    """How much moving or training the survivors may take, and the samples read for that and for
    scores."""

    stages: int | None = option(
        "auto",
        "Stages of staged survivors; auto for as many as the quadratic model can be trusted for. A "
        "stage that fails is undone and halved.",
        metavar="auto|N",
        parse=stages,
    )
    cg_steps: int | None = option(
        "auto",
        "Conjugate-gradient steps per stage, one curvature product each, at most: a solve ends "
        "earlier when inputs held out gain no more from it. 0 leaves them out; auto takes 25 where "
        "the inputs are enough to determine the survivors, else none.",
        metavar="auto|N",
        parse=cg_steps,
    )
    calibration: int | None = option(
        None,
        "Training samples that are read, 0 for all (default: 1000 for criterion and allocation, "
        "256 or fewer with obs; 10000 inputs for every stage of compensation, other ones while "
        "there are some: a product costs four forward passes of them, and a thousand are too few "
        "to generalise from).",
        metavar="N",
        within="0 for all, or a positive number",
    )
    bn_recalibrate: int | None = option(
        None,
        "Inputs that batch normalisation takes its statistics from anew in every stage, where that "
        "helps; 0 keeps them (default: 2000).",
        metavar="N",
        within="0 or more",
    )
    refit_passes: int = option(
        50,
        "Passes over the training set that training of survivors may spend at a sparsity. measure "
        "spends up to four times as many, and states the threshold at one, two and four times.",
        metavar="N",
        within="0 or more",
    )
    refit_lr: float = option(
        2e-3,
        "Peak learning rate of that training's first passes, by minibatches (Adam, cosine). Small "
        "data sets have no such passes.",
        metavar="LR",
        within="a number greater than 0",
    )
    refit_batch_size: int = option(
        128, "Minibatch of those first passes.", metavar="N", within="1 or more"
    )


@dataclass(frozen=True, kw_only=True)
class PruneConfig(MethodConfig, SurvivorConfig):
    """What is removed."""

    amount: str | float = option(
        "auto",
        "Fraction of prunable weights to remove, 0 to 1, or a predicted one: one-shot, the "
        "sparsity up to which the loss stays with nothing moved; limit, up to which moved "
        "survivors can keep it; auto, the one that belongs to --survivors.",
        metavar="auto|one-shot|limit|FLOAT",
        parse=amount,
    )
    within: float | None = option(
        None,
        "Instead of an amount: find the sparsest network whose accuracy stays within so many "
        "points of dense, judged on training samples that are held out.",
        metavar="Npp",
        parse=_within,
    )
    min_keep: KeepRule = option(
        "auto",
        "Fewest weights kept in every layer, the guard against layer collapse: a number, a "
        "percentage of the layer, or auto for a tenth of the average density, at most 1%.",
        metavar="auto|N|P%",
        parse=_min_keep,
        source="Gupta et al. 2022, Global Magnitude Pruning",
    )
    sparse: bool = option(
        False,
        "Store the surviving weights and a bit mask: a smaller file, read by prunelimit alone.",
    )


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(MethodConfig, SurvivorConfig):
    """How the thresholds are measured."""

    sparsities: tuple[float, ...] | None = option(
        None,
        "Sparsities to measure, as 0,0.5,0.9 or START:STOP:STEP; default: coarse to fine.",
        metavar="LIST",
        parse=sparsities,
    )
    tolerance: tuple[float, ...] = option(
        ("0.5pp", "1pp"),
        "Accuracy that may be lost, in percentage points.",
        metavar="Npp",
        parse=_tolerances,
    )
    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance: batch-std, a number, a percentage of the dense loss such as 5%, or 0.5pp: "
        "the loss rise that costs so much accuracy on training samples, by magnitude pruning.",
        metavar="RULE",
        parse=_epsilon,
    )
    confidence: float = option(
        0.95, "Level of every interval.", metavar="P", within="a number between 0 and 1"
    )
    resolution: float = option(
        0.001,
        "Spacing of sparsities, as a fraction, to which thresholds are found.",
        metavar="F",
        within="a number between 0 and 1",
    )


@dataclass(frozen=True, kw_only=True)
class SensitivityConfig(Config):
    """How each layer is measured alone."""

    sparsities: tuple[float, ...] | None = option(
        None,
        "Sparsities of a layer to measure, as 0,0.5,0.9 or START:STOP:STEP (default: 0.5, 0.7, "
        "0.8, 0.9, 0.95, 0.98, 0.99).",
        metavar="LIST",
        parse=sparsities,
    )
    criterion: str = option(
        "magnitude",
        "Which weights go: those of least score by this criterion, or by a function of your own.",
        plugins="criterion",
        attributes=True,
    )
    tolerance: float = option(
        "0.5pp",
        "Accuracy that a layer alone may lose, in percentage points.",
        metavar="Npp",
        parse=_one_tolerance,
    )
    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance: batch-std, a number, a percentage of the dense loss such as 5%, or 0.5pp: "
        "the loss rise that costs so much accuracy on training samples, by magnitude pruning.",
        metavar="RULE",
        parse=_epsilon,
    )
    calibration: int | None = option(
        None,
        "Training samples that are read for scores, 0 for all (default: 1000).",
        metavar="N",
        within="0 for all, or a positive number",
    )


@dataclass(frozen=True, kw_only=True)
class CheckConfig(Config):
    """The gate between predicted and measured."""

    tolerance: float = option(
        "2pp", "Largest accepted difference, in percentage points.", metavar="Npp", parse=points
    )
    rule: str = option(
        "event",
        "What is compared: event is like with like, the measured event with the number predicted "
        "for it; accuracy is the measured accuracy threshold at its first tolerance with the "
        "limit, which no theory promises to agree.",
        choices=("event", "accuracy"),
    )
    min_sparsity: tuple[SparsityFloor, ...] = option(
        (),
        "Fail if accuracy does not stay within a tolerance up to this sparsity; 0.8@1pp names the "
        "tolerance, 0.8 takes the first one measured.",
        metavar="F[@Npp]",
        parse=_sparsity_floors,
    )
    min_accuracy_at: tuple[AccuracyFloor, ...] = option(
        (),
        "Fail if fewer are right at this sparsity: 0.8=0.97 asks for 97% at 80% removed.",
        metavar="F=ACCURACY",
        parse=_accuracy_floors,
    )
    baseline: tuple[str, ...] = option(
        (),
        "Fail if limit, plain, thresholds or accuracies dropped from this earlier JSON of predict "
        "or measure by more than --max-drop.",
        metavar="FILE.json",
    )
    max_drop: float = option(
        "1pp",
        "Accepted drop from the baseline, in percentage points.",
        metavar="Npp",
        parse=_max_drop,
    )
    no_agreement: bool = option(
        False, "Do not compare predicted with measured: only floors and baselines are gates."
    )
    junit: str | None = option(None, "Write the verdict as JUnit XML too.", metavar="FILE")
    code_quality: str | None = option(
        None, "Write gates that failed as GitLab code-quality JSON too.", metavar="FILE"
    )
    report: str | None = option(
        None, "Write a page about prediction, measurement and verdict too.", metavar="FILE.html"
    )


@dataclass(frozen=True, kw_only=True)
class HistoryConfig(Config):
    """Whether predictions are left in the folder."""

    keep: bool = option(
        False,
        "Leave each prediction beside its checkpoint as NAME.predict.json: the same command then "
        "goes on where it was interrupted, and makes only those that are new.",
    )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Which methods stand side by side, and against which limit."""

    methods: tuple[Method, ...] = option(
        "magnitude,magnitude+compensated,magnitude+staged,magnitude+trained",
        "Methods to measure, comma-separated: CRITERION[/ALLOCATION][/PATTERN][+SURVIVORS], such "
        "as wanda/rows or magnitude+staged.",
        metavar="NAME,...",
        parse=methods,
    )
    predicted: str | None = option(
        None,
        "Take the limit from this JSON of predict; default: predict it.",
        metavar="PREDICT.json",
    )


@dataclass(frozen=True, kw_only=True)
class RegimeConfig(Config):
    """How the regime of pruned networks is read, and where its bounds lie."""

    samples: int = option(
        2000,
        "Training samples that errors and outputs are of, drawn by seed; 0 for all.",
        metavar="N",
        within="0 or more",
    )
    barrier: float = option(
        "1pp",
        "Networks are connected where the error between them is no worse than theirs by more.",
        metavar="Npp",
        parse=_barrier,
    )
    similar: float = option(
        0.9,
        "Networks are alike where the CKA of their outputs is at least so much.",
        metavar="CKA",
        within="a number between 0 and 1",
    )


@dataclass(frozen=True, kw_only=True)
class PlotConfig(Config):
    """Which figure is drawn of results, and its size."""

    figure: str | None = option(
        None, "Which figure (default: the first that the files have in common).", plugins="figure"
    )
    width: float = option(
        "8.5in",
        "Width of the figure, as the paper has it: in, cm, mm or pt. Text keeps its size.",
        metavar="LENGTH",
        parse=inches,
    )
    no_title: bool = option(False, "Leave out the title, where a caption says it.")
    dpi: int = option(140, "Pixels per inch of a PNG.", metavar="N", within="from 30 to 2400")


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """The format of a report."""

    format: str | None = option(
        None,
        "A page (html), or a comment for a pull request (md). Default: what the file's name says.",
        choices=("html", "md"),
    )


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """How matrices with zeros are written."""

    format: str = option(
        "dense",
        "How matrices are stored: dense; bitmask, a bit per entry and the values; csr, compressed "
        "rows; nm, N of every M, for masks of a pattern. A matrix that would be larger stays "
        "dense.",
        choices=("dense", "bitmask", "csr", "nm"),
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """l1 training as in Zhang et al. 2024, section 7 of their settings."""

    l1: float = option(
        5e-5,
        "Weight of the l1 norm of the prunable weights in the loss.",
        metavar="L1",
        source="Zhang et al. 2024: 1e-5 to 1e-4",
        within="0 or more",
    )
    weight_decay: float = option(0.0, "L2 weight decay of SGD.", metavar="WD", within="0 or more")
    epochs: int = option(12, "Passes over the training set.", metavar="N", within="1 or more")
    lr: float = option(
        0.1,
        "Peak learning rate of SGD with momentum, cosine schedule.",
        metavar="LR",
        within="a number greater than 0",
    )
    momentum: float = option(
        0.9, "Momentum of SGD.", metavar="M", within="0 or more and less than 1"
    )
    train_batch_size: int = option(128, "Mini-batch of SGD.", metavar="N", within="1 or more")
    sharpness: str = option(
        "none",
        "Keep the minimum flat: sam takes the gradient where the loss is worst within --rho, at "
        "twice the time; rsam adds --rho times the Renyi sharpness of order 2 to the loss, at "
        "about six times.",
        choices=SHARPNESS,
        source="Foret et al. 2021; Zhang, Sun, Zhang et al. 2025",
    )
    rho: float | None = option(
        None,
        "Radius of sam (default: 0.05), or weight of the Renyi sharpness in rsam (default: 0.01). "
        "0 is plain training.",
        metavar="RHO",
        within="0 or more",
        source="Foret et al. 2021: 0.05",
    )
    keep_zeros: bool = option(
        False, "Prunable weights that are zero at the start stay zero: trains what pruning left."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho is not None and self.sharpness == "none":
            raise UsageError("`rho` belongs to `sharpness` sam or rsam; give one of them too.")
