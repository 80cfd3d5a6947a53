"""Checkpoint + network + data -> Problem."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import plugins
from ..config import DataConfig, ModelConfig, RunConfig
from ..errors import InputError, NumericalError, UsageError, one_line, shown
from ..results.types import DataInfo, ModelInfo
from ..storage.cache import Cache
from .batching import samples_at_once
from .build import build_network, library, usual_moments
from .checkpoint import Checkpoint, read_checkpoint
from .datasets import Data, load_data, split_of
from .description import complete, describe, kept_description, known_classes
from .device import device_of, dtype_of, placed
from .fitting import Fitted, fit, head_of, listed
from .loss import name_of
from .metric import Metric
from .objective import judged, named
from .plain import copied, fold_network
from .prepared import prepared
from .problem import Layout, Problem, SampleLoss, cross_entropy
from .prunable import NORMS, dense_matrices, dense_notice, prunable_weights, zeros_of
from .resolve import parse_arguments, reason
from .states import State, choose, strip_prefixes
from .structure import cloned
from .targets import check_labels, scan
from .trust import check_network, check_plausible

__all__ = ["Loaded", "held_parameters", "load", "model_info", "new", "problem_from_module"]

log = logging.getLogger(__name__)

JUDGED = 64
"""Samples by which a metric of the user's own is judged to be from 0 to 1 or not."""

TOLD = 0.01
"""Zeros are reported if they are at least this share of the prunable weights of a file."""


@dataclass(frozen=True)
class Loaded:
    """A problem and its origin, as far as it is known. ``description`` goes into checkpoints.

    ``notices`` are sentences on what was chosen, left out or looks wrong; they are logged too.
    """

    problem: Problem
    model_info: ModelInfo
    data_info: DataInfo
    checkpoint: Checkpoint | None
    description: dict[str, Any]
    notices: tuple[str, ...] = ()


def live(problem: Problem, name: str, exclude: Iterable[str] = ()) -> Loaded:
    """A live network's problem, with ``name`` for network and data and no origin.

    ``exclude`` is the one the problem was made with; it lets excluded modules be counted.
    """
    return Loaded(
        problem=problem,
        model_info=model_info(problem, name, None, exclude),
        data_info=data_info(problem, name),
        checkpoint=None,
        description={},
    )


def data_info(problem: Problem, spec: str, names: Mapping[str, str] | None = None) -> DataInfo:
    """The part of every result about the data. ``names`` are those of a loss and a metric of the
    user's own."""
    names = names or {}
    metric = problem.metric
    points = metric.points if isinstance(metric, Metric) else _in_points(problem)
    return DataInfo(
        spec=spec,
        split="train",
        samples=len(problem.train),
        classes=problem.classes,
        test_samples=len(problem.test),
        training_samples=len(problem.train),
        loss=names.get("loss", name_of(problem.loss)),
        metric=names.get("metric", "accuracy" if metric is None else name_of(metric)),
        points=points,
    )


def _in_points(problem: Problem) -> bool:
    """Whether a metric of the user's own is from 0 to 1, as far as a few samples say."""
    if problem.metric is None:
        return True
    inputs, targets = next(iter(problem.test.batches(min(JUDGED, len(problem.test)))))
    with torch.no_grad():
        outputs = problem.outputs(inputs)
        try:
            scores = torch.as_tensor(problem.metric(outputs, targets))
        except Exception as error:
            raise InputError(
                f"`metric` fails on outputs and targets of {len(targets)} samples "
                f"({reason(error)}); let it give one number per sample."
            ) from error
    return bool(((scores >= 0) & (scores <= 1)).all())


