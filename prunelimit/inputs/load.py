"""Checkpoint + network + data -> Problem."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import DataConfig, ModelConfig, RunConfig
from ..errors import InputError, NumericalError, UsageError, shown
from ..results.types import DataInfo, ModelInfo
from .batching import samples_at_once
from .checkpoint import Checkpoint, read_checkpoint, strip_prefixes
from .datasets import Data, load_data, split_of
from .description import complete, describe, kept_description, known_classes
from .networks import build_network
from .placement import device_of, dtype_of
from .problem import Layout, Problem, SampleLoss, cross_entropy
from .resolve import parse_arguments, reason
from .splits import labels_of

__all__ = ["Loaded", "load", "model_info", "new", "problem_from_module"]

PRUNABLE = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)
HARNESS_PREFIXES = ("model.", "net.", "network.")


@dataclass(frozen=True)
class Loaded:
    """A problem with what is known of its origin; ``description`` goes into checkpoints."""

    problem: Problem
    model_info: ModelInfo
    data_info: DataInfo
    checkpoint: Checkpoint | None
    description: dict[str, Any]


def load(checkpoint: Path | str, model: ModelConfig, data: DataConfig, run: RunConfig) -> Loaded:
    """The problem of ``checkpoint``; what is not given is taken from the file's own description.

    Raises:
        UsageError: network or data are named neither in the options nor in the file.
        InputError: the file, the network or the data cannot be read or do not fit each other.
        NumericalError: a weight is NaN or infinite.
    """
    _check_run(run)
    read = read_checkpoint(checkpoint, trust_pickle=model.trust_pickle)
    model, data = complete(model, data, read)
    if model.model is None:
        raise UsageError(f"{read.path} does not say which network it belongs to; give -m/--model.")
    if data.data is None:
        raise UsageError(f"{read.path} does not say which data it belongs to; give -d/--data.")
    found = load_data(data, run)
    classes = known_classes(read)
    if classes is not None and found.classes > classes:
        raise InputError(
            f"The label {found.classes - 1} of {found.spec} is out of range: the network of "
            f"{read.path} knows {classes} classes; check -d/--data."
        )
    network = _network(model, found, run, classes or found.classes)
    _fill(network, read, model.model)
    return _loaded(network, model, data, found, run, read)


def new(model: ModelConfig, data: DataConfig, run: RunConfig) -> Loaded:
    """A problem with a fresh network, its weights drawn by ``run.seed``, to be trained.

    Raises:
        UsageError: no network or no data are named.
        InputError: the network or the data cannot be read.
    """
    _check_run(run)
    if model.model is None:
        raise UsageError("No network is named; give -m/--model, for example -m lenet-300-100.")
    found = load_data(data, run)
    return _loaded(_network(model, found, run, found.classes), model, data, found, run, None)


def problem_from_module(
    model: nn.Module,
    train: Any,
    test: Any,
    *,
    loss: SampleLoss = cross_entropy,
    exclude: Iterable[str] = (),
    batch_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
) -> Problem:
    """The problem of a live module; the module itself is copied, not changed.

    ``train`` and ``test`` are (inputs, targets), map-style data sets or splits; ``loss`` gives one
    loss per sample; ``exclude`` are regular expressions of module names held as trained.

    Raises:
        UsageError: an expression is malformed, or a type or device is unknown.
        InputError: the data cannot be used.
        NumericalError: a weight is NaN or infinite.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; give 1 or more.")
    where, kind = device_of(device), dtype_of(dtype)
    splits = [split_of(each, device=where, dtype=kind) for each in (train, test)]
    network = copy.deepcopy(model).to(where, kind).eval()
    _check_finite(network, "the network")
    layout, prunable = _free(network, _held(network, exclude))
    labels = labels_of(splits[0])
    problem = Problem(
        model=network,
        loss=loss,
        train=splits[0],
        test=splits[1],
        layout=layout,
        prunable=prunable,
        classes=0 if labels.is_floating_point() else int(labels.max()) + 1,
        device=where,
        dtype=kind,
        batch_size=1,
        seed=seed,
    )
    if loss is cross_entropy:
        _check_outputs(problem, "The network")
    return _batched(problem, batch_size)


