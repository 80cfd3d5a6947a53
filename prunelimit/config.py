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
        "The network: a built-in name, torchvision:NAME, timm:NAME, hf:NAME, hf:FOLDER, "
        "package.module:attr or path/to/file.py:attr.",
        flags=("-m", "--model"),
        metavar="SPEC",
    )
    model_arg: tuple[str, ...] = option(
        (), "An argument of the network's constructor, as key=value.", metavar="KEY=VALUE"
    )
    exclude: tuple[str, ...] = option(
        (),
        "Modules to leave as trained: they are never pruned, and their weights never move. A "
        "regular expression of names.",
        metavar="REGEX",
    )
    key: str | None = option(
        None,
        "Where the state_dict lies in a file that holds several, such as ema or "
        "state_dict.student.",
        metavar="NAME",
    )
    include_embeddings: bool = option(
        False, "Prune embedding tables too. Without it they may move, but stay whole."
    )
    trust_pickle: bool = option(
        False,
        "Load a checkpoint that runs code when it is loaded. Only for files that you made "
        "yourself.",
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Which data, and how they are normalised."""

    data: str | None = option(
        None,
        "The data: digits, mnist, fashion-mnist, cifar10, cifar100, folder:PATH, npz:PATH, "
        "package.module:attr or path/to/file.py:attr.",
        flags=("-d", "--data"),
        metavar="SPEC",
    )
    data_dir: str | None = option(
        None, "Folder of torchvision's data sets (default: data).", metavar="DIR"
    )
    download: bool = option(False, "Download the data set into --data-dir if it is not there.")
    mean: str | None = option(
        None, "Mean of each channel, to normalise inputs with. Separate by commas.", metavar="M,..."
    )
    std: str | None = option(
        None,
        "Standard deviation of each channel, to normalise inputs with. Separate by commas.",
        metavar="S,...",
    )
    train_samples: int | None = option(
        None,
        "Use only N training samples, drawn by seed; 0 uses all (default: all).",
        metavar="N",
        within="0 for all, or a positive number",
    )
    loss: str | None = option(
        None,
        "The loss: a name, or FILE.py:ATTR for your own function of outputs and targets that "
        "gives one loss per sample (default: chosen by the targets, or `loss` beside your own "
        "data).",
        plugins="loss",
        attributes=True,
    )
    metric: str | None = option(
        None,
        "A metric instead of accuracy: a name, or FILE.py:ATTR for your own function that gives "
        "one score per sample (default: chosen by the loss, or `metric` beside your own data).",
        plugins="metric",
        attributes=True,
    )
    ignore_index: int | None = option(
        None,
        "Target that marks a position as not counted (default: -100, as in torch).",
        metavar="N",
    )
    image_size: int | None = option(
        None,
        "Resize and centre-crop the images of folder:PATH to N pixels.",
        metavar="N",
        within="1 or more",
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Where and how the numbers are computed."""

    batch_size: int | None = option(
        None,
        "Samples per forward pass (default: chosen for the processor's cache, at most 500). It "
        "changes memory and time, never the result.",
        flags=("-b", "--batch-size"),
        metavar="N",
        within="1 or more",
    )
    seed: int = option(
        0, "Seed of everything random.", metavar="N", within="a number from 0 to 2^63 - 1"
    )
    device: str = option(
        "cpu",
        "Device: auto (a GPU if there is one), cpu, cuda, cuda:N, mps, or another name that "
        "torch knows.",
        metavar="DEVICE",
    )
    dtype: str = option(
        "float32", "Floating-point type of the computation.", choices=("float32", "float64")
    )
    workers: int = option(
        0,
        "Number of processes that load data.",
        flags=("-j", "--workers"),
        metavar="N",
        within="0 or more",
    )
    cache: str | None = option(
        None,
        "Folder that keeps the losses of the dense network. Later commands on the same "
        "checkpoint and data read them. It changes no result, takes at most 1 GiB, and may be "
        "deleted at any time.",
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
        False, "With the Hessian, give the limits by the GGN too. It takes more products."
    )
    backend: str = option(
        "prunelimit",
        "Implementation of the curvature products.",
        choices=("prunelimit", "pyhessian"),
    )
    shard: str = option(
        "samples",
        "What the processes of torchrun divide: samples (and Lanczos vectors), or the parameters "
        "too, for a network that does not fit on one device.",
        choices=("samples", "parameters"),
    )
    probes: int | None = option(
        None,
        "Random probe vectors (default: one, and more if the limit needs them).",
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
        "Training samples that the curvature is computed on; 0 for all. The GGN takes those on "
        "which the network is least sure; the Hessian and spectrum draw at random (default: as "
        "many as the limit needs, from 1000 to 10000, fewer if --max-seconds asks for it; 10000 "
        "for spectrum).",
        metavar="N",
        within="0 for all, or a positive number",
    )
    precision: str = option(
        "full",
        "Arithmetic of products. full uses --dtype. bfloat16 can be faster, but its rounding "
        "blurs the eigenvalues near zero that the limit depends on; use it to look at large "
        "eigenvalues.",
        choices=("full", "bfloat16"),
    )
    basis: str = option(
        "memory",
        "Where Lanczos vectors are kept. bfloat16 halves the memory, and the vectors are a "
        "little less orthogonal. none keeps two vectors and needs more steps.",
        choices=("memory", "bfloat16", "disk", "none"),
    )
    memory: float | None = option(
        None,
        "GiB for intermediate results that products share (default: half of the free memory).",
        metavar="GIB",
        within="a number of GiB, 0 or more",
    )
    cross_check: bool = option(
        False, "Compare the largest eigenvalue and the trace of the Hessian with PyHessian's."
    )

    @property
    def ggn_beside(self) -> bool:
        """Whether the GGN's limits are wanted beside the Hessian's."""
        return self.with_ggn and self.curvature == "hessian"


@dataclass(frozen=True, kw_only=True)
class SharpnessConfig(Config):
    """Which measures of sharpness are taken of a spectrum."""

    alpha: tuple[float, ...] = option(
        ("0.5", "1", "2"),
        "Order of the Renyi sharpness, greater than 0. 1 is Shannon's entropy. Larger orders "
        "weigh the largest eigenvalues more, smaller orders the bulk.",
        metavar="A",
        parse=orders,
        source="Zhang, Sun, Zhang et al. 2025",
    )
    by_layer: bool = option(
        False,
        "Give the Renyi sharpness of each prunable layer's block too. Rescaling of layers does "
        "not change it. Each layer takes as many products again.",
    )
    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance, by which the training loss may rise: batch-std, a number, a percentage "
        "of the dense loss such as 5%, or points of accuracy such as 0.5pp (the loss rise at "
        "which magnitude pruning costs that much accuracy on training samples).",
        metavar="RULE",
        parse=_epsilon,
    )


