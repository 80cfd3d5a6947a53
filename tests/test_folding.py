"""Folded normalisation: the same function and curvature, or left alone."""

from __future__ import annotations

import pytest
import torch
from oracles import dense_ggn, dense_hessian
from torch import Tensor, nn

from prunelimit.curvature import CurvatureProduct
from prunelimit.curvature.folding import fold
from prunelimit.inputs.build import build_network
from prunelimit.inputs.load import problem_from_module


def lived_in(network: nn.Module) -> nn.Module:
    """Statistics and coefficients as training leaves them, in float64 and eval mode."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            shape = module.num_features
            if module.running_mean is not None:
                module.running_mean = torch.randn(shape, generator=generator)
                module.running_var = torch.rand(shape, generator=generator) + 0.2
            if module.affine:
                with torch.no_grad():
                    module.weight.copy_(torch.randn(shape, generator=generator))
                    module.bias.copy_(torch.randn(shape, generator=generator))
    return network.double().eval()


class Chain(nn.Module):
    """Two convolutions with normalisations, a shortcut round the second, a linear layer."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = norm or nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.other = nn.BatchNorm2d(3, affine=False)
        self.linear = nn.Linear(48, 5)
        self.last = nn.BatchNorm1d(5)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.norm(self.first(inputs)))
        hidden = torch.relu(self.other(self.second(hidden)) + hidden)
        return self.last(self.linear(hidden.flatten(1)))


class ReadTwice(Chain):
    """The first convolution's output is read beside its normalisation."""

    def forward(self, inputs: Tensor) -> Tensor:
        before = self.first(inputs)
        hidden = torch.tanh(self.norm(before)) + before
        return self.linear(hidden.flatten(1))


class CalledTwice(Chain):
    """One convolution and one normalisation, each called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.square(self.first(inputs))))
        hidden = torch.relu(self.norm(self.square(hidden)))
        return self.linear(hidden.flatten(1))


class Untraceable(Chain):
    """The forward asks for values."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.norm(self.first(inputs))
        if float(hidden.detach().sum()) > 1e9:
            hidden = hidden * 2
        return self.linear(hidden.flatten(1))


def images(count: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 4, 4, generator=generator, dtype=torch.float64)


def folded_count(network: nn.Module, free: set[str] | None = None) -> int:
    found = fold(lived_in(network), free or {"first.weight"}, images())
    return 0 if found is None else len(found.pairs)


def test_what_can_be_folded_is() -> None:
    assert folded_count(Chain()) == 3
    assert fold(lived_in(nn.Sequential(nn.Linear(16, 3))), set(), images().flatten(1)) is None


@pytest.mark.parametrize(
    "network",
    [
        ReadTwice(),
        CalledTwice(),
        Untraceable(),
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)),
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 3, 3)), nn.BatchNorm2d(3)),
    ],
    ids=["read twice", "called twice", "untraceable", "batch statistics", "group", "relu", "made"],
)
def test_what_cannot_is_left_alone(network: nn.Module) -> None:
    assert folded_count(network) == 0


def test_a_free_normalisation_and_a_hooked_layer_stay() -> None:
    assert folded_count(Chain(), {"first.weight", "norm.weight"}) == 2
    hooked = Chain()
    hooked.second.register_forward_hook(lambda *_: None)
    assert folded_count(hooked) == 2


def test_tied_weights_stay() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3, padding=1)
    )
    network[2].weight = network[0].weight
    assert folded_count(network) == 0


def test_normalisation_over_a_sequence_is_not_folded_into_its_features() -> None:
    # (n, 16, 4) -> (n, 16, 16): the normalisation reads the places, not the features.
    network = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16))
    inputs = torch.randn(5, 16, 4, dtype=torch.float64)
    assert fold(lived_in(network), set(), inputs) is None


@pytest.mark.parametrize("network", [Chain(), ReadTwice(), CalledTwice(), Untraceable()])
def test_curvature_is_that_of_the_network_as_given(network: nn.Module) -> None:
    both = images(), torch.arange(9) % 5
    given = problem_from_module(lived_in(network), both, both, dtype="float64", batch_size=4)
    unit = torch.eye(given.layout.size, dtype=torch.float64)
    for kind, oracle in (("hessian", dense_hessian), ("ggn", dense_ggn)):
        product = CurvatureProduct(given, given.train, kind)
        found = torch.stack([product(row) for row in unit])
        torch.testing.assert_close(found, oracle(given), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "vgg16"])
def test_built_in_networks_fold_every_normalisation(name: str) -> None:
    network = build_network(name, input_shape=(3, 32, 32), classes=10).eval()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    found = fold(network, set(), torch.randn(2, 3, 32, 32))
    assert (0 if found is None else len(found.pairs)) == norms
