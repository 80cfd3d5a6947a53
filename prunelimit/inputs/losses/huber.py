"""Huber's loss: squared for errors up to one, straight beyond."""

from __future__ import annotations

from torch import Tensor

from ..loss import Form, Loss, like_outputs

NAME = "huber"
ORDER = 4
METRIC = "r2"
TARGETS = "numbers"
SOURCE = "Huber: Robust Estimation of a Location Parameter. 1964"
HELP = "Half the squared error up to 1 and straight beyond, mean over a sample's outputs."

__all__ = ["LOSS"]


def _mean(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)


def _each(errors: Tensor) -> Tensor:
    near = errors.clamp(-1, 1)
    return near * errors - near.square() / 2


def _huber(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    return _mean(_each(outputs - like_outputs(targets, outputs)))


def _curved(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - like_outputs(targets, outputs)).abs() <= 1).to(outputs.dtype)


def _root(outputs: Tensor, targets: Tensor, form: Form, directions: Tensor) -> Tensor:
    return directions * (_curved(outputs, targets) / outputs[0].numel()).sqrt()


def _trace(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    return _mean(_curved(outputs, targets))


def _divergence(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    return _mean(_each(outputs - dense))


def _distance(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    return _mean((outputs - dense).square()) / 2


LOSS = Loss(
    NAME,
    SOURCE,
    HELP,
    function=_huber,
    root=_root,
    trace=_trace,
    divergence=_divergence,
    distance=_distance,
)