@dataclass(frozen=True, kw_only=True)
class LimitConfig(Config):
    """The loss tolerance and how the limit is stated."""

    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance, by which the training loss may rise: batch-std, a number, a percentage "
        "of the dense loss such as 5%, or points of accuracy such as 0.5pp (the loss rise at "
        "which magnitude pruning costs that much accuracy on training samples).",
        metavar="RULE",
        parse=_epsilon,
        source="Zhang et al. 2024: standard deviation of the loss over mini-batches of 128",
    )
    formula: str = option(
        "directional",
        "Formula of the limit. The others are given beside it.",
        plugins="formula",
    )
    confidence: float = option(
        0.95, "Confidence level of every interval.", metavar="P", within="a number between 0 and 1"
    )
    tolerance: float = option(
        "0.25pp",
        "Aim for an interval of at most plus or minus this. More probes, steps and samples are "
        "added until it is reached, except where you set their number.",
        metavar="Npp",
        parse=points,
    )
    max_products: int | None = option(
        None,
        "Most curvature products to spend (default: 600 after the samples are chosen).",
        metavar="N",
        within="1 or more",
    )
    max_seconds: float | None = option(
        None,
        "Stop computing after this many seconds, counted from the start of the command "
        "(default: no limit).",
        metavar="S",
        within="a number greater than 0",
    )
    directional_steps: int | None = option(
        None,
        "Lanczos steps from the removed weights, for each sparsity that is tried (default: as "
        "many as the limit needs).",
        metavar="N",
        within="1 or more",
    )
    no_drift: bool = option(
        False,
        "Do not estimate the error of using only some samples. The limit and its interval then "
        "hold for those samples alone.",
    )


