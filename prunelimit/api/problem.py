"""A trained network and its data, in Python."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import inputs
from ..commands.provenance import Recorder
from ..config import Config, DataConfig, ModelConfig, RunConfig
from ..errors import UsageError
from ..inputs.load import Loaded, live, load, new, problem_from_module
from ..inputs.problem import SampleLoss
from .options import configured, takes

__all__ = [
    "Problem",
    "described",
    "network_of",
    "recorder",
    "seeded",
    "tensors_of",
    "to_train",
]


class Problem:
    """A network, the loss it was trained with, and its data. Every function here works on one.

    The module is copied: later changes of it have no effect here, and nothing here changes it.
    The copy is in eval mode.

    Args:
        model: A module that maps inputs (n, ...) to outputs (n, ...). For classification these are
            logits (n, classes). If it gives several outputs, ``logits`` or the first are taken.
        train: The data it was trained on: a DataLoader, a map-style data set of (input, target)
            pairs, or a pair of tensors, inputs (n, ...) and targets (n, ...). Inputs may be
            several tensors in a tuple or a dict, which the module gets as its arguments. A loader
        is read in the order of its data set, each sample once, with its own ``collate_fn``. Whether
        it shuffles makes no difference.
        test: Data that it was not trained on, likewise.
        loss: A name, "cross-entropy", "mse", "bce" or "huber", or a function of outputs and targets
            that gives one loss per sample, shape (n,). If it is left out, the targets decide.
        Classes, of samples or of positions, and probabilities take cross-entropy in nats. Several
        answers of 0 or 1 take bce. Other numbers take mse.
        metric: A name, "accuracy", "mean-iou", "label-accuracy", "r2" or "negative-mse", or a
            function of outputs and targets that gives one score per sample, shape (n,); more is
        better. It takes the place of accuracy. If it is left out, the loss decides.
        ignore_index: Class of positions that do not count; -100 if it is left out.
        exclude: Regular expressions; modules with such names are kept as trained, never pruned.
        name: What results call the network and the data.
        device: Device that everything is computed on: "auto" (a GPU where there is one), "cpu",
            "cuda", "cuda:1", "mps", or another that torch names.
        dtype: "float32" or "float64": what everything is computed in.
        batch_size: Samples per forward pass; changes memory and time, never the result.
        workers: Processes that load data.
        seed: Seed of everything random.
        cache: Folder in which the losses of the dense network are kept for the next time. It
            changes no number, and may be deleted at any time.

    Raises:
        UsageError: nothing is left to prune, or a device, a type or an expression is unknown.
        InputError: the data cannot be used, do not fit the network, or differ between two
            readings, as random augmentation makes them.
        NumericalError: a weight is NaN or infinite.

    Example:

    >>> import torch
    >>> import prunelimit as pl
    >>> inputs = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    >>> data = inputs, (inputs[:, 0] > 0).long()
    >>> pl.Problem(torch.nn.Linear(5, 2), data, data)
    Problem(module: 10 prunable weights of 12 parameters, 200 training and 200 test samples)
    """

    def __init__(
        self,
        model: nn.Module,
        train: Any,
        test: Any,
        *,
        loss: str | SampleLoss | None = DataConfig.loss,
        metric: str | SampleLoss | None = DataConfig.metric,
        ignore_index: int | None = DataConfig.ignore_index,
        exclude: Iterable[str] | str = ModelConfig.exclude,
        name: str = "module",
        device: str | torch.device = RunConfig.device,
        dtype: str | torch.dtype = RunConfig.dtype,
        batch_size: int | None = RunConfig.batch_size,
        workers: int = RunConfig.workers,
        seed: int = RunConfig.seed,
        cache: str | Path | None = RunConfig.cache,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(f"`model` is a {type(model).__name__}; give a torch.nn.Module.")
        run = configured(
            RunConfig,
            {
                "device": str(device),
                "dtype": str(dtype).removeprefix("torch."),
                "batch_size": batch_size,
                "workers": workers,
                "seed": seed,
                "cache": None if cache is None else str(cache),
            },
        )
        held = (exclude,) if isinstance(exclude, str) else tuple(exclude)
        problem = problem_from_module(
            model,
            train,
            test,
            loss=loss,
            metric=metric,
            ignore_index=ignore_index,
            exclude=held,
            batch_size=run.batch_size,
            workers=run.workers,
            seed=run.seed,
            device=run.device,
            dtype=run.dtype,
            cache=run.cache,
        )
        loaded = live(problem, name, held)
        self._set(loaded, run, (), _dtypes(model))

    def _set(
        self,
        loaded: Loaded,
        run: RunConfig,
        configs: tuple[Config, ...],
        dtypes: dict[str, torch.dtype],
    ) -> None:
        self.loaded = loaded
        """The problem as the other parts of the library have it, with what is known of it."""
        self.run = run
        """Where and how the numbers are computed."""
        self._configs, self._dtypes = configs, dtypes

    @classmethod
    @takes(ModelConfig, DataConfig, RunConfig)
    def from_checkpoint(cls, path: str | Path, **options: Any) -> Problem:
        """The network of a checkpoint; network and data as the command line names them.

        Anything that is not given is taken from the file's own description.

        Args:
            path: A checkpoint that any command takes.

        Raises:
            UsageError: network or data are named neither here nor in the file.
            InputError: file, network or data cannot be read or do not fit each other.
            NumericalError: a weight is NaN or infinite.

        Example:

        >>> import tempfile
        >>> import prunelimit as pl
        >>> trained = pl.train(pl.Problem.new(model="lenet-300-100", data="digits"), epochs=1)
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = trained.save(f"{folder.name}/lenet.safetensors")
        >>> pl.Problem.from_checkpoint(file.path).loaded.model_info.prunable
        50200
        """
        model, data = configured(ModelConfig, options), configured(DataConfig, options)
        run = configured(RunConfig, options)
        loaded = load(path, model, data, run)
        assert loaded.checkpoint is not None
        dtypes = {name: each.dtype for name, each in loaded.checkpoint.tensors.items()}
        return cls._of(loaded, run, (model, data), dtypes)

    @classmethod
    @takes(ModelConfig, DataConfig, RunConfig, without={ModelConfig: ("trust_pickle",)})
    def new(cls, **options: Any) -> Problem:
        """A fresh network, its weights drawn by ``seed``, for :func:`train`.

        Raises:
            UsageError: no network or no data are named.
            InputError: the network or the data cannot be read.

        Example:

        >>> import prunelimit as pl
        >>> pl.Problem.new(model="lenet-300-100", data="digits").model.training
        False
        """
        model, data = configured(ModelConfig, options), configured(DataConfig, options)
        run = configured(RunConfig, options)
        loaded = new(model, data, run)
        return cls._of(loaded, run, (model, data), _dtypes(loaded.problem.model))

    @classmethod
    def _of(
        cls,
        loaded: Loaded,
        run: RunConfig,
        configs: tuple[Config, ...],
        dtypes: dict[str, torch.dtype],
    ) -> Problem:
        made = cls.__new__(cls)
        made._set(loaded, run, configs, dtypes)
        return made

    @property
    def problem(self) -> inputs.problem.Problem:
        """The problem as the other parts of the library have it."""
        return self.loaded.problem

    @property
    def model(self) -> nn.Module:
        """The copy of the network that is worked on."""
        return self.problem.model

    def __repr__(self) -> str:
        model, data = self.loaded.model_info, self.loaded.data_info
        return (
            f"Problem({model.spec}: {model.prunable:,} prunable weights of {model.parameters:,} "
            f"parameters, {data.samples:,} training and {data.test_samples:,} test samples)"
        )


def seeded(problem: Problem, seed: int | None) -> Problem:
    """``problem`` with another seed for all that follows; ``problem`` itself if ``seed`` is
    None."""
    if not isinstance(problem, Problem):
        raise UsageError(
            f"`problem` is a {type(problem).__name__}; give Problem(model, train, test)."
        )
    if seed is None:
        return problem
    run = configured(RunConfig, {**dataclasses.asdict(problem.run), "seed": seed})
    inner = dataclasses.replace(problem.problem, seed=run.seed)
    return _like(problem, dataclasses.replace(problem.loaded, problem=inner), run)


def to_train(problem: Problem) -> Problem:
    """``problem`` with a network of its own, which may be changed, and no checkpoint."""
    loaded = problem.loaded
    return _like(
        problem,
        dataclasses.replace(
            loaded,
            problem=dataclasses.replace(loaded.problem, model=copy.deepcopy(problem.model)),
            model_info=dataclasses.replace(loaded.model_info, sha256=None),
            checkpoint=None,
        ),
        problem.run,
    )


def described(problem: Problem, description: dict[str, Any]) -> Problem:
    """``problem`` with what checkpoints of it say."""
    loaded = dataclasses.replace(problem.loaded, description=description)
    return _like(problem, loaded, problem.run)


def recorder(command: str, problem: Problem, *configs: Config) -> Recorder:
    """The recorder of how a result came about."""
    return Recorder(command, problem.run, *problem._configs, *configs)


def tensors_of(problem: Problem) -> dict[str, Tensor]:
    """The network's tensors by name, on the CPU, in the types it was given with."""
    if problem.loaded.checkpoint is not None:
        return problem.loaded.checkpoint.tensors
    return {
        name: each.detach().cpu().to(problem._dtypes.get(name, each.dtype))
        for name, each in problem.model.state_dict().items()
        if isinstance(each, Tensor)
    }


def network_of(problem: Problem, tensors: dict[str, Tensor]) -> nn.Module:
    """A network of its own with ``tensors``, in their types, in the place of those of
    ``problem``'s."""
    made = copy.deepcopy(problem.model)
    for name, each in (*made.named_parameters(), *made.named_buffers()):
        if name in tensors:
            each.data = each.data.to(tensors[name].dtype)
    made.load_state_dict(tensors, strict=False)
    return made


def _like(problem: Problem, loaded: Loaded, run: RunConfig) -> Problem:
    return Problem._of(loaded, run, problem._configs, problem._dtypes)


def _dtypes(model: nn.Module) -> dict[str, torch.dtype]:
    return {n: each.dtype for n, each in model.state_dict().items() if isinstance(each, Tensor)}
