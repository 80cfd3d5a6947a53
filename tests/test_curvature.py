"""Curvature products against the dense matrix, in float64."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracles import dense_ggn, dense_hessian, two_layer
from torch import Tensor, nn

from prunelimit import plugins
from prunelimit.curvature import (
    CurvatureProduct,
    PyHessianProduct,
    curvature_product,
    operator_of,
    products,
)
from prunelimit.errors import InputError, NumericalError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem


class Residual(nn.Module):
    """A convolution, an eval-mode BatchNorm with statistics of its own, a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(3)
        self.bn.running_mean = torch.tensor([0.1, -0.2, 0.3])
        self.bn.running_var = torch.tensor([0.5, 2.0, 1.0])
        self.linear = nn.Linear(3 * 16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.bn(self.conv(inputs))) + inputs
        return self.linear(hidden.flatten(1))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    aims = torch.eye(outputs.shape[1], dtype=outputs.dtype)[targets]
    return ((outputs - aims) ** 2).sum(dim=1)


def problem(case: str, **options: object) -> Problem:
    """31 samples, so that batches of 7 leave a ragged last one."""
    generator = torch.Generator().manual_seed(11)
    torch.manual_seed(11)
    shape = (31, 1, 4, 4) if case == "convolution" else (31, 6)
    inputs = torch.randn(*shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 3, (31,), generator=generator)
    network: nn.Module = {
        "relu": lambda: two_layer(6, 8, 3, nn.ReLU()),
        "tanh": lambda: two_layer(6, 8, 3, nn.Tanh()),
        "linear": lambda: nn.Linear(6, 3),
        "squared": lambda: two_layer(6, 8, 3, nn.Tanh()),
        "convolution": Residual,
    }[case]()
    extra = {"loss": squared_error} if case == "squared" else {}
    both = (inputs, targets)
    return problem_from_module(
        network, both, both, dtype="float64", batch_size=7, **extra, **options
    )


CASES = ("relu", "tanh", "linear", "squared", "convolution")


def dense(product: CurvatureProduct | PyHessianProduct) -> Tensor:
    unit = torch.eye(product.dimension, dtype=torch.float64)
    return torch.stack([product(row) for row in unit])


ROUTES = ("double-backward", "recorded")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("memory", [0, None], ids=["rebuilt", "retained"])
@pytest.mark.parametrize("route", ROUTES)
def test_hessian_and_ggn_are_the_dense_matrices(case: str, memory: int | None, route: str) -> None:
    given = problem(case)
    for kind, oracle in (("hessian", dense_hessian), ("ggn", dense_ggn)):
        product = CurvatureProduct(given, given.train, kind, memory_bytes=memory, route=route)
        assert product.route == route
        assert product.retained == (memory is None)
        torch.testing.assert_close(dense(product), oracle(given), rtol=1e-9, atol=1e-12)
        assert product.products == product.dimension


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("memory", [0, None], ids=["rebuilt", "retained"])
def test_a_block_of_vectors_is_each_of_them(route: str, memory: int | None) -> None:
    given = problem("convolution")
    product = CurvatureProduct(given, given.train, memory_bytes=memory, route=route)
    block = torch.randn(3, given.layout.size, dtype=torch.float64)
    together = product(block)
    assert product.products == 3
    torch.testing.assert_close(together, torch.stack([product(row) for row in block]))


@pytest.mark.parametrize("route", ROUTES)
def test_what_fits_is_kept_and_the_rest_made_anew(route: str) -> None:
    given = problem("convolution")
    whole = CurvatureProduct(given, given.train, route=route)
    half = sum(prepared.bytes for prepared in whole._kept) // 2
    part = CurvatureProduct(given, given.train, route=route, memory_bytes=half)
    assert 0 < len(part._kept) < len(whole._kept)
    vector = torch.ones(given.layout.size, dtype=torch.float64)
    torch.testing.assert_close(part(vector), whole(vector), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_pyhessian_agrees(case: str) -> None:
    given = problem(case)
    product = PyHessianProduct(given, given.train)
    torch.testing.assert_close(dense(product), dense_hessian(given), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["prunelimit", "pyhessian"])
def test_batches_do_not_change_the_mean(backend: str) -> None:
    whole, ragged = problem("tanh"), problem("tanh")
    whole = problem_from_module(
        whole.model, whole.train, whole.test, dtype="float64", batch_size=31
    )
    vector = torch.linspace(-1, 1, whole.layout.size, dtype=torch.float64)
    one = curvature_product(whole, whole.train, "hessian", backend)(vector)
    many = curvature_product(ragged, ragged.train, "hessian", backend)(vector)
    torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-14)