@dataclass(frozen=True, kw_only=True)
class MethodConfig(Config):
    """A pruned network is four independent choices."""

    criterion: str = option(
        "magnitude",
        "Score by which weights are removed, lowest first: a name, or FILE.py:ATTR for your own "
        "function.",
        plugins="criterion",
        attributes=True,
    )
    allocation: str | None = option(
        None,
        "How the removed weights are divided among layers (default: global; rows with wanda).",
        plugins="allocation",
    )
    pattern: Pattern | None = option(
        None,
        "Shape of the masks. N:M, such as 2:4, keeps the N best of every M inputs in a row. It "
        "fixes the sparsity, and inputs that do not fill a group of M stay. block:RxC, such as "
        "block:4x4, removes tiles of R rows and C columns, at any sparsity. Tiles at the end of "
        "a matrix may be smaller, and the last tile may be removed in part.",
        plugins="pattern",
        parse=_pattern,
    )
    survivors: str = option(
        "fixed",
        "What is done to the weights that stay. fixed: nothing. layerwise: each layer is fitted "
        "to the dense layer's outputs. compensated: all move together, so that the network's "
        "outputs stay near the dense ones. staged: the same, in many small stages. trained: "
        "trained on the loss. obs: moved by Optimal Brain Surgeon. Only trained and obs read "
        "labels.",
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
        "Stages of staged survivors; auto takes as many as the quadratic model can be trusted "
        "for. A stage that fails is undone and cut in half.",
        metavar="auto|N",
        parse=stages,
    )
    cg_steps: int | None = option(
        "auto",
        "Most conjugate-gradient steps per stage, one curvature product each. They end earlier "
        "when held-out inputs gain nothing more. 0 leaves them out. auto takes 25 if there are at "
        "most 2500 inputs and they determine the survivors, else none.",
        metavar="auto|N",
        parse=cg_steps,
    )
    calibration: int | None = option(
        None,
        "Training samples to read; 0 for all (default: 1000 for a criterion or an allocation, at "
        "most 256 for obs, 10000 for each stage of compensation). Each stage reads other samples "
        "while there are some. Fewer are faster but generalise worse.",
        metavar="N",
        within="0 for all, or a positive number",
    )
    bn_recalibrate: int | None = option(
        None,
        "Inputs from which batch normalisation takes new statistics in every stage, if that "
        "helps; 0 keeps the old statistics (default: 2000).",
        metavar="N",
        within="0 or more",
    )
    refit_passes: int = option(
        50,
        "Passes over the training set to train survivors at one sparsity. measure spends up to "
        "four times as many there and about 20 times in all. It gives the threshold at one, two "
        "and four times.",
        metavar="N",
        within="0 or more",
    )
    refit_lr: float = option(
        2e-3,
        "Peak learning rate of the first passes, which go by minibatches (Adam, cosine "
        "schedule). Small data sets have no such passes.",
        metavar="LR",
        within="a number greater than 0",
    )
    refit_batch_size: int = option(
        128, "Samples in a minibatch of those first passes.", metavar="N", within="1 or more"
    )


@dataclass(frozen=True, kw_only=True)
class PruneConfig(MethodConfig, SurvivorConfig):
    """What is removed."""

    amount: str | float = option(
        "auto",
        "Fraction of prunable weights to remove, from 0 to 1, or a predicted one. one-shot: the "
        "largest at which the loss stays with no survivor moved. limit: the largest at which "
        "moved survivors can keep the loss. auto: the one of the two that fits --survivors.",
        metavar="auto|one-shot|limit|FLOAT",
        parse=amount,
    )
    within: float | None = option(
        None,
        "Instead of an amount: find the sparsest network whose accuracy stays within this many "
        "points of the dense one. Held-out training samples choose it.",
        metavar="Npp",
        parse=_within,
    )
    min_keep: KeepRule = option(
        "auto",
        "Fewest weights to keep in every layer, so that no layer is emptied: a number, a "
        "percentage of the layer, or auto (a tenth of the average density, at most 1%).",
        metavar="auto|N|P%",
        parse=_min_keep,
        source="Gupta et al. 2022, Global Magnitude Pruning",
    )
    sparse: bool = option(
        False,
        "Store only the weights that stay, and a bit mask: a smaller file that only prunelimit "
        "reads.",
    )


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(MethodConfig, SurvivorConfig):
    """How the thresholds are measured."""

    sparsities: tuple[float, ...] | None = option(
        None,
        "Sparsities to measure, as 0,0.5,0.9 or START:STOP:STEP (default: coarse ones, then "
        "finer ones around the threshold).",
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
        "Loss tolerance, by which the training loss may rise: batch-std, a number, a percentage "
        "of the dense loss such as 5%, or points of accuracy such as 0.5pp (the loss rise at "
        "which magnitude pruning costs that much accuracy on training samples).",
        metavar="RULE",
        parse=_epsilon,
    )
    confidence: float = option(
        0.95, "Confidence level of every interval.", metavar="P", within="a number between 0 and 1"
    )
    resolution: float = option(
        0.001,
        "How finely thresholds are found: a difference of sparsities, as a fraction.",
        metavar="F",
        within="a number between 0 and 1",
    )


