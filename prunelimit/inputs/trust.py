"""Whether a network can be trusted to be what everything here takes it for. That is a function that
gives every sample its own outputs, the same each time, and ends in what the loss wants."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import wide
from ..errors import InputError, NumericalError, shown
from .call import call
from .loss import Loss, is_cross_entropy, name_of
from .metric import Metric
from .problem import Problem, SampleLoss
from .resolve import reason
from .structure import Inputs, cloned, leaves, mapped, words_of_shape

__all__ = ["check_network", "check_plausible", "passed"]

COMPANY = 16
"""Samples that are passed together."""

ALONE = 4
"""How many of them are passed alone too."""

ROUNDING = 1e3
"""Units of rounding by which outputs may differ, relative to the largest."""

PROBABILITIES = 1e-4
"""How near to one the outputs of a sample sum if they are probabilities."""

JUDGED = 256
"""Test samples that the plausibility of loss and accuracy is read from."""

ONE_ALONE = "Expected more than 1 value per channel"
"""What torch says of a normalisation by the statistics of a batch of one."""

NO_STATISTICS = (
    "let it use no statistics of the batch in eval mode (is there a normalisation without running "
    "statistics?)"
)
OF_DTYPES = re.compile("dtype|scalar type|Input type", re.IGNORECASE)
"""How torch's messages of tensors with unlike dtypes are known."""

FAR = 0.1
"""It is reported if the accuracy is below what the file claims by more than this and sampling
error."""


def check_network(problem: Problem, spec: str) -> None:
    """Pass some samples through the network, together, again, and alone.

    Raises:
        InputError: it takes no such inputs; it writes to them; its buffers or outputs change from
            pass to pass; a sample's outputs depend on the others; or it ends in probabilities
            where the loss wants logits.
        NumericalError: an output is NaN.
    """
    count = min(COMPANY, len(problem.train))
    inputs, targets = next(iter(problem.train.batches(count)))
    before = cloned(inputs)
    kept = _buffers(problem.model, persistent=True)
    outputs = _passed(problem, inputs, spec)
    if not all(map(_equal, leaves(inputs), leaves(before))):
        raise InputError(
            f"{spec} writes to its inputs (as x -= 1 does); let the network make new tensors (x = "
            "x - 1)."
        )
    _check_shape(problem, outputs, targets, spec)
    _check_metric(problem, outputs, targets)
    if bool(torch.isnan(outputs).any()):
        raise NumericalError(f"{spec} gives NaN on the first samples; check its weights and data.")
    _check_buffers(kept, _buffers(problem.model, persistent=True), spec)
    kept = _buffers(problem.model, persistent=False)
    again = _passed(problem, inputs, spec)
    _check_buffers(kept, _buffers(problem.model, persistent=False), spec)
    if _differ(outputs, again):
        raise InputError(
            f"{spec} gives other outputs when the same samples are passed again; make its eval "
            "mode deterministic (is a dropout left on, or a running mean moved?)."
        )
    _check_alone(problem, inputs, outputs, spec)
    if is_cross_entropy(problem.loss) and _are_probabilities(outputs):
        raise InputError(
            f"{spec} ends in probabilities, and cross-entropy takes logits; leave out the softmax "
            "at its end, or make it log_softmax."
        )
    if name_of(problem.loss) == "bce" and _are_chances(outputs):
        raise InputError(
            f"{spec} ends in probabilities, and bce takes logits; leave out the sigmoid at its end."
        )


def passed(problem: Problem, inputs: Inputs, spec: str) -> Tensor:
    """Outputs of the network ``spec`` for ``inputs``.

    Raises:
        InputError: it fails, or gives no floating-point numbers.
    """
    found: Any = _passed(problem, cloned(inputs), spec)
    if not isinstance(found, Tensor):
        raise InputError(
            f"{spec} gives a {type(found).__name__}; let it return a tensor of outputs, or "
            "something with .logits."
        )
    if not found.is_floating_point():
        kind = _name(found.dtype)
        raise InputError(f"{spec} gives {kind} outputs; let it return floating-point logits.")
    return found