def load(checkpoint: Path | str, model: ModelConfig, data: DataConfig, run: RunConfig) -> Loaded:
    """The problem of ``checkpoint``; what is not given is taken from the file's own description.

    Raises:
        UsageError: network or data are named neither in the options nor in the file.
        InputError: the file, the network or the data cannot be read or do not fit each other.
        NumericalError: a weight is NaN or infinite.
    """
    device_of(run.device)
    own = [spec.rpartition(":")[0] for spec in (model.model, data.data) if spec is not None]
    scripts = [Path(name) for name in own if name.endswith(".py")]
    read = read_checkpoint(checkpoint, trust_pickle=model.trust_pickle, main=scripts)
    model, data = complete(model, data, read)
    if model.model is None:
        raise UsageError(f"{read.path} does not say which network it belongs to; give `model`.")
    if data.data is None:
        raise UsageError(f"{read.path} does not say which data it belongs to; give `data`.")
    data, notices = _normalised(model.model, data)
    found = load_data(data, run)
    classes = known_classes(read)
    if classes is not None and found.classes > classes:
        raise InputError(
            f"The label {found.classes - 1} of {found.spec} is out of range: the network of "
            f"{read.path} knows {classes} classes; check `data`."
        )
    network = _network(model, found, run, classes or found.targets.outputs)
    if classes is None and library(model.model) is not None:
        classes = head_of(network, read, found.classes, model.key)
        if classes is not None and classes > found.classes:
            network = _network(model, found, run, classes)
    fitted = _fitted(network, read, model)
    read = dataclasses.replace(read, tensors=fitted.tensors)
    notices += fitted.notices
    return _loaded(fitted.network, model, data, found, run, read, notices)


def _fitted(network: nn.Module, read: Checkpoint, model: ModelConfig) -> Fitted:
    """The network with the file's weights, under the file's names or those of its library."""
    assert model.model is not None
    try:
        return fit(network, read, model.model, model.key)
    except InputError:
        found = library(model.model)
        state = choose(list(read.states), model.key, str(read.path))[0]
        named = None if found is None else found.translate(network, strip_prefixes(state.tensors))
        if named is None:
            raise
        states = (State(state.key, named, state.extra),)
        return fit(network, dataclasses.replace(read, states=states), model.model, model.key)


def new(model: ModelConfig, data: DataConfig, run: RunConfig) -> Loaded:
    """A problem with a fresh network, its weights drawn by ``run.seed``, to be trained.

    Raises:
        UsageError: no network or no data are named.
        InputError: the network or the data cannot be read.
    """
    device_of(run.device)
    if model.model is None:
        raise UsageError("No network is named; give `model`, for example lenet-300-100.")
    data, notices = _normalised(model.model, data)
    found = load_data(data, run)
    network = _network(model, found, run, found.targets.outputs)
    return _loaded(network, model, data, found, run, None, notices)


def _normalised(spec: str, data: DataConfig) -> tuple[DataConfig, tuple[str, ...]]:
    """``data`` with the moments that the network was published with, if the data are images of a
    folder without moments of their own; and a notice of that."""
    if data.mean is not None or data.std is not None or not str(data.data).startswith("folder:"):
        return data, ()
    moments = usual_moments(spec)
    if moments is None:
        return data, ()
    mean, std = (",".join(f"{each:g}" for each in part) for part in moments)
    notice = f"Images are normalised as for the published {spec}: `mean` {mean}, `std` {std}."
    return dataclasses.replace(data, mean=mean, std=std), (notice,)


