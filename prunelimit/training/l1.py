"""Training with l1. Users without a checkpoint get a network that the limit describes.

Source: Zhang et al. 2024, section 7 of their settings (SGD, momentum 0.9, l1 1e-5 to 1e-4).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..errors import NumericalError, UsageError
from ..inputs.owner import owner_of
from ..inputs.problem import Problem, evaluate
from ..inputs.structure import Inputs
from ..progress import Progress, silent
from ..randomness import generator
from ..storage.resume import Resumable
from .sharpness import Flatness, flatness_of, gradient_norm, rho_of

__all__ = ["Training", "train"]


@dataclass(frozen=True)
class Training:
    """A finished training.

    ``history`` has one entry per epoch: ``epoch`` (from 1), ``loss`` and ``accuracy``. An entry's
    ``loss`` (nats) is the mean over the epoch as it went, without the l1 term. Its ``accuracy``
    (fraction) is on the test split after it. The result's own ``loss`` (mean over the training
    split) and ``accuracy`` (test split) are those of the network at the end, in eval mode.
    """

    history: tuple[dict[str, float], ...]
    accuracy: float
    loss: float


def train(
    problem: Problem,
    config: TrainConfig,
    *,
    seed: int,
    resume_path: Path | None = None,
    progress: Progress = silent,
) -> Training:
    """Train all trainable parameters of ``problem.model`` in place; it ends in eval mode.

    It is SGD with momentum on the mean loss plus ``l1`` times the l1 norm of the prunable weights
    (subgradient sign(w)). The learning rate falls to zero along a cosine, step by step. As in
    torch's SGD, ``weight_decay`` acts on every trained parameter, biases and norm layers too.
    Excluded modules are trained like the others, but l1 does not draw them to zero. Excluding a
    module only means that it is not pruned. The network trains in train mode (batch statistics,
    dropout). ``config.sharpness`` changes the gradient of the loss towards flat minima
    (:mod:`.sharpness`); l1 and weight decay act on the weights themselves. With
    ``config.keep_zeros`` prunable weights that are zero at the start stay exactly zero.

    With ``resume_path`` the state is written there after every epoch. The caller removes it once
    the network is written. If a state is there at the start, training goes on from it and reaches
    the same numbers bit for bit.

    Raises:
        UsageError: a setting makes no sense, or the state is of another configuration.
        InputError: the state cannot be read.
        NumericalError: training diverged.
    """
    model = problem.model
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("The network has no trainable parameters; give a network that has some.")
    penalised = [p for n, p in problem.parameters().items() if n in problem.prunable]
    optimizer = _sgd(parameters, config)
    survivors = _survivors(penalised) if config.keep_zeros else []
    history: list[dict[str, float]] = []
    resumable = None
    if resume_path is not None:
        owner = _configuration(problem, config, seed, survivors)
        resumable = Resumable(resume_path, "training", owner)

        def put_back(state: dict[str, Any]) -> list[dict[str, float]]:
            history = [dict(entry) for entry in state["history"]]
            _check_history(history, config.epochs)
            momenta = _momenta(state["optimizer"], parameters)
            found = state["model"]
            if not all(bool(torch.isfinite(each).all()) for each in found.values()):
                raise ValueError("a weight is not finite")
            model.load_state_dict(found)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": momenta, "param_groups": groups})
            return history

        history = resumable.restored(put_back, problem.device) or []
    devices = [problem.device] if problem.device.type == "cuda" else []
    hooks = [
        parameter.register_hook(lambda slope, kept=kept: slope * kept)
        for parameter, kept in zip(penalised, survivors, strict=False)
    ]
    try:
        with torch.random.fork_rng(devices=devices):
            for epoch in range(len(history), config.epochs):
                draws = generator(seed, "training probes", epoch)
                flatness = flatness_of(config, problem, parameters, draws)
                loss = _epoch(
                    problem, config, optimizer, parameters, penalised, seed, epoch, flatness
                )
                accuracy = evaluate(problem, problem.test).accuracy
                history.append({"epoch": epoch + 1, "loss": loss, "accuracy": accuracy})
                if resumable is not None:
                    resumable.save(
                        {
                            "model": model.state_dict(),
                            "optimizer": optimizer.state_dict(),
                            "history": history,
                        }
                    )
                note = f"accuracy {accuracy:.1%}, loss {loss:.3g}"
                progress("training", epoch + 1, config.epochs, note)
    finally:
        model.eval()
        for hook in hooks:
            hook.remove()
        for parameter in parameters:
            parameter.grad = None
    return Training(
        tuple(history),
        evaluate(problem, problem.test).accuracy,
        evaluate(problem, problem.train).loss,
    )


def _check_history(history: list[dict[str, float]], epochs: int) -> None:
    """Refuse a history that no training of so many epochs leaves.

    Raises:
        ValueError: it is such a history.
    """
    counted = [entry["epoch"] for entry in history] == list(range(1, len(history) + 1))
    finite = all(math.isfinite(entry[name]) for entry in history for name in ("loss", "accuracy"))
    if not counted or not finite or len(history) > epochs:
        raise ValueError("the epochs are not those of this training")


def _momenta(saved: dict[str, Any], parameters: list[nn.Parameter]) -> dict[int, dict[str, Any]]:
    """The momentum of every parameter, from the state of an optimizer. No more is taken from it. A
    step writes as much as the parameter holds, so shapes are checked here.

    Raises:
        ValueError: one is not of its parameter's shape and type, or not finite.
    """
    momenta: dict[int, dict[str, Any]] = {}
    for place, kept in dict(saved["state"]).items():
        buffer = kept.get("momentum_buffer")
        if buffer is None:
            continue
        if not isinstance(place, int) or not 0 <= place < len(parameters):
            raise ValueError("there is momentum of no parameter")
        like = parameters[place]
        same = isinstance(buffer, Tensor) and (buffer.shape, buffer.dtype) == (
            like.shape,
            like.dtype,
        )
        if not same or not bool(torch.isfinite(buffer).all()):
            raise ValueError("a momentum is not that of its parameter")
        momenta[place] = {"momentum_buffer": buffer}
    return momenta


def _sgd(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.SGD:
    settings: dict[str, Any] = {
        "lr": config.lr,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
    }
    try:
        return torch.optim.SGD(parameters, fused=True, **settings)
    except (RuntimeError, TypeError):  # older torch, or a device without fused steps
        return torch.optim.SGD(parameters, foreach=True, **settings)


def _epoch(
    problem: Problem,
    config: TrainConfig,
    optimizer: torch.optim.SGD,
    parameters: list[nn.Parameter],
    penalised: list[nn.Parameter],
    seed: int,
    epoch: int,
    flatness: Flatness | None,
) -> float:
    """One pass; the mean loss over it. Leaves the network in eval mode."""
    model = problem.model
    samples = len(problem.train)
    # Every epoch has its own seeds, so a resumed one needs no generator's state.
    order_seed, dropout_seed = np.random.SeedSequence((seed, epoch)).generate_state(2)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(int(order_seed)))
    batch = problem.batch(config.train_batch_size)
    if batch > 1 and samples % batch == 1:
        order = order[:-1]  # batch norm has no statistics for a single sample
    torch.manual_seed(int(dropout_seed))
    steps = math.ceil(len(order) / batch)
    start = [each.detach().clone() for each in parameters]
    ratios: list[Tensor] = []
    losses: list[Tensor] = []
    counts: list[int] = []
    model.train()
    try:
        for step, (inputs, targets) in enumerate(problem.train.batches(batch, order=order)):
            done = (epoch * steps + step) / (config.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.zero_grad(set_to_none=True)
            loss = problem.loss(model(inputs), targets).mean()
            loss.backward()
            if flatness is not None:
                plain = gradient_norm(parameters)
                flatness(inputs, targets)
                ratios.append(gradient_norm(parameters) / plain)
            if config.l1:
                _add_sign(penalised, config.l1)
            optimizer.step()
            losses.append(loss.detach())
            counts.append(len(targets))
    finally:
        model.eval()
    found = torch.stack(losses).cpu().double().numpy()
    mean = float(np.average(found, weights=counts))
    finite = all(bool(torch.isfinite(p).all()) for p in parameters)
    if not (math.isfinite(mean) and finite):
        bad = int(np.argmin(np.isfinite(found))) if not np.isfinite(found).all() else steps
        for parameter, before in zip(parameters, start, strict=True):
            with torch.no_grad():
                parameter.copy_(before)
        batches = problem.train.batches(batch, order=order)
        raise NumericalError(
            f"Training diverged in epoch {epoch + 1}"
            + (
                LOSS
                if bad < steps
                and not _finite_at(problem, next(itertools.islice(batches, bad, None)))
                else _step(config, ratios[:bad])
            )
        )
    return mean


LOSS = (
    ": the loss of a batch is not finite even with the weights from the start of the epoch, so "
    "another `lr` does not help; correct the loss function or those samples."
)

LARGE = 10.0
"""If `sharpness` makes a gradient so many times as long, it is what made the weights diverge."""


def _step(config: TrainConfig, ratios: Sequence[Tensor]) -> str:
    """Which setting made the steps too large. ``ratios`` are the gradients' norms with `sharpness`
    over those without, up to where the loss stopped being finite."""
    worst = max((each if math.isfinite(each := float(r)) else math.inf for r in ratios), default=0)
    if worst > LARGE:
        rho = rho_of(config)
        return (
            f": with `rho` {rho:g}, `sharpness` {config.sharpness} makes a gradient {worst:.2g} "
            "times as long; give a smaller `rho`."
        )
    return f" (`lr` {config.lr:g}); give a smaller `lr`."


def _finite_at(problem: Problem, batch: tuple[Inputs, Tensor]) -> bool:
    """Whether the loss of a batch is finite with the weights as they are, in training."""
    problem.model.train()  # statistics of earlier batches in the layers may be spoilt already
    try:
        with torch.no_grad():
            return bool(problem.loss(problem.model(batch[0]), batch[1]).mean().isfinite())
    finally:
        problem.model.eval()


def _add_sign(penalised: list[nn.Parameter], l1: float) -> None:
    with torch.no_grad():
        for parameter in penalised:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.sign(), alpha=l1)


def _survivors(prunable: list[nn.Parameter]) -> list[Tensor]:
    """Where each is not zero, as 1 and 0."""
    return [(each.detach() != 0).to(each) for each in prunable]


def _configuration(
    problem: Problem, config: TrainConfig, seed: int, survivors: list[Tensor]
) -> dict[str, Any]:
    """The settings that must be the same to go on from a state; plain JSON."""
    shapes = {n: list(p.shape) for n, p in problem.model.named_parameters() if p.requires_grad}
    return {
        **dataclasses.asdict(config),
        "seed": seed,
        "dtype": str(problem.dtype),
        "training samples": len(problem.train),
        **owner_of(problem),
        "network": shapes,
        "prunable": list(problem.prunable),
        "zeros": zlib.crc32(b"".join(each.bool().cpu().numpy().tobytes() for each in survivors)),
    }
