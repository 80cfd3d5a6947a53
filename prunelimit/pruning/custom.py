"""A criterion by the name that a user gives: a name, ``path/to/file.py:attr`` or
``package.mod:attr``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import plugins
from ..devices import wide, wide_device
from ..errors import InputError
from ..inputs.problem import Problem, Split
from ..inputs.resolve import reason, resolve_attribute
from ..progress import Progress
from ..values import is_attribute
from .criterion import Criterion, Scores
from .layers import prunable_layers

__all__ = ["custom_criterion", "find_criterion"]


def find_criterion(name: str) -> Criterion:
    """The criterion of that name, or the user's own that FILE.py:ATTR names.

    Raises:
        UsageError: there is none of that name.
        InputError: it cannot be imported, or is no criterion.
    """
    if is_attribute(name):
        return custom_criterion(name)
    found: Criterion = plugins.find("criterion", name)
    return found


def custom_criterion(spec: str) -> Criterion:
    """The criterion that ``spec`` names.

    The attribute is a :class:`Criterion`, or a callable that returns scores, the highest of which
    are kept. The callable takes a :class:`~prunelimit.inputs.problem.Problem`, whose ``train``
    holds the calibration samples. Scores are a mapping from the name of every prunable tensor to a
    tensor of its shape, or one tensor (P,) in the order of ``problem.prunable_mask()``.

    Raises:
        InputError: the attribute cannot be imported or called; later, it returns something else
            than such scores.
    """
    found = resolve_attribute(spec)
    if isinstance(found, Criterion):
        return found
    if not callable(found):
        raise InputError(
            f"{spec} is a {type(found).__name__}, not a criterion; make it a function of the "
            "problem that returns one score per prunable weight."
        )

    def judge(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
        try:
            scores = found(dataclasses.replace(problem, train=split, seed=seed))
        except Exception as error:
            raise InputError(
                f"The criterion {spec} fails ({reason(error)}); correct its code."
            ) from error
        return Scores(_flat(spec, problem, scores))

    return Criterion(spec, "the user's own", "", reads="labels", function=judge)


def _flat(spec: str, problem: Problem, scores: Any) -> Tensor:
    layers, where = prunable_layers(problem), wide_device(problem.device)
    if isinstance(scores, Mapping):
        wanted = [layer.name for layer in layers]
        for name in (*scores, *wanted):
            if (name in scores) != (name in wanted):
                what = "scores nothing" if name in wanted else "scores something not prunable"
                raise InputError(
                    f"The criterion {spec} {what}: {name}; return one tensor for each of "
                    "problem.prunable."
                )
        pieces = []
        for layer in layers:
            piece = _tensor(spec, scores[layer.name])
            if piece.shape != layer.shape:
                raise InputError(
                    f"The criterion {spec} gives {layer.name} scores of shape "
                    f"{tuple(piece.shape)}; give the scores the shape of the weight, "
                    f"{tuple(layer.shape)}."
                )
            pieces.append(piece.reshape(-1).to(where))
        flat = torch.cat(pieces)
    else:
        flat = _tensor(spec, scores).to(where)
        if flat.shape != (layers[-1].stop,):
            raise InputError(
                f"The criterion {spec} returns shape {tuple(flat.shape)}; return a mapping by "
                f"name, or one score for each of the {layers[-1].stop} prunable weights."
            )
    if not bool(torch.isfinite(flat).all()):
        raise InputError(
            f"The criterion {spec} returns a NaN or infinity; give every weight a finite score."
        )
    return flat


def _tensor(spec: str, value: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(value).detach()
        if tensor.is_complex():
            raise TypeError("complex")
        return wide(tensor)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The criterion {spec} returns a {type(value).__name__} ({reason(error)}); return "
            "tensors of real numbers."
        ) from error
