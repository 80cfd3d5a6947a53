"""Networks called with other weights: what they give, and that nothing stays of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from oracles import all_samples, dense_ggn, dense_hessian
from torch import Tensor, nn

from prunelimit import plugins
from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig, MeasureConfig
from prunelimit.curvature import CurvatureProduct
from prunelimit.inputs.call import call
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.measurement import measure
from prunelimit.pruning.selection import Selection
from prunelimit.values import SURVIVORS, Method


class Twice(nn.Module):
    """One layer under two names, one of them in a container, and called by both."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)
        self.again = nn.ModuleList([self.first])

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(torch.tanh(self.again[0](torch.tanh(self.first(x)))))
        return found


class Tied(nn.Module):
    """One weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return found


class Both(Tied):
    """One weight in two layers, of which one has two names; and a norm with two names."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.alias, self.norm_alias = self.second, self.norm

    def forward(self, x: Tensor) -> Tensor:
        middle = self.norm_alias(self.second(torch.tanh(self.norm(self.first(x)))))
        found: Tensor = self.last(torch.tanh(self.alias(torch.tanh(middle))))
        return found


class Bounded(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * torch.tanh(weight)


class Computed(Twice):
    """A layer under two names, and a weight that is computed."""

    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrize.register_parametrization(self.last, "weight", Bounded())


NETWORKS = {"twice": Twice, "tied": Tied, "both": Both, "computed": Computed}
each_network = pytest.mark.parametrize("name", NETWORKS)


def problem(name: str) -> Problem:
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    both = (torch.randn(24, 4), torch.arange(24) % 3)
    return problem_from_module(network, both, both, batch_size=7, dtype="float64")


def filled(model: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """A copy of ``model`` with ``tensors`` written into its parameters."""
    twin = copy.deepcopy(model)
    own = dict(twin.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    return twin


def contents(model: nn.Module) -> dict[str, tuple[int, Tensor]]:
    """What ``model`` holds, by every name: which tensors, and a copy of them."""
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: (id(held), held.detach().clone()) for name, held in named}


def unchanged(before: dict[str, tuple[int, Tensor]], model: nn.Module) -> bool:
    after = contents(model)
    return before.keys() == after.keys() and all(
        before[name][0] == after[name][0] and torch.equal(before[name][1], after[name][1])
        for name in before
    )


@each_network
def test_a_call_is_that_of_a_copy_and_leaves_nothing(name: str) -> None:
    found = problem(name)
    inputs, _ = all_samples(found)
    before = contents(found.model)
    for scale in (0.0, 0.5, 1.0, 2.0):
        tensors = found.tensors(scale * found.vector())
        with torch.no_grad():
            expected = filled(found.model, tensors)(inputs)
            torch.testing.assert_close(call(found.model, tensors, inputs), expected)
        assert unchanged(before, found.model)


def test_an_alias_serves_as_well() -> None:
    found = problem("twice")
    inputs, _ = all_samples(found)
    weight = torch.randn(4, 4, dtype=torch.float64)
    by_alias = call(found.model, {"again.0.weight": weight}, inputs)
    assert torch.equal(by_alias, call(found.model, {"first.weight": weight}, inputs))


def test_a_call_that_fails_leaves_nothing() -> None:
    found = problem("both")
    before = contents(found.model)
    with pytest.raises(RuntimeError):
        call(found.model, found.tensors(0 * found.vector()), torch.ones(2, 5).double())
    assert unchanged(before, found.model)


@each_network
@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_products_are_those_of_the_dense_matrix(name: str, kind: str) -> None:
    found = problem(name)
    before = contents(found.model)
    product = CurvatureProduct(found, found.train, kind)
    vectors = torch.randn(3, found.layout.size, dtype=torch.float64)
    got = torch.stack([product(vector) for vector in vectors])
    assert unchanged(before, found.model)
    # The matrix of the network without names that say the same twice.
    plain = replace(found, model=_without_aliases(found.model))
    exact = (dense_hessian if kind == "hessian" else dense_ggn)(plain)
    torch.testing.assert_close(got, vectors @ exact, rtol=1e-9, atol=1e-11)


def _without_aliases(model: nn.Module) -> nn.Module:
    """``model`` with its modules out of sight, called with all of its parameters given."""

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, parameter in model.named_parameters():
                *path, last = name.split(".")
                owner: nn.Module = self
                for part in path:
                    if part not in owner._modules:
                        owner.add_module(part, nn.Module())
                    owner = owner.get_submodule(part)
                owner.register_parameter(last, parameter)

        def forward(self, x: Tensor) -> Tensor:
            return call(model, dict(self.named_parameters()), x)

    return Seen()


def _spend(found: Problem) -> None:
    predict_problem(
        found, CurvatureConfig(steps=5, probes=1), LimitConfig(epsilon="5%", directional_steps=5)
    )


def _measured(criterion: str, survivors: str, found: Problem) -> None:
    settings = MeasureConfig(
        criterion=criterion, survivors=survivors, sparsities="0,0.5,0.8", epsilon="5%"
    )
    measure(found, replace(settings, calibration=20, refit_passes=2))


USES: dict[str, Callable[[Problem], object]] = {
    "evaluate": lambda found: evaluate(found, found.train, 0.5 * found.vector()),
    "predict": _spend,
    **{
        f"{criterion}+{survivors}": partial(_measured, criterion, survivors)
        for criterion, survivors in (
            *(("magnitude", name) for name in SURVIVORS[1:]),
            *((name, "fixed") for name in plugins.names("criterion")[1:]),
            *((name, "staged") for name in plugins.names("criterion")[1:]),
        )
    },
    **{
        f"{name} allocation": lambda found, name=name: Selection(  # type: ignore[misc]
            found, Method(allocation=name)
        ).mask(5)
        for name in plugins.names("allocation")
        if name != "targets"  # needs a file
    },
}


@each_network
@pytest.mark.parametrize("use", USES)
def test_no_use_of_a_network_changes_it(name: str, use: str) -> None:
    found = problem(name)
    before = contents(found.model)
    loss = evaluate(found, found.train).loss
    USES[use](found)
    assert unchanged(before, found.model)
    assert evaluate(found, found.train).loss == loss


def test_every_name_of_a_module_excludes_it() -> None:
    both = (torch.randn(6, 4), torch.arange(6) % 3)
    found = problem_from_module(Twice(), both, both, exclude=("again",))
    assert found.prunable == ("last.weight",)
