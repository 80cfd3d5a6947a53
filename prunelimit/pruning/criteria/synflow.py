"""SynFlow: the flow of synaptic strength through the network, without data.

Source: Tanaka, Kunin, Yamins, Ganguli 2020. With R = 1^T (product over layers of |W|) 1, a weight's
score is |w| dR/d|w|; the scores of every layer that all paths pass sum to R.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...devices import wide, wide_device
from ...errors import InputError
from ...inputs.call import call
from ...inputs.problem import Problem, Split
from ...inputs.resolve import reason
from ...inputs.structure import mapped
from ...progress import Progress
from ..criterion import Criterion, Scores
from ..layers import prunable_part
from ..rounds import removal_order

NAME = "synflow"
ORDER = 5
SOURCE = (
    "Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively "
    "conserving synaptic flow. NeurIPS 2020"
)
HELP = "The share of all paths through the network that a weight carries; reads no data."

__all__ = ["CRITERION", "linear_twin", "synaptic_flow"]

KEPT_PER_ROUND = 0.96
"""Share of the weights left that a round keeps.

The paper takes 100 rounds of equal ratio to its target. For a hundredfold compression that is 0.955
a round. A fixed ratio makes one order of removal that serves every sparsity."""

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Hardtanh, nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Softsign,
    nn.LogSigmoid, nn.Softmax, nn.LogSoftmax, nn.Dropout,
)  # fmt: skip
LAST_DIMENSIONS = (nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, *LAST_DIMENSIONS)


class _Scaling(nn.Module):
    """A normalisation layer without its statistics of the batch and its shift: |scale| only.

    It has the attributes that networks read from such a layer (torch's transformer layers read all
    three).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: Any) -> None:
        super().__init__()
        scale = torch.ones(()) if norm.weight is None else norm.weight.detach().abs()
        variance = getattr(norm, "running_var", None)
        if isinstance(variance, Tensor):
            scale = scale / (variance + norm.eps).sqrt()
        self.channels = scale.ndim == 1 and not isinstance(norm, LAST_DIMENSIONS)
        self.eps = norm.eps
        self.register_buffer("weight", scale)
        self.register_buffer("bias", torch.zeros_like(scale))

    def forward(self, inputs: Tensor) -> Tensor:
        scale = self.weight
        if self.channels:
            scale = scale.view(-1, *[1] * (inputs.ndim - 2))
        return inputs * scale


def linear_twin(model: nn.Module) -> nn.Module:
    """A float64 copy of ``model`` with |w| for w, no biases and no activation.

    Normalisation layers become scalings by |gamma| / sqrt(running variance + eps), which is
    |gamma| for those without running statistics. Activations that are called as functions, not
    modules, stay. Of these, relu changes nothing where all is positive.
    """
    where = wide_device(next(model.parameters()).device)
    twin = copy.deepcopy(model).to(where, torch.float64).eval()
    for owner in list(twin.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, ACTIVATIONS):
                setattr(owner, name, nn.Identity())
            elif isinstance(child, NORMS):
                setattr(owner, name, _Scaling(child))
    with torch.no_grad():
        for module in twin.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias" or name.endswith("_bias"):
                    parameter.zero_()
                else:
                    parameter.abs_()
    return twin


def _ones(like: Tensor) -> Tensor:
    """Ones in the place of numbers. A mask becomes one in which everything counts."""
    ones = torch.ones_like(like)
    return ones if like.dtype == torch.bool else wide(ones)


class _Flow:
    def __init__(self, problem: Problem, split: Split) -> None:
        self.problem = problem
        self.twin = linear_twin(problem.model)
        inputs, _ = next(iter(split.batches(1)))
        self.magnitudes = wide(problem.vector().abs())
        self.inputs = mapped(lambda each: _ones(each).to(self.magnitudes.device), inputs)
        # The twin lost its norms, but the free parameters are none of theirs.
        self.names = set(dict(self.twin.named_parameters()))

    def scores(self, mask: Tensor) -> Tensor:
        """(P,) of the network with zeros where ``mask`` (D,) is False."""
        gone = ~mask.to(self.magnitudes.device)
        leaf = self.magnitudes.masked_fill(gone, 0).requires_grad_()
        pieces = self.problem.layout.unflatten(leaf)
        weights = {
            name: torch.zeros_like(piece) if name.endswith("bias") else piece
            for name, piece in pieces.items()
            if name in self.names
        }
        try:
            flow = call(self.twin, weights, self.inputs).sum()
            (gradient,) = torch.autograd.grad(flow, leaf)
        except RuntimeError as error:
            raise InputError(
                f"SynFlow cannot follow an input of ones through the network ({reason(error)}); "
                "choose another `criterion`."
            ) from error
        return prunable_part(self.problem, (leaf * gradient).detach())


def synaptic_flow(problem: Problem, split: Split, mask: Tensor | None = None) -> Tensor:
    """|w| dR/d|w| of one round; float64, (P,), zero where ``mask`` (bool, (D,)) is False."""
    flow = _Flow(problem, split)
    every = torch.ones(problem.layout.size, dtype=torch.bool)
    return flow.scores(every if mask is None else mask)


def _synflow(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """The place of each weight in the order of removal. Each round removes the smallest scores of
    what is left. Of the data, only the shape of a sample is read.

    Tanaka et al. 2020, algorithm 1, with rounds of a fixed ratio. Scores are places 0 to P - 1.
    If R is above the largest float64, there are no scores.
    """
    flow = _Flow(problem, split)
    where = wide_device(problem.device)
    prunable = problem.prunable_mask().to(where)

    def judge(kept: Tensor) -> Tensor:
        mask = torch.ones_like(prunable)
        mask[prunable] = kept
        return flow.scores(mask)

    # Once every score is zero there are no paths left, and the rest goes by index.
    every = torch.ones(int(prunable.sum()), dtype=torch.bool, device=where)
    told = "following the flow"
    return Scores(removal_order(judge, every, KEPT_PER_ROUND, told=told, progress=progress))


CRITERION = Criterion(NAME, SOURCE, HELP, reads="weights", function=_synflow)
