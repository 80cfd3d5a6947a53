"""The loss and the metric that judge a network: those named, or those that suit the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import plugins
from ..errors import InputError, UsageError
from ..values import is_attribute
from .loss import DEFAULT_FORM, Form, Loss, is_cross_entropy, name_of
from .metric import Metric
from .problem import Problem, SampleLoss
from .resolve import module_of, resolve_attribute
from .targets import Targets
from .trust import passed

__all__ = ["Wanted", "judged", "named"]


@dataclass(frozen=True)
class Wanted:
    """The loss and the metric that were named, and the target value that does not count.

    ``names`` are what results call a loss and a metric of a file. ``said`` are sentences on where
    they come from.
    """

    loss: Loss | SampleLoss | None = None
    metric: Metric | SampleLoss | None = None
    ignored: int = DEFAULT_FORM.ignored
    names: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()


def named(
    loss: str | Callable[..., Any] | None,
    metric: str | Callable[..., Any] | None,
    ignored: int | None,
    files: Iterable[str | None] = (),
) -> Wanted:
    """The ``loss`` and the ``metric``: each a built-in name, FILE.py:ATTR, or a function.

    ``files`` are specs of a user's own code. If the loss or the metric is not named, a function of
    that name is taken from the first file that has one, and a sentence says so.

    Raises:
        UsageError: there is none of that name.
        InputError: a file cannot be imported, or holds no function of that name.
    """
    if ignored is not None and not -(2**63) <= ignored < 2**63:
        raise UsageError(f"`ignore_index` is {ignored}; give a class that fits into 64 bits.")
    said: list[str] = []
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    files = tuple(files)
    for kind, given in (("loss", loss), ("metric", metric)):
        if given is None:
            for spec in files:
                own = getattr(module_of(spec), kind, None)
                if callable(own) and spec is not None:
                    found[kind], names[kind] = own, f"{spec.rpartition(':')[0]}:{kind}"
                    said.append(f"The {kind} is {names[kind]}.")
                    break
        elif not isinstance(given, str):
            if not callable(given):
                raise UsageError(
                    f"`{kind}` is a {type(given).__name__}; give a name or a function of outputs "
                    "and targets."
                )
            found[kind] = given
        elif is_attribute(given):
            found[kind], names[kind] = resolve_attribute(given), given
            if not callable(found[kind]):
                raise InputError(
                    f"{given} is a {type(found[kind]).__name__}; name a function of outputs and "
                    "targets."
                )
        else:
            found[kind] = plugins.find(kind, given)
    ignored = DEFAULT_FORM.ignored if ignored is None else ignored
    return Wanted(found.get("loss"), found.get("metric"), ignored, names, tuple(said))


def judged(
    problem: Problem, spec: str, targets: Targets, wanted: Wanted
) -> tuple[Problem, tuple[str, ...]]:
    """``problem`` with its loss and its metric, and sentences on how they were chosen.

    If the loss or the metric is not named, the targets decide, and the outputs of the network
    ``spec`` for a few samples.

    Raises:
        InputError: outputs and targets do not go together.
    """
    said = list(wanted.said)
    form = dataclasses.replace(DEFAULT_FORM, ignored=wanted.ignored)
    loss = wanted.loss
    if targets.labels and (loss is None or is_cross_entropy(loss)):
        loss = _formed(plugins.find("loss", "cross-entropy"), form)
        outputs = some = None
    else:
        inputs, some = next(iter(problem.train.batches(min(4, len(problem.train)))))
        outputs = _outputs(problem, inputs, some, spec)
        if loss is None:
            loss = plugins.find("loss", _usual(spec, targets, outputs, some))
        assert some is not None
        axis, doubt = _axis(outputs, some)
        form = dataclasses.replace(form, axis=axis)
        if isinstance(loss, Loss):
            loss = _formed(loss, form)
        if doubt and is_cross_entropy(loss):
            said.append(
                f"The outputs {tuple(outputs.shape[1:])} of a sample are read with the classes in "
                f"{'their first' if axis == 1 else 'their last'} dimension."
            )
        if isinstance(loss, Loss):
            _check_taken("loss", loss.name, targets, outputs, some)
    metric = wanted.metric
    if isinstance(metric, Metric):
        _check_taken("metric", metric.name, targets, outputs, some)
    if metric is None:
        metric = _usual_metric(loss, targets, outputs)
    if isinstance(metric, Metric):
        metric = dataclasses.replace(metric, form=form)
    chosen = [
        f"the {kind} is {name_of(each)} (`{kind}`)"
        for kind, each, given in (("loss", loss, wanted.loss), ("metric", metric, wanted.metric))
        if given is None
    ]
    if outputs is not None and chosen:
        said.append(f"The targets are {targets.words()}; {' and '.join(chosen)}.")
    problem = dataclasses.replace(problem, loss=loss, metric=metric)
    return problem, tuple(said)


def _negative_loss(loss: SampleLoss) -> Metric:
    """Minus the loss, as a metric: for a loss of a user's own on targets of any form."""

    def score(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
        return -loss(outputs, targets).detach()

    return Metric(
        "negative-loss",
        "the loss",
        "Minus the loss of a sample; has no points.",
        function=score,
        points=False,
        worst=-1e30,
    )


TAKEN = {
    "classes": "classes, of samples or of positions, and probabilities of classes",
    "answers": "numbers from 0 to 1, one for each output",
    "numbers": "numbers, one for each output",
}
"""Targets that losses and metrics take, by the literal ``TARGETS`` of their files."""


def _check_taken(
    kind: str, name: str, targets: Targets, outputs: Tensor | None, some: Tensor | None
) -> None:
    """Refuse a loss or a metric by name whose numbers would mean nothing.

    Raises:
        InputError: it takes other targets, or other outputs for them.
    """
    taken = str(plugins.named(kind, name).facts.get("targets", ""))
    if taken not in TAKEN:
        return
    if outputs is None or some is None:
        suits = taken == "classes"
    elif taken == "classes":
        suits = targets.shares if targets.numbers else _fits(outputs, some)
        suits = suits and (not targets.numbers or _alike(outputs, some))
    else:
        within = targets.lowest >= 0 and targets.highest <= 1
        suits = _alike(outputs, some) and (taken == "numbers" or within)
    if not suits:
        sizes = "" if outputs is None else f", with outputs {tuple(outputs.shape[1:])}"
        raise InputError(
            f"`{kind}` {name} is for {TAKEN[taken]}; the targets are {targets.words()}{sizes}. "
            f"Choose another `{kind}`."
        )


def _alike(outputs: Tensor, targets: Tensor) -> bool:
    """Whether there is one target for each output."""
    return len(outputs) == len(targets) and outputs.numel() == targets.numel()


def _formed(loss: Loss, form: Form) -> Loss:
    return loss if loss.form == form else dataclasses.replace(loss, form=form)


def _outputs(problem: Problem, inputs: Any, targets: Tensor, spec: str) -> Tensor:
    outputs: Any = passed(problem, inputs, spec)
    if len(outputs) != len(targets):
        raise InputError(
            f"{spec} gives {len(outputs)} outputs for {len(targets)} samples; let it give one for "
            "each sample."
        )
    return outputs  # type: ignore[no-any-return]


def _usual(spec: str, targets: Targets, outputs: Tensor, some: Tensor) -> str:
    """The name of the loss that suits the targets."""
    shapes = f"a sample has outputs {tuple(outputs.shape[1:])} and targets {tuple(some.shape[1:])}"
    alike = _alike(outputs, some)
    if not targets.numbers:
        if _fits(outputs, some):
            return "cross-entropy"
        if alike and targets.binary:
            return "bce"
        raise InputError(
            f"{spec} and the data do not go together: {shapes}, and the targets are integers; let "
            "the network give (classes, ...) or (..., classes) for targets (...), or give `loss`."
        )
    if not alike:
        raise InputError(
            f"{spec} and the data do not go together: {shapes}, and the targets are numbers; give "
            "one target for each output, class numbers of an integer type, or `loss`."
        )
    if targets.shares and some.ndim > 1:
        return "cross-entropy"
    return "bce" if targets.binary else "mse"


def _usual_metric(loss: Any, targets: Targets, outputs: Tensor | None) -> Metric:
    found: Metric
    if isinstance(loss, Loss):
        facts = plugins.named("loss", loss.name).facts
        name = str(facts.get("metric", "negative-loss"))
    elif targets.labels and (outputs is None or outputs.ndim == 2):
        name = "accuracy"
    elif (
        targets.numbers
        and outputs is not None
        and outputs.shape[1:].numel() == torch.Size(targets.shape).numel()
    ):
        name = "r2"
    else:
        name = "negative-loss"
    if name == "negative-loss":
        return _negative_loss(loss)
    found = plugins.find("metric", name)
    return found


def _fits(outputs: Tensor, targets: Tensor) -> bool:
    """Whether outputs are logits of the classes ``targets``."""
    if outputs.ndim != targets.ndim + 1:
        return False
    return targets.shape in (outputs.shape[:-1], outputs.shape[:1] + outputs.shape[2:])


def _axis(outputs: Tensor, targets: Tensor) -> tuple[int, bool]:
    """The dimension of the outputs that holds the classes, and whether another could."""
    if outputs.ndim <= 2:
        return 1, False
    if targets.is_floating_point() or outputs.ndim != targets.ndim + 1:
        return (outputs.ndim - 1 if outputs.ndim == 3 else 1), False
    last = outputs.shape[:-1] == targets.shape
    second = outputs.shape[:1] + outputs.shape[2:] == targets.shape
    if last and second:
        # Transformers give classes of tokens last, convolutions give classes of images first.
        return (2 if targets.ndim == 2 else 1), True
    return (outputs.ndim - 1 if last else 1), False