def test_ggn_has_no_negative_eigenvalue_where_the_hessian_has() -> None:
    given = problem("tanh")
    hessian = torch.linalg.eigvalsh(dense(CurvatureProduct(given, given.train)))
    ggn = torch.linalg.eigvalsh(dense(CurvatureProduct(given, given.train, "ggn")))
    assert hessian[0] < -1e-4
    assert ggn[0] > -1e-12


def test_ggn_reads_no_labels_under_cross_entropy() -> None:
    given = problem("relu")
    inputs = next(iter(given.train.batches(31)))[0]
    other = (inputs, torch.arange(31) % 3)
    relabelled = problem_from_module(given.model, other, other, dtype="float64", batch_size=7)
    vector = torch.ones(given.layout.size, dtype=torch.float64)
    torch.testing.assert_close(
        CurvatureProduct(given, given.train, "ggn")(vector),
        CurvatureProduct(relabelled, relabelled.train, "ggn")(vector),
    )


def test_norm_and_excluded_parameters_are_no_part_of_the_matrix() -> None:
    free = problem("convolution")
    assert free.layout.names == ("conv.weight", "linear.weight", "linear.bias")
    fewer = problem("convolution", exclude=("linear",))
    assert fewer.layout.names == ("conv.weight",)
    whole = dense_hessian(free)
    part = dense(CurvatureProduct(fewer, fewer.train))
    torch.testing.assert_close(part, whole[: len(part), : len(part)])


def test_gradient_is_the_derivative_of_the_loss() -> None:
    given = problem("convolution")
    from oracles import _loss_of, all_samples

    vector = given.vector().requires_grad_()
    (expected,) = torch.autograd.grad(_loss_of(given, *all_samples(given), vector), vector)
    torch.testing.assert_close(CurvatureProduct(given, given.train).gradient(), expected)


def test_products_leave_the_network_as_it_was() -> None:
    given = problem("convolution")
    before = {name: tensor.clone() for name, tensor in given.model.state_dict().items()}
    for product in (CurvatureProduct(given, given.train), PyHessianProduct(given, given.train)):
        product(torch.ones(product.dimension, dtype=torch.float64))
    assert not given.model.training
    for name, tensor in given.model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert all(p.requires_grad and p.grad is None for p in given.model.parameters())


def single(network: nn.Module, shape: tuple[int, ...]) -> Problem:
    """A float32 problem of 40 samples."""
    generator = torch.Generator().manual_seed(4)
    both = (torch.randn(40, *shape, generator=generator), torch.arange(40) % 3)
    return problem_from_module(network, both, both, batch_size=16)


def small(case: str) -> Problem:
    torch.manual_seed(4)
    if case == "convolution":
        return single(Residual(), (1, 4, 4))
    return single(two_layer(6, 8, 3, nn.Tanh()), (6,))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", ["hessian", "ggn"])
@pytest.mark.parametrize("case", ["convolution", "tanh"])
def test_bfloat16_products_are_as_close_as_their_error_says(
    case: str, kind: str, route: str
) -> None:
    given = small(case)
    exact = CurvatureProduct(given, given.train, kind, route=route)
    rounded = CurvatureProduct(given, given.train, kind, route=route, precision="bfloat16")
    assert exact.rounding_error is None
    assert rounded.route == route and rounded.rounding_error is not None
    # bfloat16 holds 8 bits: wrong in the third digit, and far from right by accident.
    assert 1e-4 < rounded.rounding_error < 0.1
    block = torch.randn(20, given.layout.size, generator=torch.Generator().manual_seed(9))
    expected, found = exact(block), rounded(block)
    assert found.dtype == torch.float32
    error = float((found - expected).norm() / expected.norm())
    assert rounded.rounding_error / 5 < error < 5 * rounded.rounding_error
    between = found @ block.T
    assert float((between - between.T).norm() / between.norm()) < 5 * rounded.rounding_error
    torch.testing.assert_close(rounded.gradient(), exact.gradient(), rtol=0, atol=0)


