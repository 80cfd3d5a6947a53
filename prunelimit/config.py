"""One frozen dataclass per stage: the only home of every default, its help and its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ALLOCATIONS",
    "CRITERIA",
    "METHODS",
    "CheckConfig",
    "CompareConfig",
    "CompensateConfig",
    "CurvatureConfig",
    "DataConfig",
    "HeldConfig",
    "LimitConfig",
    "MeasureConfig",
    "ModelConfig",
    "PruneConfig",
    "RunConfig",
    "SurvivorConfig",
    "TrainConfig",
    "option",
]


CRITERIA = ("magnitude", "random", "snip", "grasp", "synflow", "obd", "obs", "wanda")
"""Names of the pruning criteria."""

METHODS = ("one-shot", "refit", "compensated", "staged", *CRITERIA[1:])
"""Names of what becomes of a network when it is pruned: by magnitude with nothing moved, with the
survivors trained, with them moved at once or in stages, or by another criterion."""

ALLOCATIONS = ("global", "uniform", "erk", "lamp", "rd", "rows")
"""Names of the ways to share what is removed among layers."""


def option(
    default: Any,
    help: str,
    *,
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] | None = None,
    attributes: bool = False,
    metavar: str | None = None,
    source: str | None = None,
) -> Any:
    """A dataclass field that carries what a command-line option needs.

    ``flags`` overrides the flag made from the field's name (``min_keep`` -> ``--min-keep``);
    a tuple default makes the option repeatable; with ``attributes`` FILE.py:ATTR stands beside the
    ``choices``; ``source`` says where the default comes from.
    """
    metadata = {
        "help": help,
        "flags": flags,
        "choices": choices,
        "attributes": attributes,
        "metavar": metavar,
        "source": source,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network the checkpoint belongs to, and what is never pruned."""

    model: str | None = option(
        None,
        "Network: a built-in name, torchvision:NAME, package.module:attr or path/to/file.py:attr.",
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
class DataConfig:
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
    )
    image_size: int | None = option(
        None, "Resize and centre-crop the images of folder:PATH to this many pixels.", metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where and how the numbers are computed."""

    batch_size: int | None = option(
        None,
        "Samples per forward pass (default: as many as caches like, at most 500); changes memory "
        "and time, never the result.",
        flags=("-b", "--batch-size"),
        metavar="N",
    )
    seed: int = option(0, "Seed of everything random.", metavar="N")
    device: str = option("cpu", "Device, as torch names it.", metavar="DEVICE")
    dtype: str = option("float32", "Floating-point type.", choices=("float32", "float64"))
    workers: int = option(0, "Processes that load data.", flags=("-j", "--workers"), metavar="N")


@dataclass(frozen=True, kw_only=True)
class CurvatureConfig:
    """Which curvature matrix, and how its spectrum is estimated."""

    curvature: str = option(
        "ggn",
        "Curvature matrix of the training loss. The paper's own recipe is --formula paper "
        "--curvature hessian.",
        choices=("ggn", "hessian"),
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
    )
    steps: int | None = option(
        None,
        "Lanczos steps per probe (default: as many as the limit needs; 120 for spectrum).",
        metavar="N",
    )
    samples: int | None = option(
        None,
        "Training samples that the curvature is read from, 0 for all: for the GGN those on which "
        "the network is least sure, for the Hessian and for spectrum a uniform draw (default: as "
        "many as the limit needs, from 1000 to 10000 or to what --max-seconds allows; 10000 for "
        "spectrum).",
        metavar="N",
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
    )
    cross_check: bool = option(
        False, "Compare largest eigenvalue and trace of the Hessian with PyHessian's own."
    )


@dataclass(frozen=True, kw_only=True)
class LimitConfig:
    """The loss tolerance and how the limit is stated."""

    epsilon: str = option(
        "batch-std",
        "Loss tolerance: batch-std, a number, a percentage of the dense loss such as 5%, or 0.5pp: "
        "the loss rise that costs so much accuracy on training samples, by magnitude pruning.",
        metavar="RULE",
        source="Zhang et al. 2024: standard deviation of the loss over mini-batches of 128",
    )
    formula: str = option(
        "directional",
        "Which of the three limits is the headline.",
        choices=("directional", "isotropic", "paper"),
    )
    confidence: float = option(0.95, "Level of every interval.", metavar="P")
    tolerance: str = option(
        "0.25pp",
        "Go on until half the interval is no wider, where steps and probes are not given.",
        metavar="Npp",
    )
    max_products: int | None = option(
        None,
        "Curvature products that may be spent (default: 600 once the samples are chosen, beside "
        "those of steps that are given).",
        metavar="N",
    )
    max_seconds: float | None = option(
        None,
        "Seconds from the start, reading and evaluating included, after which no further product "
        "is begun (default: no limit).",
        metavar="S",
    )
    directional_steps: int | None = option(
        None,
        "Lanczos steps from the removed weights, per candidate sparsity (default: as many as the "
        "limit needs).",
        metavar="N",
    )
    no_drift: bool = option(
        False,
        "Do not estimate what comes of using some of the samples; limit and interval are then "
        "those of these samples alone.",
    )


@dataclass(frozen=True, kw_only=True)
class SurvivorConfig:
    """What moving the survivors may take, and what is read for that and for criteria."""

    cg_steps: int = option(
        25, "Conjugate-gradient steps, one curvature product each, per stage.", metavar="N"
    )
    calibration: int | None = option(
        None,
        "Training samples that are read, 0 for all (default: 1000 for criterion and allocation, "
        "256 or fewer with obs; 10000 inputs for every stage of compensation, other ones while "
        "there are some: a product costs four forward passes of them, and a thousand are too few "
        "to generalise from).",
        metavar="N",
    )
    bn_recalibrate: int | None = option(
        None,
        "Inputs that batch normalisation takes its statistics from anew in every stage, where that "
        "helps; 0 keeps them (default: 2000).",
        metavar="N",
    )


@dataclass(frozen=True, kw_only=True)
class CompensateConfig(SurvivorConfig):
    """How the survivors make up for what is removed."""

    compensate: bool = option(
        False,
        "Move the survivors so that the outputs stay near the dense network's: no labels, no "
        "training.",
    )
    stages: str = option(
        "1",
        "Prune and compensate in this many stages, or auto for as many as the quadratic model can "
        "be trusted for; a stage that fails is undone and halved. More than 1 implies "
        "--compensate.",
        metavar="auto|N",
    )


@dataclass(frozen=True, kw_only=True)
class PruneConfig(CompensateConfig):
    """What is removed."""

    amount: str = option(
        "auto",
        "Fraction of prunable weights to remove, 0 to 1, or auto for the predicted one: the "
        "one-shot threshold, or the limit where survivors are moved.",
        metavar="auto|FLOAT",
    )
    method: str = option(
        "magnitude",
        "Pruning criterion: a name, or a function of your own that scores the prunable weights.",
        choices=CRITERIA,
        attributes=True,
    )
    allocation: str | None = option(
        None,
        "How what is removed is shared among layers (default: global; rows with wanda).",
        choices=ALLOCATIONS,
    )
    pattern: str | None = option(
        None,
        "Keep the N highest scores of every M inputs in a row, such as 2:4; this decides the "
        "amount, and inputs that make no whole group are kept.",
        metavar="N:M",
    )
    no_update: bool = option(
        False, "Leave surviving weights as they are where the method would move them (obs)."
    )
    min_keep: int = option(
        0,
        "Fewest weights kept in every layer, the guard against layer collapse.",
        metavar="N",
        source="Gupta et al. 2022, Global Magnitude Pruning",
    )
    sparse: bool = option(
        False,
        "Store the surviving weights and a bit mask: a smaller file, read by prunelimit alone.",
    )


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(SurvivorConfig):
    """How the thresholds are measured."""

    method: str = option(
        "one-shot",
        "one-shot measures the network pruned by magnitude as it is; refit trains the surviving "
        "weights first, until they reach the loss or the budget ends; compensated moves them "
        "without training, staged in as many stages as prune --stages auto; a criterion measures "
        "what it leaves.",
        choices=METHODS,
        attributes=True,
    )
    allocation: str | None = option(
        None,
        "How what is removed is shared among layers (default: global; rows with wanda).",
        choices=ALLOCATIONS,
    )
    sparsities: str | None = option(
        None,
        "Sparsities to measure, as 0,0.5,0.9 or START:STOP:STEP; default: coarse to fine.",
        metavar="LIST",
    )
    tolerance: tuple[str, ...] = option(
        ("0.5pp", "1pp"), "Accuracy that may be lost, in percentage points.", metavar="Npp"
    )
    epsilon: str = option(
        "batch-std",
        "Loss tolerance: batch-std, a number, a percentage of the dense loss such as 5%, or 0.5pp: "
        "the loss rise that costs so much accuracy on training samples, by magnitude pruning.",
        metavar="RULE",
    )
    confidence: float = option(0.95, "Level of every interval.", metavar="P")
    resolution: float = option(
        0.001, "Spacing of sparsities, as a fraction, to which thresholds are found.", metavar="F"
    )
    refit_passes: int = option(
        50,
        "Passes over the training set that refit may spend at a sparsity. It spends up to four "
        "times as many, and states the threshold at one, two and four times.",
        metavar="N",
    )
    refit_lr: float = option(
        2e-3,
        "Peak learning rate of refit's first passes, by minibatches (Adam, cosine). Small data "
        "sets have no such passes.",
        metavar="LR",
    )
    refit_batch_size: int = option(128, "Minibatch of refit's first passes.", metavar="N")


@dataclass(frozen=True, kw_only=True)
class HeldConfig:
    """The method that is to be held to the prediction."""

    method: str = option(
        MeasureConfig.method,
        "Method to say what to hold to: refit to the limit, one-shot to where its own loss leaves "
        "the tolerance, compensated and staged between the two; criteria remove other weights and "
        "are held to neither.",
        choices=METHODS,
        attributes=True,
    )


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """The gate between predicted and measured."""

    tolerance: str = option(
        "2pp", "Largest accepted difference, in percentage points.", metavar="Npp"
    )
    rule: str = option(
        "held",
        "What is compared: held is like with like, the measured event with the number predicted "
        "for it; accuracy is the measured accuracy threshold at its first tolerance with the "
        "limit, which no theory promises to agree.",
        choices=("held", "accuracy"),
    )
    junit: str | None = option(None, "Write the verdict as JUnit XML too.", metavar="FILE")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which methods stand side by side, and against which limit."""

    methods: str = option(
        "one-shot,compensated,staged,refit",
        f"Methods to measure, comma-separated: {', '.join(METHODS)} or FILE.py:ATTR.",
        metavar="NAME,...",
    )
    predicted: str | None = option(
        None,
        "Take the limit from this JSON of predict; default: predict it.",
        metavar="PREDICT.json",
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """l1 training as in Zhang et al. 2024, section 7 of their settings."""

    l1: float = option(
        5e-5,
        "Weight of the l1 norm of the prunable weights in the loss.",
        metavar="L1",
        source="Zhang et al. 2024: 1e-5 to 1e-4",
    )
    weight_decay: float = option(0.0, "L2 weight decay of SGD.", metavar="WD")
    epochs: int = option(12, "Passes over the training set.", metavar="N")
    lr: float = option(
        0.1, "Peak learning rate of SGD with momentum, cosine schedule.", metavar="LR"
    )
    momentum: float = option(0.9, "Momentum of SGD.", metavar="M")
    train_batch_size: int = option(128, "Mini-batch of SGD.", metavar="N")
