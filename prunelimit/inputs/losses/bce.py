"""Binary cross-entropy: several yes-or-no answers per sample."""

from __future__ import annotations

from torch import Tensor, nn

from ..loss import Form, Loss, like_outputs

NAME = "bce"
ORDER = 3
METRIC = "label-accuracy"
TARGETS = "answers"
SOURCE = "torch.nn.functional.binary_cross_entropy_with_logits"
HELP = "Binary cross-entropy of logits, nats, mean over a sample's outputs."

__all__ = ["LOSS"]


def _mean(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)


def _bce(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    wanted = like_outputs(targets, outputs)
    return _mean(nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none"))


def _curved(outputs: Tensor) -> Tensor:
    return outputs.sigmoid() * (-outputs).sigmoid()


def _root(outputs: Tensor, targets: Tensor, form: Form, directions: Tensor) -> Tensor:
    return directions * (_curved(outputs) / outputs[0].numel()).sqrt()


def _trace(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    return _mean(_curved(outputs))


def _divergence(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    """Kullback-Leibler divergence from the dense network's answers, mean over them; nats."""
    logs = nn.functional.logsigmoid
    yes = dense.sigmoid() * (logs(dense) - logs(outputs))
    no = (-dense).sigmoid() * (logs(-dense) - logs(-outputs))
    return _mean(yes + no)


def _distance(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    """The divergence at a high temperature: p (1 - p) is a quarter there."""
    return _mean((outputs - dense).square()) / 8


LOSS = Loss(
    NAME,
    SOURCE,
    HELP,
    function=_bce,
    root=_root,
    trace=_trace,
    divergence=_divergence,
    distance=_distance,
)