class Constant(nn.Module):
    """A tensor that is neither parameter nor buffer, and so keeps its type."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.mixture = torch.eye(6)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs @ self.mixture)


def test_bfloat16_is_refused_where_it_cannot_be() -> None:
    double = problem("tanh")
    with pytest.raises(UsageError, match="`dtype`"):
        CurvatureProduct(double, double.train, precision="bfloat16")
    plain = small("tanh")
    with pytest.raises(UsageError, match="PyHessian takes no `precision`"):
        curvature_product(plain, plain.train, "hessian", "pyhessian", precision="bfloat16")
    with pytest.raises(UsageError, match="float8"):
        CurvatureProduct(plain, plain.train, precision="float8")
    stiff = single(Constant(), (6,))
    with pytest.raises(UsageError, match="does not run in bfloat16"):
        CurvatureProduct(stiff, stiff.train, precision="bfloat16")


@pytest.mark.parametrize(
    ("tiles", "network", "rounds"),
    [
        (True, lambda: two_layer(6, 8, 3, nn.Tanh()), True),
        (True, Constant, False),  # does not run in bfloat16
        (False, lambda: two_layer(6, 8, 3, nn.Tanh()), False),
    ],
)
def test_products_round_by_themselves_where_the_processor_is_made_for_it(
    tiles: bool, network: Callable[[], nn.Module], rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "bfloat16_tiles", lambda _: tiles)
    torch.manual_seed(4)
    given = single(network(), (6,))
    vector = torch.randn(given.layout.size, generator=torch.Generator().manual_seed(9))
    small_work = CurvatureProduct(given, given.train, "ggn", precision="auto")(vector)
    full = CurvatureProduct(given, given.train, "ggn", route="double-backward")(vector)
    torch.testing.assert_close(small_work, full, rtol=0, atol=0)
    monkeypatch.setattr(products, "WORTH_RECORDING", 0)
    full = CurvatureProduct(given, given.train, "ggn")(vector)
    found = CurvatureProduct(given, given.train, "ggn", precision="auto")(vector)
    error = float((found - full).norm() / full.norm())
    assert 1e-4 < error < 0.1 if rounds else error == 0


class Deep(nn.Module):
    """Convolutions from several channels to several: layouts differ only there."""

    def __init__(self, viewing: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 3, 3, stride=2, padding=1)
        self.linear = nn.Linear(3 * 4, 3)
        self.viewing = viewing

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.second(torch.relu(self.first(inputs))))
        return self.linear(hidden.view(len(inputs), -1) if self.viewing else hidden.flatten(1))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_channels_last_are_the_dense_matrix(
    kind: str, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunelimit.curvature.products.WORTH_TRANSPOSING", 0)
    monkeypatch.setattr("prunelimit.curvature.products.CHANNELS_LAST", (torch.float64,))
    torch.manual_seed(4)
    both = (torch.randn(31, 2, 4, 4, dtype=torch.float64), torch.arange(31) % 3)
    given = problem_from_module(Deep(), both, both, dtype="float64", batch_size=7)
    product = CurvatureProduct(given, given.train, kind, route=route)
    assert product._function.channels_last
    oracle = dense_hessian if kind == "hessian" else dense_ggn
    torch.testing.assert_close(dense(product), oracle(given), rtol=1e-9, atol=1e-12)


def test_channels_last_only_where_they_pay_and_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def laid_out(given: Problem) -> bool:
        return CurvatureProduct(given, given.train)._function.channels_last

    deep = single(Deep(), (2, 4, 4))
    monkeypatch.setattr("prunelimit.curvature.products.WORTH_TRANSPOSING", 0)
    assert laid_out(deep)
    assert not laid_out(single(Deep(viewing=True), (2, 4, 4)))  # needs the dimensions in order
    assert not laid_out(small("tanh"))
    assert not laid_out(problem("convolution"))  # float64
    monkeypatch.setattr("prunelimit.curvature.products.WORTH_TRANSPOSING", 10**9)
    assert not laid_out(deep)


def test_readings_never_leave_a_negative_value() -> None:
    values = np.array([-2.0, 0.0, 3.0])
    readings = {
        (kind, name): read(values).tolist()
        for kind in plugins.names("curvature")
        for name, read in operator_of(kind).readings.items()
    }
    assert readings == {
        ("ggn", "ggn"): [0, 0, 3],
        ("hessian", "absolute"): [2, 0, 3],
        ("hessian", "negatives-as-flat"): [0, 0, 3],
    }


def test_senseless_requests_are_refused() -> None:
    given = problem("relu")
    with pytest.raises(UsageError, match="GGN"):
        curvature_product(given, given.train, "ggn", "pyhessian")
    with pytest.raises(UsageError, match="sideways"):
        CurvatureProduct(given, given.train, route="sideways")
    with pytest.raises(UsageError, match="fisher"):
        CurvatureProduct(given, given.train, "fisher")
    with pytest.raises(UsageError, match="numpy"):
        curvature_product(given, given.train, "hessian", "numpy")


class Once(torch.autograd.Function):
    """An operator that can be differentiated once only."""

    @staticmethod
    def forward(ctx, inputs):  # type: ignore[no-untyped-def]
        return inputs.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(Once.apply(torch.tanh(self.first(inputs))))


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_operator_without_a_second_derivative_is_named(kind: str) -> None:
    both = (torch.randn(8, 6), torch.arange(8) % 3)
    given = problem_from_module(Stubborn(), both, both)
    with pytest.raises(InputError, match=r"\(Once\) cannot be differentiated twice"):
        CurvatureProduct(given, given.train, kind)


def hard() -> Problem:
    """A network with an operator that torch differentiates once, but in both modes."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(31, 6, generator=generator, dtype=torch.float64)
    both = (inputs, torch.arange(31) % 3)
    network = two_layer(6, 8, 3, nn.Hardsigmoid())
    return problem_from_module(network, both, both, dtype="float64", batch_size=7)