def _passed(problem: Problem, inputs: Inputs, spec: str) -> Tensor:
    try:
        with torch.no_grad():
            return problem.outputs(inputs)
    except InputError as error:
        raise InputError(f"{spec}: {error}") from error
    except SystemExit as error:
        raise InputError(
            f"{spec} calls sys.exit({error.code!r}) in its forward; let it raise an error that "
            "says what is wrong."
        ) from error
    except Exception as error:
        if ONE_ALONE in str(error):
            raise InputError(f"{spec} cannot take one sample alone; {NO_STATISTICS}.") from error
        every = leaves(inputs)
        hint = ""
        if OF_DTYPES.search(str(error)):
            if any(not each.is_floating_point() for each in every):
                hint = ", or give inputs as floating-point numbers where they are no codes"
            else:
                hint = (
                    f". All its weights are {_name(problem.dtype)} here, so let its forward cast "
                    "to no other dtype"
                )
        kind = ", ".join(_name(each.dtype) for each in every)
        raise InputError(
            f"{spec} cannot take inputs of shape {words_of_shape(inputs)}, {kind} "
            f"({reason(error)}); check `model` and `data`{hint}."
        ) from error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_shape(problem: Problem, outputs: Any, targets: Tensor, spec: str) -> None:
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"{spec} gives a {type(outputs).__name__}; let it return a tensor of outputs, or "
            "something with .logits."
        )
    if not outputs.is_floating_point():
        kind = _name(outputs.dtype)
        raise InputError(f"{spec} gives {kind} outputs; let it return floating-point logits.")
    if not outputs.ndim:
        raise InputError(
            f"{spec} gives a single number for {len(targets)} samples; let it give one row of "
            "outputs for each sample."
        )
    if len(outputs) != len(targets):
        raise InputError(
            f"{spec} gives {len(outputs)} outputs for {len(targets)} samples; let it give one for "
            "each sample."
        )
    if not is_cross_entropy(problem.loss) or targets.ndim > 1 or targets.is_floating_point():
        _check_loss(problem, outputs, targets, spec)
        return
    if outputs.ndim != targets.ndim + 1:
        raise InputError(
            f"{spec} gives {tuple(outputs.shape[1:])} for one sample; classification needs one row "
            "of logits."
        )
    if outputs.shape[1] < problem.classes:
        raise InputError(
            f"The label {problem.classes - 1} is out of range: {spec} has {outputs.shape[1]} "
            "outputs; check `data`."
        )


def _check_loss(problem: Problem, outputs: Tensor, targets: Tensor, spec: str) -> None:
    """A loss gives one number per sample, that of the sample alone, and has a derivative."""
    try:
        with torch.no_grad():
            losses: Any = problem.loss(outputs.clone(), targets.clone())
    except Exception as error:
        raise InputError(
            f"`loss` fails on outputs {tuple(outputs.shape)} of {spec} and targets "
            f"{tuple(targets.shape)} ({reason(error)}); check `model` and `loss`."
        ) from error
    if not isinstance(losses, Tensor) or losses.shape != (len(outputs),):
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise InputError(
            f"`loss` gives {shape} for {len(outputs)} samples; let it give one number per sample, "
            "as torch's do with reduction='none'."
        )
    if not isinstance(problem.loss, Loss):
        _check_judge("loss", problem.loss, outputs, targets)
    if not _differentiable(problem, outputs, targets):
        raise InputError(
            f"`loss` gives {losses.dtype} without a derivative in the outputs of {spec}; let it "
            "give floating-point numbers that are computed from the outputs, without argmax or "
            "rounding."
        )


def _check_metric(problem: Problem, outputs: Tensor, targets: Tensor) -> None:
    """A metric can be taken; one of the user's own gives each sample its own number."""
    metric = problem.metric
    if metric is None:
        return
    try:
        with torch.no_grad():
            scores: Any = torch.as_tensor(metric(outputs.clone(), targets.clone()))
        scores.cpu().to(torch.float64)
    except Exception as error:
        raise InputError(
            f"`metric` fails on outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} "
            f"({reason(error)}); check `metric`."
        ) from error
    if not isinstance(metric, Metric) and scores.shape == (len(targets),):
        _check_judge("metric", metric, outputs, targets)


