"""Checkpoint + network + data -> Problem."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import DataConfig, ModelConfig, RunConfig
from ..errors import InputError, NumericalError, UsageError
from ..results import DataInfo, ModelInfo
from .checkpoint import Checkpoint, read_checkpoint
from .datasets import Data, load_data, split_of
from .networks import build_network
from .problem import Layout, Problem, SampleLoss, cross_entropy
from .resolve import parse_arguments

__all__ = ["Loaded", "load", "model_info", "new", "problem_from_module"]

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)
DEFAULT_BATCH = 500


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
    _device(run.device)
    read = read_checkpoint(checkpoint, trust_pickle=model.trust_pickle)
    described = read.description or {}
    model = _complete(model, described.get("model", {}))
    data = _complete(data, described.get("data", {}))
    if model.model is None:
        raise UsageError(f"{read.path} does not say which network it belongs to; give -m/--model.")
    if data.data is None:
        raise UsageError(f"{read.path} does not say which data it belongs to; give -d/--data.")
    found = load_data(data, run)
    network = _network(model, found, run)
    _fill(network, read, model.model)
    return _loaded(network, model, data, found, run, read)


def new(model: ModelConfig, data: DataConfig, run: RunConfig) -> Loaded:
    """A problem with a fresh network, its weights drawn by ``run.seed``, to be trained.

    Raises:
        UsageError: no network or no data are named.
        InputError: the network or the data cannot be read.
    """
    _device(run.device)
    if model.model is None:
        raise UsageError("No network is named; give -m/--model, for example -m lenet-300-100.")
    found = load_data(data, run)
    return _loaded(_network(model, found, run), model, data, found, run, None)


def problem_from_module(
    model: nn.Module,
    train: Any,
    test: Any,
    *,
    loss: SampleLoss = cross_entropy,
    exclude: Iterable[str] = (),
    batch_size: int = DEFAULT_BATCH,
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
    where, kind = _device(device), _dtype(dtype)
    splits = [split_of(each, device=where, dtype=kind) for each in (train, test)]
    if not len(splits[0]) or not len(splits[1]):
        raise InputError("A split is empty; give at least one sample for training and for test.")
    network = copy.deepcopy(model).to(where, kind).eval()
    _check_finite(network)
    held = _held(network, exclude)
    layout, prunable = _free(network, held)
    _, targets = next(iter(splits[0].batches(len(splits[0]))))
    classes = 0 if targets.is_floating_point() else int(targets.max()) + 1
    return Problem(
        model=network,
        loss=loss,
        train=splits[0],
        test=splits[1],
        layout=layout,
        prunable=prunable,
        classes=classes,
        device=where,
        dtype=kind,
        batch_size=min(batch_size, len(splits[0])),
        seed=seed,
    )


def _complete(config: Any, described: dict[str, Any]) -> Any:
    """``config`` with fields left at their defaults taken from ``described``."""
    changes = {}
    for field in dataclasses.fields(config):
        if field.name in described and getattr(config, field.name) == field.default:
            value = described[field.name]
            changes[field.name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(config, **changes)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"The device {name!r} cannot be used ({reason}); try cpu.") from None
    return device


def _dtype(name: str) -> torch.dtype:
    kinds = {"float32": torch.float32, "float64": torch.float64}
    if name not in kinds:
        raise UsageError(f"There is no type {name!r}; choose float32 or float64.")
    return kinds[name]


def _network(model: ModelConfig, data: Data, run: RunConfig) -> nn.Module:
    assert model.model is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return build_network(
            model.model,
            input_shape=data.input_shape,
            classes=data.classes,
            arguments=parse_arguments(model.model_arg),
        )


def _fill(network: nn.Module, checkpoint: Checkpoint, spec: str) -> None:
    wanted, given = network.state_dict(), checkpoint.tensors
    missing = [name for name in wanted if name not in given]
    # Older files lack the batch counter of BatchNorm, which nothing here reads.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in wanted]
    shaped = [n for n in wanted if n in given and wanted[n].shape != given[n].shape]
    path = checkpoint.path
    if missing or unexpected:
        parts = []
        if missing:
            parts.append(f"the network's {', '.join(missing[:3])} is not in the file")
        if unexpected:
            parts.append(f"the file's {', '.join(unexpected[:3])} is not in the network")
        raise InputError(f"{path} does not fit {spec}: {'; '.join(parts)}; check -m/--model.")
    if shaped:
        name = shaped[0]
        raise InputError(
            f"{path} does not fit {spec}: {name} has shape {tuple(given[name].shape)} in the file, "
            f"{tuple(wanted[name].shape)} in the network; check -m/--model and -d/--data."
        )
    network.load_state_dict(given, strict=False)


def _check_finite(network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NumericalError(
                f"The tensor {name} holds a NaN or infinity; use a checkpoint from before that."
            )


def _held(network: nn.Module, exclude: Iterable[str]) -> set[str]:
    """Names of parameters in modules that match an expression."""
    patterns = []
    for text in exclude:
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise UsageError(f"--exclude {text!r} is no regular expression ({error}).") from None
    held: set[str] = set()
    for pattern in patterns:
        modules = [(n, m) for n, m in network.named_modules() if n and pattern.search(n)]
        if not modules:
            raise UsageError(f"--exclude {pattern.pattern!r} matches no module; check the name.")
        for name, module in modules:
            held |= {f"{name}.{inner}" for inner, _ in module.named_parameters()}
    return held


def _free(network: nn.Module, held: set[str]) -> tuple[Layout, tuple[str, ...]]:
    norms: set[int] = set()
    weights: set[int] = set()
    for module in network.modules():
        if isinstance(module, NORMS):
            norms |= {id(parameter) for parameter in module.parameters(recurse=False)}
        if isinstance(module, PRUNABLE):
            weights.add(id(module.weight))
    free = {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and id(parameter) not in norms and name not in held
    }
    layout = Layout(tuple(free), tuple(parameter.shape for parameter in free.values()))
    return layout, tuple(name for name, each in free.items() if id(each) in weights)


def model_info(network: nn.Module, problem: Problem, spec: str, sha256: str | None) -> ModelInfo:
    """The counts that every result states."""
    total = sum(parameter.numel() for parameter in network.parameters())
    sizes = dict(zip(problem.layout.names, problem.layout.sizes, strict=True))
    return ModelInfo(
        spec=spec,
        sha256=sha256,
        parameters=total,
        free=problem.layout.size,
        prunable=sum(sizes[name] for name in problem.prunable),
        excluded=total - problem.layout.size,
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
    network = network.to(_device(run.device), _dtype(run.dtype)).eval()
    _check_finite(network)
    layout, prunable = _free(network, _held(network, model.exclude))
    if run.batch_size is not None and run.batch_size < 1:
        raise UsageError(f"--batch-size is {run.batch_size}; give 1 or more.")
    problem = Problem(
        model=network,
        loss=cross_entropy,
        train=found.train,
        test=found.test,
        layout=layout,
        prunable=prunable,
        classes=found.classes,
        device=torch.device(run.device),
        dtype=_dtype(run.dtype),
        batch_size=min(run.batch_size or DEFAULT_BATCH, len(found.train)),
        seed=run.seed,
    )
    _check_outputs(problem, model.model)
    described = (
        {} if checkpoint is None or checkpoint.description is None else checkpoint.description
    )
    description = {
        **{k: v for k, v in described.items() if k in ("training", "pruning")},
        "model": {"model": model.model, "model_arg": list(model.model_arg)},
        "data": dataclasses.asdict(data) | {"download": False},
    }
    return Loaded(
        problem=problem,
        model_info=model_info(
            network, problem, model.model, None if checkpoint is None else checkpoint.sha256
        ),
        data_info=DataInfo(
            spec=found.spec,
            split="train",
            samples=len(found.train),
            classes=found.classes,
            test_samples=len(found.test),
        ),
        checkpoint=checkpoint,
        description=description,
    )


def _check_outputs(problem: Problem, spec: str) -> None:
    """One sample through the network, so that a misfit is told before any work."""
    inputs, _ = next(iter(problem.train.batches(1)))
    try:
        with torch.no_grad():
            outputs: Tensor = problem.model(inputs)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{spec} cannot take inputs of shape {tuple(inputs.shape[1:])} ({reason}); "
            "check -m/--model and -d/--data."
        ) from error
    if outputs.ndim != 2 or outputs.shape[1] < problem.classes:
        raise InputError(
            f"The data have {problem.classes} classes but {spec} gives outputs of shape "
            f"{tuple(outputs.shape[1:])}; labels would be out of range."
        )