def test_the_ggn_is_offered_where_it_can_be_had() -> None:
    given = hard()
    with pytest.raises(InputError, match=r"hardsigmoid.*`curvature` ggn"):
        CurvatureProduct(given, given.train)
    product = CurvatureProduct(given, given.train, "ggn")
    assert product.route == "recorded"
    torch.testing.assert_close(dense(product), dense_ggn(given), rtol=1e-9, atol=1e-12)


class Restless(nn.Module):
    """Dropout that eval mode does not turn off."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.dropout(self.linear(inputs), 0.5, training=True)


def test_dropout_left_on_is_refused() -> None:
    both = (torch.randn(8, 6), torch.arange(8) % 3)
    with pytest.raises(InputError, match="dropout"):
        problem_from_module(Restless(), both, both)


def test_data_in_another_order_each_time_are_refused() -> None:
    given = problem("relu")

    class Shuffled:
        def __len__(self) -> int:
            return len(given.train)

        def batches(self, batch_size: int, *, order: Tensor | None = None):  # type: ignore[no-untyped-def]
            order = torch.randperm(len(self)) if order is None else order
            return given.train.batches(batch_size, order=order)

    with pytest.raises(InputError, match="fixed order"):
        CurvatureProduct(given, Shuffled())  # type: ignore[arg-type]


def test_loss_that_overflows_is_told() -> None:
    both = (torch.full((8, 6), 1e38), torch.arange(8) % 3)
    network = two_layer(6, 4, 3, nn.ReLU())
    nn.init.constant_(network[0].weight, 10.0)
    with pytest.raises(NumericalError, match="gives NaN"):
        problem_from_module(network, both, both)


class Watched(nn.Module):
    """Remembers, weakly, what its middle layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.seen: list[weakref.ref[Tensor]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        found = torch.tanh(self.first(inputs))  # tanh keeps its own output
        self.seen.append(weakref.ref(found))
        return self.last(found)


@pytest.mark.parametrize("kind", ["ggn", "hessian"])
@pytest.mark.parametrize("route", ["recorded", "double-backward"])
def test_nothing_is_left_of_a_product_that_is_gone(kind: str, route: str) -> None:
    network = Watched()
    both = torch.randn(30, 6), torch.arange(30) % 3
    problem = problem_from_module(network, both, both)
    product = CurvatureProduct(problem, problem.train, kind, route=route)
    product(torch.ones(product.dimension))
    assert problem.model.seen
    del product
    gc.collect()
    assert not [each for each in problem.model.seen if each() is not None]