@dataclass(frozen=True, kw_only=True)
class SensitivityConfig(Config):
    """How each layer is measured alone."""

    sparsities: tuple[float, ...] | None = option(
        None,
        "Sparsities of each layer to measure, as 0,0.5,0.9 or START:STOP:STEP (default: 0.5, "
        "0.7, 0.8, 0.9, 0.95, 0.98, 0.99).",
        metavar="LIST",
        parse=sparsities,
    )
    criterion: str = option(
        "magnitude",
        "Score by which weights are removed, lowest first: a name, or FILE.py:ATTR for your own "
        "function.",
        plugins="criterion",
        attributes=True,
    )
    tolerance: float = option(
        "0.5pp",
        "Accuracy that pruning one layer may cost, in percentage points.",
        metavar="Npp",
        parse=_one_tolerance,
    )
    epsilon: EpsilonRule = option(
        "batch-std",
        "Loss tolerance, by which the training loss may rise: batch-std, a number, a percentage "
        "of the dense loss such as 5%, or points of accuracy such as 0.5pp (the loss rise at "
        "which magnitude pruning costs that much accuracy on training samples).",
        metavar="RULE",
        parse=_epsilon,
    )
    calibration: int | None = option(
        None,
        "Training samples that the scores are computed from; 0 for all (default: 1000).",
        metavar="N",
        within="0 for all, or a positive number",
    )


@dataclass(frozen=True, kw_only=True)
class CheckConfig(Config):
    """The gate between predicted and measured."""

    tolerance: float = option(
        "2pp",
        "Largest accepted difference between predicted and measured, in percentage points.",
        metavar="Npp",
        parse=points,
    )
    rule: str = option(
        "event",
        "What is compared. event: the number that is predicted for the survivors in question, "
        "with the measured loss threshold. accuracy: the limit with the measured accuracy "
        "threshold at its first tolerance; no theory promises that these agree.",
        choices=("event", "accuracy"),
    )
    min_sparsity: tuple[SparsityFloor, ...] = option(
        (),
        "Fail unless accuracy stays within a tolerance up to this sparsity. 0.8@1pp names the "
        "tolerance; 0.8 takes the first one that is measured.",
        metavar="F[@Npp]",
        parse=_sparsity_floors,
    )
    min_accuracy_at: tuple[AccuracyFloor, ...] = option(
        (),
        "Fail if accuracy is lower at this sparsity: 0.8=0.97 asks for 97% at 80% removed.",
        metavar="F=ACCURACY",
        parse=_accuracy_floors,
    )
    baseline: tuple[str, ...] = option(
        (),
        "Fail if the limit, the plain threshold, another threshold or an accuracy is lower than "
        "in this earlier JSON of predict or measure, by more than --max-drop.",
        metavar="FILE.json",
    )
    max_drop: float = option(
        "1pp",
        "Accepted drop from the baseline, in percentage points.",
        metavar="Npp",
        parse=_max_drop,
    )
    no_agreement: bool = option(
        False, "Do not compare predicted with measured. Only floors and baselines can then fail."
    )
    junit: str | None = option(None, "Also write the verdict as JUnit XML.", metavar="FILE")
    code_quality: str | None = option(
        None, "Also write failed gates as GitLab code-quality JSON.", metavar="FILE"
    )
    report: str | None = option(
        None, "Also write a page with prediction, measurement and verdict.", metavar="FILE.html"
    )