def _check_run(run: RunConfig) -> None:
    device_of(run.device)
    if not 0 <= run.seed < 2**63:
        raise UsageError(f"--seed is {shown(run.seed)}; give a number from 0 to 2^63 - 1.")


def _network(model: ModelConfig, data: Data, run: RunConfig, classes: int) -> nn.Module:
    assert model.model is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return build_network(
            model.model,
            input_shape=data.input_shape,
            classes=classes,
            arguments=parse_arguments(model.model_arg),
        )


def _fill(network: nn.Module, checkpoint: Checkpoint, spec: str) -> None:
    wanted = {n: t for n, t in network.state_dict().items() if isinstance(t, Tensor)}
    given = _inner(checkpoint.tensors, wanted)
    missing = [name for name in wanted if name not in given]
    # Older files lack the batch counter of BatchNorm, which nothing here reads.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in wanted]
    shaped = [n for n in wanted if n in given and wanted[n].shape != given[n].shape]
    path = checkpoint.path
    if missing or unexpected:
        parts = []
        if missing:
            parts.append(f"the network's {_first(missing)} not in the file")
        if unexpected:
            parts.append(f"the file's {_first(unexpected)} not in the network")
        raise InputError(f"{path} does not fit {spec}: {'; '.join(parts)}; check -m/--model.")
    if shaped:
        name = shaped[0]
        raise InputError(
            f"{path} does not fit {spec}: {name} has shape {tuple(given[name].shape)} in the file, "
            f"{tuple(wanted[name].shape)} in the network; check -m/--model and -d/--data."
        )
    try:
        network.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise InputError(
            f"{path} does not fit {spec} ({reason(error)}); check -m/--model."
        ) from error


def _first(names: list[str]) -> str:
    """``"a is"``, ``"a, b are"``, or the first three of more."""
    listed = ", ".join(map(shown, names[:3]))
    if len(names) > 3:
        listed += f" and {len(names) - 3} more"
    return listed + (" is" if len(names) == 1 else " are")


