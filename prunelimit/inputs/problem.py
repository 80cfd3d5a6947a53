"""The problem every later stage works on: a network in eval mode, its data, and which
parameters are free and which prunable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import wide
from ..distributed import Group, ShardSpec
from ..errors import InputError, NumericalError
from ..hashing import digest
from ..storage.cache import Cache
from .call import call
from .identity import environment, network_code, network_digest, own_code, samples_digest
from .loss import Loss
from .losses.cross_entropy import LOSS as cross_entropy
from .metric import Metric
from .output_curvature import has_curvature, output_curvature
from .prunable import DenseMatrix
from .structure import Inputs

__all__ = [
    "Evaluation",
    "Layout",
    "Problem",
    "SampleLoss",
    "Split",
    "code_of",
    "cross_entropy",
    "evaluate",
    "loss_bends",
]

WORST = 1e30
"""If a metric may be negative, a score that is no number counts as minus this."""

SampleLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs (n, ...) and targets (n, ...) to one loss per sample, shape (n,)."""


class Split(Protocol):
    """One split of the data, in a fixed order."""

    def __len__(self) -> int: ...

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets, on the problem's device and of its dtype.

        Every sample comes exactly once, in index order or in ``order`` (int64 indices, which may
        also name a subset); the last batch may be smaller. Inputs are one tensor (n, ...), or
        several in a tuple or a dict.
        """
        ...

    def subset(self, count: int, seed: int) -> Split:
        """``count`` samples drawn without replacement, the same for the same seed; nested: a
        larger count holds a smaller one's samples. All of them when ``count`` is 0 or larger than
        the split."""
        ...


@dataclass(frozen=True)
class Layout:
    """How the free parameters lie in one flat vector: in the network's order, each row-major."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each parameter."""
        return tuple(shape.numel() for shape in self.shapes)

    @property
    def size(self) -> int:
        """Length of the flat vector, D."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The named tensors as one vector, shape (D,)."""
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of ``vector`` (D,) in the shapes of the parameters."""
        pieces = vector.split(list(self.sizes))
        return {n: p.view(s) for n, s, p in zip(self.names, self.shapes, pieces, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A trained network and its data.

    ``model`` is in eval mode, with finite parameters, on ``device``. ``layout`` holds the free
    parameters: all trainable ones but those of norm layers and excluded modules. ``prunable`` names
    those that may be pruned: the weights of convolutions, linear and recurrent layers and of
    attention. ``dense`` are the matrices that stay whole, and why. ``metric`` gives a score per
    sample in the place of correctness. ``classes`` is 0 if targets are numbers. ``cache`` keeps the
    network's losses on a split from one command to the next.
    """

    model: nn.Module
    loss: SampleLoss
    train: Split
    test: Split
    layout: Layout
    prunable: tuple[str, ...]
    classes: int
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    seed: int
    metric: Metric | SampleLoss | None = None
    dense: tuple[DenseMatrix, ...] = ()
    cache: Cache | None = None

    def parameters(self) -> dict[str, nn.Parameter]:
        """The free parameters by name, in the layout's order: the network's own, not copies."""
        named = dict(self.model.named_parameters())
        return {name: named[name] for name in self.layout.names}

    def prunable_mask(self) -> Tensor:
        """True where an entry of the flat free vector (D,) is prunable; bool."""
        chosen = set(self.prunable)
        return torch.cat(
            [
                torch.full((size,), name in chosen, dtype=torch.bool, device=self.device)
                for name, size in zip(self.layout.names, self.layout.sizes, strict=True)
            ]
        )

    def vector(self) -> Tensor:
        """A copy of the free parameters as one vector, shape (D,)."""
        return self.layout.flatten({n: p.detach() for n, p in self.parameters().items()}).clone()

    def parts(self, group: Group) -> ShardSpec:
        """How vectors (D,) are cut among ``group``."""
        return group.even(self.layout.size)

    def tensors(self, weights: Tensor) -> dict[str, Tensor]:
        """``weights`` (D,) by name of the free parameters, as :meth:`outputs` takes them."""
        return self.layout.unflatten(weights)

    def batch(self, most: int) -> int:
        """Size of a batch of at most ``most`` samples. It is one if samples differ in size and are
        not padded."""
        return 1 if getattr(self.train, "single", False) else min(most, len(self.train))

    def outputs(self, inputs: Inputs, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """The network's outputs for ``inputs``, with ``tensors`` in place of parameters of the
        same name; differentiable."""
        return call(self.model, tensors or {}, inputs)


@dataclass(frozen=True)
class Evaluation:
    """Per-sample loss (float64, nats) and correctness (bool, or the metric's float64 scores), each
    of shape (n,), in order.

    ``curvatures`` (n,) float64 are the samples' :func:`output_curvature`, if they were asked for.
    ``points`` says that the metric of a perfect network is 1. It then falls by points.
    """

    losses: np.ndarray
    correct: np.ndarray
    curvatures: np.ndarray | None = None
    points: bool = True

    @property
    def loss(self) -> float:
        """Mean loss, nats."""
        return float(self.losses.mean())

    @property
    def accuracy(self) -> float:
        """Share of samples classified correctly, or the metric."""
        return float(self.correct.mean())


def _scores(problem: Problem, outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether each sample is classified correctly, or the metric's score of it.

    Raises:
        InputError: the metric does not give one number per sample.
    """
    if problem.metric is None:
        return outputs.argmax(dim=-1) == targets
    scores = torch.as_tensor(problem.metric(outputs, targets)).detach()
    if not isinstance(problem.metric, Metric) and scores.shape != (len(targets),):
        raise InputError(
            f"`metric` gives {tuple(scores.shape)} for {len(targets)} samples; let it give one "
            "number per sample."
        )
    return scores if scores.dtype == torch.bool else wide(scores)


def _settled(problem: Problem, found: list[Tensor], targets: list[Tensor]) -> tuple[Tensor, bool]:
    """The scores of all samples, none of them NaN or infinite, and whether they go by points."""
    scores, metric = torch.cat(found).cpu(), problem.metric
    if scores.dtype == torch.bool:
        return scores, True
    if isinstance(metric, Metric):
        # A pruned network may give NaN. It then has the worst score.
        worst = metric.worst
        scores = torch.where(torch.isfinite(scores), scores, worst)
        if metric.whole is not None:
            scores = metric.whole(scores, torch.cat(targets).cpu().to(torch.float64))
        return scores, metric.points
    known = scores[torch.isfinite(scores)]
    points = bool(((known >= 0) & (known <= 1)).all())
    return torch.where(torch.isfinite(scores), scores, 0.0 if points else -WORST), points


def evaluate(
    problem: Problem,
    split: Split,
    weights: Tensor | None = None,
    *,
    curvatures: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Loss and correctness of every sample of ``split``, in order.

    ``weights`` (D,) replaces the free parameters for this evaluation; the network itself is
    unchanged afterwards. ``curvatures`` asks for those of the samples too. ``on_batch`` is told the
    number of samples done after every batch; an error that it raises ends the evaluation. If the
    problem has a ``cache``, earlier results of the unmodified network for the same samples are
    taken from it.

    Raises:
        NumericalError: the loss of the unmodified network, or a metric of the user's own, is not
            finite on some sample (named).
    """
    if weights is None and problem.cache is not None:
        return _kept(problem, problem.cache, split, curvatures, on_batch)
    tensors = None if weights is None else problem.tensors(weights)
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    bent: list[Tensor] = []
    wanted: list[Tensor] = []
    keeps = isinstance(problem.metric, Metric) and problem.metric.whole is not None
    done = 0
    with torch.no_grad():
        for inputs, targets in split.batches(problem.batch_size):
            outputs = problem.outputs(inputs, tensors)
            losses.append(wide(problem.loss(outputs, targets)))
            correct.append(_scores(problem, outputs, targets))
            if keeps:
                wanted.append(targets)
            if curvatures:
                bent.append(output_curvature(problem.loss, outputs, targets))
            done += len(targets)
            if on_batch is not None:
                on_batch(done)
    # Moved off the device once, not once per batch.
    per_sample = torch.cat(losses).cpu().numpy()
    if weights is None and not np.isfinite(per_sample).all():
        first = int(np.flatnonzero(~np.isfinite(per_sample))[0])
        raise NumericalError(
            f"The loss is not finite on sample {first} (of {len(per_sample)}); "
            "check that sample and the network's weights."
        )
    if weights is None and not isinstance(problem.metric, Metric):
        lost = (~torch.isfinite(torch.cat(correct))).nonzero()
        if len(lost):
            raise NumericalError(
                f"`metric` is not finite on sample {int(lost[0])} (of {len(per_sample)}) for the "
                "network as it was given; let the metric give a finite number there."
            )
    found = torch.cat(bent).cpu().numpy() if curvatures else None
    scores, points = _settled(problem, correct, wanted)
    return Evaluation(per_sample, scores.numpy(), found, points)


TRIED = 8
"""Training samples on which a loss is tried for a second derivative."""


def loss_bends(problem: Problem) -> bool:
    """Whether the loss has a second derivative in the outputs. If not, the GGN is zero."""
    if isinstance(problem.loss, Loss):
        return True
    inputs, targets = next(iter(problem.train.batches(min(TRIED, len(problem.train)))))
    with torch.no_grad():
        outputs = problem.model(inputs)
    return has_curvature(problem.loss, outputs, targets)


LOOKED_AT = 3
"""Batches that are computed again before a stored evaluation is used. Code that no hash sees may
have changed."""


def _kept(
    problem: Problem,
    cache: Cache,
    split: Split,
    curvatures: bool,
    on_batch: Callable[[int], None] | None,
) -> Evaluation:
    """The result of :func:`evaluate`, from ``cache`` if it is there."""
    plain = dataclasses.replace(problem, cache=None)
    key = digest(
        (
            "evaluation 1",
            network_digest(problem.model),
            *code_of(problem),
            samples_digest(split),
            (problem.batch_size, str(problem.dtype)),
            environment(problem.device),
        )
    )
    found = _evaluation(cache.get(key), len(split))
    if found is not None and not _as_before(plain, split, found):
        cache.discard(key, "the network gives something else now")
        found = None
    if found is None or (curvatures and found.curvatures is None):
        found = evaluate(plain, split, curvatures=curvatures, on_batch=on_batch)
        tensors = {"losses": found.losses, "scores": found.correct}
        if found.curvatures is not None:
            tensors["curvatures"] = found.curvatures
        kept = {name: torch.from_numpy(each) for name, each in tensors.items()}
        cache.put(key, {**kept, "points": torch.tensor(found.points)})
    return found if curvatures else dataclasses.replace(found, curvatures=None)


def code_of(problem: Problem) -> tuple[str, str, str]:
    """Texts that differ where the code of the network, the loss or the metric does."""
    return network_code(problem.model), _code(problem.loss), _code(problem.metric)


def _code(judge: object) -> str:
    """A text that identifies a loss or a metric, ours or a user's own."""
    inner = getattr(judge, "function", judge)
    known = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{getattr(judge, 'name', '')} {getattr(judge, 'form', '')!r} {own_code(known)}"


def _evaluation(tensors: dict[str, Tensor] | None, count: int) -> Evaluation | None:
    """The stored evaluation, if it is one of ``count`` samples."""
    if tensors is None:
        return None
    points = tensors.pop("points", None)
    if points is None or not {"losses", "scores"} <= set(tensors):
        return None
    if any(each.shape != (count,) for each in tensors.values()):
        return None
    arrays = {name: each.numpy() for name, each in tensors.items()}
    return Evaluation(arrays["losses"], arrays["scores"], arrays.get("curvatures"), bool(points))


def _as_before(problem: Problem, split: Split, found: Evaluation) -> bool:
    """Whether the losses of the first, a middle and the last batch are those that were kept, to the
    last bit."""
    size, count = problem.batch_size, len(split)
    last = (count - 1) // size
    for place in sorted({0, last // 2, last})[:LOOKED_AT]:
        order = torch.arange(place * size, min(count, (place + 1) * size))
        with torch.no_grad():
            for inputs, targets in split.batches(size, order=order):
                losses = wide(problem.loss(problem.outputs(inputs), targets)).cpu().numpy()
                if not np.array_equal(losses, found.losses[order.numpy()][: len(losses)]):
                    return False
    return True