def _check_judge(name: str, judge: SampleLoss, outputs: Tensor, targets: Tensor) -> None:
    """A loss or metric of the user's own must not write to its arguments. It has to give a sample
    the same number again, and alone."""

    def judged(outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            found = torch.as_tensor(judge(outputs, targets)).detach()
        return found.to(outputs.dtype).nan_to_num()

    own = outputs.clone(), targets.clone()
    together = judged(*own)
    if not (_equal(own[0], outputs) and _equal(own[1], targets)):
        raise InputError(
            f"`{name}` writes to the outputs or targets that it is given; let it make new tensors "
            "(o = o - 1, not o -= 1)."
        )
    if _differ(together, judged(outputs.clone(), targets.clone())):
        raise InputError(
            f"`{name}` gives other numbers when the same outputs are judged again; let it use no "
            "random numbers and keep no state."
        )
    try:
        few = range(min(2, len(outputs)))
        alone = [judged(outputs[k : k + 1].clone(), targets[k : k + 1].clone()) for k in few]
        apart = len(outputs) > 1 and _differ(together[:2], torch.cat([a.view(1) for a in alone]))
    except Exception as error:
        raise InputError(
            f"`{name}` fails on a sample alone ({reason(error)}); let it take any number of "
            "samples."
        ) from error
    if apart:
        raise InputError(
            f"`{name}` gives a sample one number alone and another one in a batch; let it compare "
            f"each sample's outputs {tuple(outputs.shape[1:])} only with its own targets "
            f"{tuple(targets.shape[1:])} (is it a mean of the batch, or do shapes broadcast?)."
        )


def _differentiable(problem: Problem, outputs: Tensor, targets: Tensor) -> bool:
    """Whether the loss can be differentiated in the outputs."""
    leaf = outputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        losses = problem.loss(leaf, targets.clone())
    return losses.is_floating_point() and losses.requires_grad


def _buffers(model: nn.Module, *, persistent: bool) -> dict[str, Tensor]:
    """Copies of what a network holds beside its parameters; only what files keep of it, or all."""
    kept = set(model.state_dict()) if persistent else None
    return {
        name: buffer.detach().clone()
        for name, buffer in model.named_buffers()
        if kept is None or name in kept
    }


def _check_buffers(before: Mapping[str, Tensor], after: Mapping[str, Tensor], spec: str) -> None:
    for name, buffer in before.items():
        if name not in after or not _equal(buffer, after[name]):
            raise InputError(
                f"{spec} changes its buffer {shown(name)} in eval mode, so that a sample's "
                "outputs depend on the samples before it; let the buffer change only in train "
                "mode."
            )


def _equal(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are the same, NaN being NaN."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.is_floating_point() or left.is_complex():
        return bool(((left == right) | (left.isnan() & right.isnan())).all())
    return torch.equal(left, right)


def _differ(left: Tensor, right: Tensor, slack: float | None = None) -> bool:
    """Whether outputs differ by more than rounding; infinities are equal to themselves."""
    if left.shape != right.shape:
        return True
    finite = left[torch.isfinite(left)]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    if slack is None:
        slack = ROUNDING * torch.finfo(left.dtype).eps
    apart = (left != right) & ~((left - right).abs() <= slack * largest)
    return bool(apart.any())


def _check_alone(problem: Problem, inputs: Inputs, together: Tensor, spec: str) -> None:
    if len(together) < 2:
        return
    count = len(together)
    places = [round(k * (count - 1) / max(1, ALONE - 1)) for k in range(ALONE)]
    chosen = sorted({place for place in places if place < count})
    # The sample as the data give it alone, without the padding that other samples add.
    alone = [next(iter(problem.train.batches(1, order=torch.tensor([place])))) for place in chosen]
    outputs = [_passed(problem, each, spec) for each, _ in alone]
    rows = torch.tensor(chosen, device=together.device)
    if all(each.shape[1:] == together.shape[1:] for each in outputs):
        if not _differ(together[rows], torch.cat(outputs)):
            return
    else:
        # The lengths differ, so losses are compared, which leave padding out.
        _check_lengths(problem, together, alone, outputs, rows, spec)
        return
    # Kernels for other sizes round differently, and a deep network amplifies that. In float64 the
    # rest is negligible beside the effect of mixing samples.
    exact = _in_float64(problem, inputs, [each for each, _ in alone], rows)
    if exact is not None and not _differ(*exact, slack=1e-7):
        return
    if exact is None and not _differ(together[rows], torch.cat(outputs), slack=1e-2):
        return
    raise InputError(
        f"{spec} gives a sample some outputs alone and others in a batch; {NO_STATISTICS}, and let "
        "it ignore padding."
    )


def _check_lengths(
    problem: Problem,
    together: Tensor,
    alone: list[tuple[Inputs, Tensor]],
    outputs: list[Tensor],
    rows: Tensor,
    spec: str,
) -> None:
    """Compare the losses of samples that are padded in company and not alone."""
    count = len(together)
    _, targets = next(iter(problem.train.batches(count)))
    with torch.no_grad():
        mine = problem.loss(together, targets)[rows]
        theirs = torch.cat(
            [problem.loss(each, one) for each, (_, one) in zip(outputs, alone, strict=True)]
        )
    if _differ(mine, theirs, slack=1e-3):
        raise InputError(
            f"{spec} gives a sample one loss alone and another one when it is padded in a batch; "
            "mask the padding in the network, and mark it with `ignore_index` in the targets."
        )


def _in_float64(
    problem: Problem, inputs: Inputs, alone: list[Inputs], rows: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Outputs of the samples ``rows`` in company and alone; None without float64."""

    def exact(inputs: Inputs) -> Inputs:
        return mapped(lambda x: x.to(torch.float64) if x.is_floating_point() else x, inputs)

    try:
        twin = copy.deepcopy(problem.model).to(torch.float64)
        with torch.no_grad():
            together = call(twin, {}, exact(inputs))[rows]
            each = torch.cat([call(twin, {}, exact(one)) for one in alone])
    except Exception:  # whatever a network raises whose types are fixed
        return None
    return together, each


def _are_probabilities(outputs: Tensor) -> bool:
    """Whether every row is of numbers from 0 to 1 that sum to one."""
    if outputs.ndim < 2 or outputs.shape[1] < 2 or len(outputs) < 2:
        return False
    axes = (1,) if outputs.ndim == 2 else (1, outputs.ndim - 1)
    whole = any(
        bool((outputs.sum(axis) - 1).abs().max() <= PROBABILITIES)
        for axis in axes
        if outputs.shape[axis] > 1
    )
    return bool((outputs >= 0).all() and (outputs <= 1).all()) and whole


def _are_chances(outputs: Tensor) -> bool:
    """Whether all of many outputs are numbers from 0 to 1."""
    return outputs.numel() >= COMPANY and bool(((outputs >= 0) & (outputs <= 1)).all())


def check_plausible(problem: Problem, claimed: float | None, path: str) -> list[str]:
    """What is to be said of the network's loss and accuracy on some test samples.

    ``claimed`` is the accuracy, from 0 to 1, that the file at ``path`` says it has.
    """
    if not is_cross_entropy(problem.loss) or problem.classes < 2:
        return []
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    chances = True
    some = problem.test.subset(JUDGED, problem.seed)
    with torch.no_grad():
        for inputs, targets in some.batches(min(problem.batch_size, 64)):
            outputs = problem.outputs(inputs)
            if outputs.ndim != 2 or targets.ndim != 1:
                return []
            lively = bool((outputs.amax(1) > outputs.amin(1)).all())
            chances = chances and lively and _are_chances(outputs)
            losses.append(wide(problem.loss(outputs, targets)).cpu())
            correct.append((outputs.argmax(1) == targets).cpu())
    every, right = torch.cat(losses), torch.cat(correct).double()
    if not bool(torch.isfinite(every).all()):
        return []  # said, with the sample, by whoever evaluates
    if chances:
        return [
            "All outputs are from 0 to 1, like those of a sigmoid, and cross-entropy takes "
            "logits; leave out the network's last activation, or name the `loss` that the network "
            "was trained with."
        ]
    loss, accuracy = float(every.mean()), float(right.mean())
    cause = "the usual cause is inputs that are not normalised as in training (`mean`, `std`)"
    if claimed is not None:
        error = 2 * math.sqrt(max(0.25 / len(right), 1e-9))
        if accuracy < claimed - FAR - error:
            return [
                f"The accuracy is {accuracy:.1%} on {len(right)} test samples, far below the "
                f"{claimed:.2%} that {path} claims; {cause}."
            ]
    guess = math.log(problem.classes)
    if loss > guess + 2 * float(every.std()) / math.sqrt(len(every)) + 0.1:
        return [
            f"The loss is {loss:.3g} on {len(right)} test samples, above the {guess:.3g} of "
            f"guessing among {problem.classes} classes; {cause}, or weights that are not trained."
        ]
    return []