def _inner(given: dict[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """What a training harness held of the network under one of its attributes.

    Tensors beside it are the harness's own, of a loss or a metric; they are left out only where
    the rest is the network whole.
    """
    for prefix in HARNESS_PREFIXES:
        held = {n[len(prefix) :]: t for n, t in given.items() if n.startswith(prefix)}
        bare = strip_prefixes(held)
        alone = len(held) == len(given) and not bare.keys().isdisjoint(wanted)
        if alone or (bare and bare.keys() == set(wanted)):
            return bare
    return given


def _check_finite(network: nn.Module, where: str) -> None:
    for name, tensor in network.state_dict().items():
        finite = not isinstance(tensor, Tensor) or bool(torch.isfinite(tensor).all())
        if not finite:
            raise NumericalError(
                f"The tensor {name} holds a NaN or infinity in {where}; use weights from before "
                "that."
            )


def _held(network: nn.Module, exclude: Iterable[str]) -> set[int]:
    """Identities of the parameters in modules that match an expression."""
    patterns = []
    for text in exclude:
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise UsageError(
                f"--exclude {text!r} is no regular expression ({error}); give a name or a pattern "
                "of one."
            ) from None
    held: set[int] = set()
    for pattern in patterns:
        named = network.named_modules(remove_duplicate=False)
        modules = [module for name, module in named if name and pattern.search(name)]
        if not modules:
            raise UsageError(f"--exclude {pattern.pattern!r} matches no module; check the name.")
        # By identity, since a tied parameter has one name and several owners.
        held |= {id(parameter) for module in modules for parameter in module.parameters()}
    return held


def _free(network: nn.Module, held: set[int]) -> tuple[Layout, tuple[str, ...]]:
    held = set(held)
    weights: set[int] = set()
    for module in network.modules():
        if isinstance(module, NORMS):
            held |= {id(parameter) for parameter in module.parameters(recurse=False)}
        if isinstance(module, PRUNABLE):
            weights.add(id(module.weight))
    free = {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and id(parameter) not in held
    }
    layout = Layout(tuple(free), tuple(parameter.shape for parameter in free.values()))
    prunable = tuple(name for name, each in free.items() if id(each) in weights)
    if not prunable:
        raise UsageError(
            "No weight is left to prune; give a network with trainable linear layers or "
            "convolutions, or a narrower --exclude."
        )
    return layout, prunable


def model_info(
    problem: Problem, spec: str, sha256: str | None, exclude: Iterable[str] = ()
) -> ModelInfo:
    """The counts that every result states."""
    held = _held(problem.model, exclude)
    sizes = {id(each): each.numel() for each in problem.model.parameters()}
    free = dict(zip(problem.layout.names, problem.layout.sizes, strict=True))
    return ModelInfo(
        spec=spec,
        sha256=sha256,
        parameters=sum(sizes.values()),
        free=problem.layout.size,
        prunable=sum(free[name] for name in problem.prunable),
        excluded=sum(size for key, size in sizes.items() if key in held),
    )


def _loaded(
    network: nn.Module,
    model: ModelConfig,
    data: DataConfig,
    found: Data,
    run: RunConfig,
    checkpoint: Checkpoint | None,
) -> Loaded:
    assert model.model is not None
    device, dtype = device_of(run.device), dtype_of(run.dtype)
    network = network.to(device, dtype).eval()
    _check_finite(network, model.model if checkpoint is None else str(checkpoint.path))
    layout, prunable = _free(network, _held(network, model.exclude))
    problem = Problem(
        model=network,
        loss=cross_entropy,
        train=found.train,
        test=found.test,
        layout=layout,
        prunable=prunable,
        classes=found.classes,
        device=device,
        dtype=dtype,
        batch_size=1,
        seed=run.seed,
    )
    _check_outputs(problem, model.model)
    problem = _batched(problem, run.batch_size)
    sha256 = None if checkpoint is None else checkpoint.sha256
    return Loaded(
        problem=problem,
        model_info=model_info(problem, model.model, sha256, model.exclude),
        data_info=DataInfo(
            spec=found.spec,
            split="train",
            samples=len(found.train),
            classes=found.classes,
            test_samples=len(found.test),
        ),
        checkpoint=checkpoint,
        description={**kept_description(checkpoint), **describe(model, data, found)},
    )


def _batched(problem: Problem, batch_size: int | None) -> Problem:
    """``problem`` with the batch size that was asked for, or one that its network is quick with."""
    if batch_size is None:
        inputs, _ = next(iter(problem.train.batches(1)))
        batch_size = samples_at_once(problem.model, inputs)
    return dataclasses.replace(problem, batch_size=min(batch_size, len(problem.train)))


def _check_outputs(problem: Problem, spec: str) -> None:
    """One sample through the network, so that a misfit is told before any work."""
    inputs, targets = next(iter(problem.train.batches(1)))
    try:
        with torch.no_grad():
            outputs: Any = problem.model(inputs)
    except Exception as error:
        raise InputError(
            f"{spec} cannot take inputs of shape {tuple(inputs.shape[1:])} ({reason(error)}); "
            "check -m/--model and -d/--data."
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != targets.ndim + 1:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(
            f"{spec} gives {shape} for one sample; classification needs one row of logits."
        )
    if outputs.shape[1] < problem.classes:
        raise InputError(
            f"The label {problem.classes - 1} is out of range: {spec} has {outputs.shape[1]} "
            "outputs; check -d/--data."
        )