def problem_from_module(
    model: nn.Module,
    train: Any,
    test: Any,
    *,
    loss: str | SampleLoss | None = None,
    exclude: Iterable[str] = (),
    batch_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    workers: int = 0,
    metric: str | SampleLoss | None = None,
    embeddings: bool = False,
    ignore_index: int | None = None,
    cache: str | None = None,
) -> Problem:
    """The problem of a live module; the module itself is copied, not changed.

    ``train`` and ``test`` are (inputs, targets), map-style data sets, DataLoaders or splits;
    ``loss`` gives one loss per sample, ``metric`` one score in the place of accuracy. Each is a
    name or a function; if it is left out, the targets decide. Targets equal to ``ignore_index`` do
    not count. ``cache`` is a folder in which the network's losses on the data are kept. ``exclude``
    are regular expressions of module names held as trained. ``embeddings`` makes the tables of
    embeddings prunable too.

    Raises:
        UsageError: an expression is malformed, or a type or device is unknown.
        InputError: the data cannot be used.
        NumericalError: a weight is NaN or infinite.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"`batch_size` is {batch_size}; give 1 or more.")
    where = device_of(device)
    kind = dtype_of(dtype, where)
    splits = [split_of(each, device=where, dtype=kind, workers=workers) for each in (train, test)]
    network = prepared(copied(model), "The network", splits[0], where, kind)
    fold_network(network)
    _check_numbers(network, "the network")
    _check_finite(network, "the network")
    held = held_parameters(network, exclude)
    layout, prunable = _free(network, held, embeddings=embeddings)
    wanted = named(loss, metric, ignore_index)
    both = [scan(each, "The data", wanted.ignored) for each in splits]
    for name, found in zip(("train", "test"), both, strict=True):
        check_labels("The data", name, found)
    targets = both[0]
    problem = Problem(
        model=network,
        loss=cross_entropy,
        train=splits[0],
        test=splits[1],
        layout=layout,
        prunable=prunable,
        classes=targets.classes,
        device=where,
        dtype=kind,
        batch_size=1,
        seed=seed,
        dense=dense_matrices(network, prunable, held),
        cache=None if cache is None else Cache(cache),
    )
    problem, said = judged(problem, "The network", targets, wanted)
    check_network(problem, "The network")
    for notice in (*said, *_notices(problem, None)):
        log.warning("%s", one_line(notice))
    return _batched(problem, batch_size)


def _network(model: ModelConfig, data: Data, run: RunConfig, classes: int) -> nn.Module:
    assert model.model is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        network = build_network(
            model.model,
            input_shape=data.input_shape,
            classes=classes,
            arguments=parse_arguments(model.model_arg),
        )
        device = device_of(run.device)
        dtype = dtype_of(run.dtype, device)
        return prepared(network, model.model, data.train, device, dtype)


def _check_numbers(network: nn.Module, where: str) -> None:
    """Refuse a network that is nothing but shapes. Such a tensor cannot be put on a device."""
    for name, each in (*network.named_parameters(), *network.named_buffers()):
        if each.is_meta:
            raise InputError(
                f"{shown(name)} has no numbers (device meta), and {where} does not give them; "
                "make the network on the CPU."
            )


def _check_finite(network: nn.Module, where: str) -> None:
    """Only parameters are checked. A mask in a buffer may be infinite, and faults of other buffers
    show in the outputs."""
    for name, tensor in network.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise NumericalError(
                f"The tensor {shown(name)} holds a NaN or infinity in {where}; use weights that "
                "were saved before this happened."
            )


def held_parameters(network: nn.Module, exclude: Iterable[str]) -> set[int]:
    """Identities of the parameters in modules that match an expression."""
    patterns = []
    for text in exclude:
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise UsageError(
                f"`exclude` {text!r} is not a valid regular expression ({error}); give a module's "
                "name, or a valid pattern."
            ) from None
    held: set[int] = set()
    for pattern in patterns:
        named = network.named_modules(remove_duplicate=False)
        modules = [module for name, module in named if name and pattern.search(name)]
        if not modules:
            raise UsageError(f"`exclude` {pattern.pattern!r} matches no module; check the name.")
        # By identity, since a tied parameter has one name and several owners.
        held |= {id(parameter) for module in modules for parameter in module.parameters()}
    return held


def _free(
    network: nn.Module, held: set[int], *, embeddings: bool = False
) -> tuple[Layout, tuple[str, ...]]:
    norms: set[int] = set()
    for module in network.modules():
        if isinstance(module, NORMS):
            norms |= {id(parameter) for parameter in module.parameters(recurse=False)}
    free = {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and id(parameter) not in held | norms
    }
    for name, parameter in free.items():
        if not parameter.is_floating_point():
            kind = str(parameter.dtype).removeprefix("torch.")
            raise InputError(
                f"The parameter {shown(name)} is {kind}, and the limit is about real numbers; "
                "give the name of its module to `exclude`, so that it stays as it is."
            )
    layout = Layout(tuple(free), tuple(parameter.shape for parameter in free.values()))
    weights = prunable_weights(network, embeddings=embeddings)
    prunable = tuple(name for name, each in free.items() if id(each) in weights)
    if not prunable:
        dense = dense_notice(dense_matrices(network, (), held)) or "It has no matrices."
        raise UsageError(
            f"No weight is left to prune: {dense[0].lower()}{dense[1:].rstrip('.')}; give a "
            "network with trainable linear layers or convolutions, or a narrower `exclude`."
        )
    return layout, prunable


def model_info(
    problem: Problem, spec: str, sha256: str | None, exclude: Iterable[str] = ()
) -> ModelInfo:
    """The counts that every result states."""
    held = held_parameters(problem.model, exclude)
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
    notices: Iterable[str] = (),
) -> Loaded:
    assert model.model is not None
    device = device_of(run.device)
    dtype = dtype_of(run.dtype, device)
    fold_network(network)
    where = model.model if checkpoint is None else str(checkpoint.path)
    _check_numbers(network, where)
    network = placed(network, device, dtype).eval()
    _check_finite(network, where)
    held = held_parameters(network, model.exclude)
    layout, prunable = _free(network, held, embeddings=model.include_embeddings)
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
        dense=dense_matrices(network, prunable, held),
        # Training makes another network of it.
        cache=None if run.cache is None or checkpoint is None else Cache(run.cache),
    )
    wanted = named(data.loss, data.metric, data.ignore_index, _own_files(model, data))
    problem, chosen = judged(problem, model.model, found.targets, wanted)
    check_network(problem, model.model)
    problem = _batched(problem, run.batch_size)
    said = (*notices, *chosen, *_notices(problem, checkpoint))
    for notice in said:
        log.warning("%s", one_line(notice))
    sha256 = None if checkpoint is None else checkpoint.sha256
    return Loaded(
        problem=problem,
        model_info=model_info(problem, model.model, sha256, model.exclude),
        data_info=data_info(problem, found.spec, wanted.names),
        checkpoint=checkpoint,
        description={**kept_description(checkpoint), **describe(model, data, found)},
        notices=said,
    )


def _own_files(model: ModelConfig, data: DataConfig) -> list[str]:
    """Specs of the user's own code from which data and network come."""
    found = []
    if data.data is not None and plugins.written("data", data.data) is None:
        found.append(data.data)
    if model.model is not None and (model.model.rpartition(":")[0].endswith(".py")):
        found.append(model.model)
    return found


def _notices(problem: Problem, checkpoint: Checkpoint | None) -> list[str]:
    """Notices about a network that was read from ``checkpoint``."""
    dense = dense_notice(problem.dense)
    found = [] if dense is None else [dense]
    if checkpoint is None:
        return found
    parameters = problem.parameters()
    weights = [parameters[name] for name in problem.prunable]
    zeros, count = zeros_of(weights), sum(each.numel() for each in weights)
    if zeros >= TOLD * count:
        found.append(f"{zeros:,} of {count:,} prunable weights are zero already.")
    wide = [name for name, each in checkpoint.tensors.items() if each.dtype == torch.float64]
    if wide and problem.dtype == torch.float32:
        found.append(
            f"{listed(wide)} float64 in {checkpoint.path}, but computed with in float32 (`dtype`)."
        )
    return found + check_plausible(problem, checkpoint.claimed, str(checkpoint.path))


def _batched(problem: Problem, batch_size: int | None) -> Problem:
    """``problem`` with the batch size that was asked for, or one at which its network is fast."""
    if batch_size is None:
        inputs, _ = next(iter(problem.train.batches(1)))
        batch_size = samples_at_once(problem.model, cloned(inputs))
    return dataclasses.replace(problem, batch_size=problem.batch(batch_size))