@dataclass(frozen=True, kw_only=True)
class HistoryConfig(Config):
    """Whether predictions are left in the folder."""

    keep: bool = option(
        False,
        "Keep each prediction beside its checkpoint, as NAME.predict.json. The same command then "
        "continues where it was interrupted, and skips predictions that are there.",
    )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Which methods stand side by side, and against which limit."""

    methods: tuple[Method, ...] = option(
        "magnitude,magnitude+compensated,magnitude+staged,magnitude+trained",
        "Methods to measure, separated by commas: CRITERION[/ALLOCATION][/PATTERN][+SURVIVORS], "
        "such as wanda/rows or magnitude+staged.",
        metavar="NAME,...",
        parse=methods,
    )
    predicted: str | None = option(
        None,
        "Read the limit from this JSON of predict (default: predict it).",
        metavar="PREDICT.json",
    )


@dataclass(frozen=True, kw_only=True)
class RegimeConfig(Config):
    """How the regime of pruned networks is read, and where its bounds lie."""

    samples: int = option(
        2000,
        "Training samples to compute errors and outputs on, drawn by seed; 0 for all.",
        metavar="N",
        within="0 or more",
    )
    barrier: float = option(
        "1pp",
        "Two networks count as connected if the error on the line between them exceeds theirs by "
        "at most this.",
        metavar="Npp",
        parse=_barrier,
    )
    similar: float = option(
        0.9,
        "Two networks count as alike if the CKA of their outputs is at least this.",
        metavar="CKA",
        within="a number between 0 and 1",
    )


@dataclass(frozen=True, kw_only=True)
class PlotConfig(Config):
    """Which figure is drawn of results, and its size."""

    figure: str | None = option(
        None, "Figure to draw (default: the first that suits all the files).", plugins="figure"
    )
    width: float = option(
        "8.5in",
        "Width of the figure in the paper, in in, cm, mm or pt. The size of the text does not "
        "change.",
        metavar="LENGTH",
        parse=inches,
    )
    no_title: bool = option(False, "Leave out the title, for a figure with a caption.")
    dpi: int = option(300, "Pixels per inch of a PNG.", metavar="N", within="from 30 to 2400")


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """The format of a report."""

    format: str | None = option(
        None,
        "html for a page, md for a comment on a pull request (default: by the file's suffix).",
        choices=("html", "md"),
    )


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """How matrices with zeros are written."""

    format: str = option(
        "dense",
        "How matrices are stored. dense: as they are. bitmask: one bit per entry, and the "
        "nonzero values. csr: compressed rows. nm: N of every M, for N:M masks. A matrix that "
        "would grow stays dense.",
        choices=("dense", "bitmask", "csr", "nm"),
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """l1 training as in Zhang et al. 2024, section 7 of their settings."""

    l1: float = option(
        5e-5,
        "Weight of the l1 norm of prunable weights in the loss.",
        metavar="L1",
        source="Zhang et al. 2024: 1e-5 to 1e-4",
        within="0 or more",
    )
    weight_decay: float = option(0.0, "L2 weight decay of SGD.", metavar="WD", within="0 or more")
    epochs: int = option(12, "Passes over the training set.", metavar="N", within="1 or more")
    lr: float = option(
        0.1,
        "Peak learning rate of SGD, with a cosine schedule.",
        metavar="LR",
        within="a number greater than 0",
    )
    momentum: float = option(
        0.9, "Momentum of SGD.", metavar="M", within="0 or more and less than 1"
    )
    train_batch_size: int = option(
        128, "Samples in a minibatch of SGD.", metavar="N", within="1 or more"
    )
    sharpness: str = option(
        "none",
        "Train towards a flat minimum. sam takes the gradient at the worst loss within a radius "
        "of --rho; it takes twice the time. rsam adds --rho times the Renyi sharpness of order 2 "
        "to the loss; it takes about six times the time.",
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
        False,
        "Keep prunable weights at zero if they are zero at the start: trains a pruned network.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho is not None and self.sharpness == "none":
            raise UsageError("`rho` belongs to `sharpness` sam or rsam; give one of them too.")
