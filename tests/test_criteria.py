"""Criteria against their formulas: autograd, dense matrices, definitions, and invariances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from oracles import all_samples, dense_ggn, dense_hessian
from torch import Tensor, nn

from prunelimit import plugins
from prunelimit.errors import InputError, NumericalError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.pruning.criteria import obs
from prunelimit.pruning.criteria.obd import ggn_diagonal
from prunelimit.pruning.criteria.obs import EmpiricalFisher, sample_gradients, usual_gradients
from prunelimit.pruning.criteria.snip import loss_gradient
from prunelimit.pruning.criteria.synflow import linear_twin, synaptic_flow
from prunelimit.pruning.criterion import Criterion, Scores
from prunelimit.pruning.custom import find_criterion
from prunelimit.pruning.input_norms import input_norms
from prunelimit.pruning.layers import prunable_layers, prunable_part
from prunelimit.pruning.magnitude import keep_mask, magnitude_order
from prunelimit.pruning.selection import Selection
from prunelimit.values import Method

CRITERIA: dict[str, Criterion] = {
    name: plugins.find("criterion", name) for name in plugins.names("criterion")
}


def dense(seed: int = 0, **settings: object) -> Problem:
    """24 + 18 prunable weights, float64, smooth."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    data = torch.randn(13, 4), torch.arange(13) % 3
    return problem_from_module(network, data, data, batch_size=5, dtype="float64", **settings)


def convolutional(seed: int = 0) -> Problem:
    """Strides, padding, groups, a normalisation and a depthwise layer."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, groups=2, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    data = torch.randn(11, 2, 6, 6), torch.arange(11) % 3
    return problem_from_module(network, data, data, batch_size=4, dtype="float64")


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance of all outputs from the target, one per sample."""
    return 0.5 * (outputs - targets[:, None]).square().sum(dim=1) + outputs.exp().sum(dim=1)


def scores(problem: Problem, name: str, seed: int = 0) -> Tensor:
    return CRITERIA[name].scores(problem, problem.train, seed)


def gradient(problem: Problem, inputs: Tensor, targets: Tensor) -> Tensor:
    """Of the mean loss of these samples, in one batch; (D,)."""

    def loss(vector: Tensor) -> Tensor:
        weights = problem.layout.unflatten(vector)
        outputs = torch.func.functional_call(problem.model, weights, (inputs,))
        return problem.loss(outputs, targets).mean()

    return torch.func.grad(loss)(problem.vector())


PROBLEMS = {"dense": dense, "convolutional": convolutional}
each_problem = pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)


def test_every_criterion_says_what_it_is() -> None:
    assert all(name == each.name and each.source and each.help for name, each in CRITERIA.items())
    assert {each.reads for each in CRITERIA.values()} <= {"weights", "inputs", "labels"}


@each_problem
@pytest.mark.parametrize("name", CRITERIA)
def test_scores_are_one_finite_number_each_and_repeat(
    make: Callable[[], Problem], name: str
) -> None:
    problem = make()
    before = problem.vector()
    hooks = [len(module._forward_pre_hooks) for module in problem.model.modules()]
    found = scores(problem, name)
    assert found.shape == (int(problem.prunable_mask().sum()),) and found.dtype == torch.float64
    assert bool(torch.isfinite(found).all())
    assert torch.equal(found, scores(problem, name))
    assert torch.equal(before, problem.vector())
    assert hooks == [len(module._forward_pre_hooks) for module in problem.model.modules()]


@pytest.mark.parametrize("name", CRITERIA)
def test_labels_are_read_only_where_that_is_said(name: str) -> None:
    problem, other = dense(), dense()
    inputs, targets = all_samples(problem)
    changed = problem_from_module(
        problem.model, (inputs, targets.flip(0)), (inputs, targets), batch_size=5, dtype="float64"
    )
    reads = CRITERIA[name].reads
    assert torch.equal(scores(problem, name), scores(other, name))
    assert torch.equal(scores(problem, name), scores(changed, name)) == (reads != "labels")
    moved = problem_from_module(
        problem.model, (inputs + 0.1, targets), (inputs, targets), batch_size=5, dtype="float64"
    )
    assert torch.equal(scores(problem, name), scores(moved, name)) == (reads == "weights")


class TestSimple:
    def test_magnitude_orders_as_ever(self) -> None:
        problem = dense()
        kept = Selection(problem).mask(17)
        assert torch.equal(kept, keep_mask(problem, magnitude_order(problem), 17))

    def test_random_goes_by_seed_alone(self) -> None:
        first, second = dense(0), dense(1)
        assert torch.equal(scores(first, "random", 3), scores(second, "random", 3))
        assert not torch.equal(scores(first, "random", 3), scores(first, "random", 4))

    @each_problem
    def test_snip_is_the_derivative_in_a_gate(self, make: Callable[[], Problem]) -> None:
        problem = make()
        inputs, targets = all_samples(problem)
        vector = problem.vector()

        def loss(gates: Tensor) -> Tensor:
            weights = problem.layout.unflatten(gates * vector)
            outputs = torch.func.functional_call(problem.model, weights, (inputs,))
            return problem.loss(outputs, targets).mean()

        expected = torch.func.grad(loss)(torch.ones_like(vector)).abs()
        torch.testing.assert_close(scores(problem, "snip"), prunable_part(problem, expected))

    @each_problem
    def test_grasp_is_the_dense_hessians(self, make: Callable[[], Problem]) -> None:
        problem = make()
        slope = gradient(problem, *all_samples(problem))
        torch.testing.assert_close(slope, loss_gradient(problem, problem.train))
        expected = problem.vector() * (dense_hessian(problem) @ slope)
        torch.testing.assert_close(scores(problem, "grasp"), prunable_part(problem, expected))

    def test_grasp_says_how_the_gradients_norm_changes(self) -> None:
        problem = dense()
        inputs, targets = all_samples(problem)
        step, place = 1e-6, 5
        moved = problem.vector()
        moved[place] *= 1 - step

        def squared_norm(vector: Tensor) -> float:
            def loss(v: Tensor) -> Tensor:
                weights = problem.layout.unflatten(v)
                outputs = torch.func.functional_call(problem.model, weights, (inputs,))
                return problem.loss(outputs, targets).mean()

            return float(torch.func.grad(loss)(vector).square().sum())

        change = (squared_norm(moved) - squared_norm(problem.vector())) / step
        assert change == pytest.approx(-2 * float(scores(problem, "grasp")[place]), rel=1e-3)


class TestDiagonal:
    @each_problem
    def test_is_the_dense_ggns(self, make: Callable[[], Problem]) -> None:
        problem = make()
        expected = dense_ggn(problem).diagonal()
        torch.testing.assert_close(ggn_diagonal(problem, problem.train, 0), expected)
        saliency = 0.5 * expected * problem.vector() ** 2
        torch.testing.assert_close(scores(problem, "obd"), prunable_part(problem, saliency))

    def test_of_a_loss_of_ones_own(self) -> None:
        torch.manual_seed(0)
        data = torch.randn(7, 4), torch.randn(7)
        network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        problem = problem_from_module(network, data, data, loss=squared, dtype="float64")
        expected = dense_ggn(problem).diagonal()
        torch.testing.assert_close(ggn_diagonal(problem, problem.train, 0), expected)

    def test_of_a_linear_network_is_the_hessians(self) -> None:
        torch.manual_seed(0)
        data = torch.randn(9, 5), torch.arange(9) % 3
        problem = problem_from_module(nn.Linear(5, 3), data, data, dtype="float64")
        torch.testing.assert_close(
            ggn_diagonal(problem, problem.train, 0), dense_hessian(problem).diagonal()
        )

    def test_of_many_outputs_is_within_its_error(self) -> None:
        """40 outputs are drawn for; over 400 samples the error stated is 2.5% or less."""
        torch.manual_seed(0)
        data = torch.randn(400, 5), torch.arange(400) % 40
        problem = problem_from_module(nn.Linear(5, 40), data, data, dtype="float64")
        exact = dense_hessian(problem).diagonal()
        relative = ggn_diagonal(problem, problem.train, 0) / exact - 1
        assert float(relative.square().mean().sqrt()) < 2 * (2 / (8 * 400)) ** 0.5
        assert abs(float(relative.mean())) < 0.01


class TestFisher:
    @each_problem
    def test_gradients_are_each_samples_own(self, make: Callable[[], Problem]) -> None:
        problem = make()
        inputs, targets = all_samples(problem)
        found = sample_gradients(problem, problem.train)
        for place in range(len(inputs)):
            one = slice(place, place + 1)
            torch.testing.assert_close(found[place], gradient(problem, inputs[one], targets[one]))

    def test_a_network_that_cannot_be_batched_over_samples(self) -> None:
        class Awkward(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 3)

            def forward(self, inputs: Tensor) -> Tensor:
                return self.layer(inputs * (1.0 if float(inputs.abs().sum()) > 0 else 2.0))

        torch.manual_seed(0)
        data = torch.randn(6, 4), torch.arange(6) % 3
        problem = problem_from_module(Awkward(), data, data, dtype="float64", batch_size=1)
        found = sample_gradients(problem, problem.train)
        for place in range(6):
            one = slice(place, place + 1)
            expected = gradient(problem, data[0][one].double(), data[1][one])
            torch.testing.assert_close(found[place], expected)

    @pytest.fixture
    def problem(self) -> Problem:
        return dense()

    def matrix(self, problem: Problem, damping: float) -> Tensor:
        rows = sample_gradients(problem, problem.train)
        return damping * torch.eye(rows.shape[1], dtype=rows.dtype) + rows.T @ rows / len(rows)

    @pytest.mark.parametrize("damping", [1.0, 1e-2, 1e-5])
    def test_is_the_dense_inverse(self, problem: Problem, damping: float) -> None:
        fisher = EmpiricalFisher(sample_gradients(problem, problem.train), damping)
        inverse = torch.linalg.inv(self.matrix(problem, damping))
        close = {"rtol": 1e-6, "atol": 0.0}
        torch.testing.assert_close(fisher.inverse_diagonal(), inverse.diagonal(), **close)
        vector = torch.randn(problem.layout.size, dtype=torch.float64)
        torch.testing.assert_close(
            fisher.inverse_product(vector), inverse @ vector, rtol=1e-6, atol=1e-8 / damping
        )

    def test_is_the_recursion_of_rank_one(self, problem: Problem) -> None:
        """WoodFisher's own form, one gradient after the other."""
        rows = sample_gradients(problem, problem.train)
        inverse = torch.eye(rows.shape[1], dtype=torch.float64) / 1e-2
        for row in rows:
            along = inverse @ row
            inverse -= torch.outer(along, along) / (len(rows) + row @ along)
        found = EmpiricalFisher(rows, 1e-2).inverse_diagonal()
        torch.testing.assert_close(found, inverse.diagonal())

    def test_scores_are_the_loss_that_removal_costs(self, problem: Problem) -> None:
        inverse = torch.linalg.inv(self.matrix(problem, 1e-5)).diagonal()
        expected = problem.vector() ** 2 / (2 * inverse)
        torch.testing.assert_close(
            scores(problem, "obs"), prunable_part(problem, expected), rtol=1e-6, atol=0.0
        )

    def test_the_update_for_one_weight_is_the_closed_form(self, problem: Problem) -> None:
        inverse = torch.linalg.inv(self.matrix(problem, 1e-5))
        weights, place = problem.vector(), 7
        mask = torch.ones(len(weights), dtype=torch.bool)
        mask[place] = False
        expected = weights - weights[place] * inverse[place] / inverse[place, place]
        judgement = CRITERIA["obs"].judge(problem, problem.train, 0)
        assert judgement.update is not None
        found = judgement.update(mask)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
        assert float(found[place]) == 0.0

    @pytest.mark.parametrize("removed", [0, 20, 42])
    def test_the_update_is_the_least_loss_of_all_survivors(
        self, problem: Problem, removed: int
    ) -> None:
        selection = Selection(problem, Method("obs", survivors="obs"))
        mask = selection.mask(removed)
        found = selection.weights(mask)
        assert bool((found[~mask] == 0).all())
        matrix = self.matrix(problem, 1e-5)
        slope = matrix @ (found - problem.vector())
        # Nothing that a survivor could do lowers the loss further.
        torch.testing.assert_close(slope[mask], torch.zeros_like(slope[mask]), atol=1e-9, rtol=0.0)
        if not removed:
            torch.testing.assert_close(found, problem.vector(), rtol=1e-12, atol=0.0)

    def test_memory_is_bounded(self, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
        assert usual_gradients(problem) == 256
        monkeypatch.setattr(obs, "GRADIENT_BYTES", 10 * 8 * problem.layout.size)
        assert usual_gradients(problem) == 10
        monkeypatch.setattr(obs, "available_bytes", lambda device: 1000)
        with pytest.raises(UsageError, match=r"gradients of 13 samples.*`calibration`"):
            sample_gradients(problem, problem.train)


class TestSynFlow:
    @pytest.fixture
    def chain(self) -> Problem:
        torch.manual_seed(0)
        layers = [nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 6, bias=False)]
        network = nn.Sequential(*layers, nn.Tanh(), nn.Linear(6, 3, bias=False))
        data = torch.randn(4, 5), torch.arange(4) % 3
        return problem_from_module(network, data, data)

    def test_layers_conserve_the_flow(self, chain: Problem) -> None:
        found = synaptic_flow(chain, chain.train)
        flow = torch.ones(5, dtype=torch.float64)
        for parameter in chain.parameters().values():
            flow = parameter.detach().double().abs() @ flow
        for layer in prunable_layers(chain):
            assert float(layer.part(found).sum()) == pytest.approx(float(flow.sum()))

    def test_layers_conserve_the_flow_through_norms_and_biases(self) -> None:
        problem = convolutional()
        found = synaptic_flow(problem, problem.train)
        sums = [float(layer.part(found).sum()) for layer in prunable_layers(problem)]
        assert sums[0] > 0
        assert sums == pytest.approx([sums[0]] * 3)

    def test_the_twin_is_linear_and_positive(self) -> None:
        twin = linear_twin(convolutional().model)
        inputs = torch.rand(3, 2, 6, 6, dtype=torch.float64)
        torch.testing.assert_close(twin(2.5 * inputs), 2.5 * twin(inputs))
        assert bool((twin(inputs) > 0).all())

    def test_a_neurons_in_and_out_are_alike(self, chain: Problem) -> None:
        found = synaptic_flow(chain, chain.train)
        first, second, _ = (layer.part(found).view(layer.shape) for layer in prunable_layers(chain))
        torch.testing.assert_close(first.sum(dim=1), second.sum(dim=0))

    def test_what_is_masked_has_no_flow(self, chain: Problem) -> None:
        mask = torch.ones(chain.layout.size, dtype=torch.bool)
        mask[3] = False
        found = synaptic_flow(chain, chain.train, mask)
        assert float(found[3]) == 0.0
        assert not torch.equal(found, synaptic_flow(chain, chain.train))

    def test_rounds_keep_every_layer_to_the_last(self, chain: Problem) -> None:
        """No layer collapses while a path through all of them is left."""
        selection = Selection(chain, Method("synflow"))
        mask = selection.mask(chain.layout.size - 6)
        assert all(int(layer.part(mask).sum()) > 0 for layer in prunable_layers(chain))
        assert sorted(selection.scored.scores.tolist()) == list(range(chain.layout.size))

    @pytest.mark.parametrize("first", [True, False])
    def test_goes_through_torchs_transformer_layers(self, first: bool) -> None:
        """They read attributes of their norms."""
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=first)
        network = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3))
        data = torch.randn(4, 3, 8), torch.arange(4) % 3
        problem = problem_from_module(network, data, data)
        found = synaptic_flow(problem, problem.train)
        assert all(float(each.part(found).sum()) > 0 for each in prunable_layers(problem))

    def test_zero_weights_make_an_order_too(self) -> None:
        data = torch.randn(4, 5), torch.arange(4) % 3
        network = nn.Linear(5, 3)
        nn.init.zeros_(network.weight)
        problem = problem_from_module(network, data, data)
        assert scores(problem, "synflow").tolist() == list(range(15))


class TestWanda:
    def test_is_weight_times_norm_of_the_feature(self) -> None:
        problem = dense()
        inputs, _ = all_samples(problem)
        hidden = torch.tanh(problem.model[0](inputs)).detach()
        expected = [
            problem.model[0].weight.abs() * inputs.norm(dim=0),
            problem.model[2].weight.abs() * hidden.norm(dim=0),
        ]
        flat = torch.cat([each.detach().reshape(-1) for each in expected])
        torch.testing.assert_close(scores(problem, "wanda"), flat)

    def test_of_a_convolution_counts_every_position(self) -> None:
        problem = convolutional()
        inputs, _ = all_samples(problem)
        norms = prunable_layers(problem)[0].part(input_norms(problem, problem.train))
        patches = nn.functional.unfold(inputs, 3, padding=1, stride=2)
        expected = patches.square().sum(dim=(0, 2)).sqrt().view(1, 2, 3, 3).expand(4, 2, 3, 3)
        torch.testing.assert_close(norms.view(4, 2, 3, 3), expected)

    def test_a_layer_never_called_is_named(self) -> None:
        class Hidden(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 3)

            def forward(self, inputs: Tensor) -> Tensor:
                return nn.functional.linear(inputs, self.layer.weight)

        data = torch.randn(6, 4), torch.arange(6) % 3
        problem = problem_from_module(Hidden(), data, data)
        with pytest.raises(InputError, match=r"layer\.weight.*`exclude`"):
            scores(problem, "wanda")

    def test_compares_within_rows_unless_told_otherwise(self) -> None:
        problem = dense()
        selection = Selection(problem, Method("wanda"))
        assert selection.allocation == "rows"
        mask = problem.layout.unflatten(selection.mask(21))
        assert mask["0.weight"].sum(dim=1).tolist() == [2] * 6
        assert mask["2.weight"].sum(dim=1).tolist() == [3] * 3


@pytest.mark.parametrize("name", sorted(CRITERIA.keys() - {"random", "rare-gems"}))
def test_relabelled_neurons_have_the_same_scores(name: str) -> None:
    """A permutation of the hidden units permutes masks, and nothing else."""
    problem = dense()
    inputs, targets = all_samples(problem)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        network[0].weight.copy_(problem.model[0].weight[order])
        network[0].bias.copy_(problem.model[0].bias[order])
        network[2].weight.copy_(problem.model[2].weight[:, order])
        network[2].bias.copy_(problem.model[2].bias)
    data = inputs, targets
    other = problem_from_module(network, data, data, batch_size=5, dtype="float64")
    first, second = (
        [layer.part(scores(each, name)).view(layer.shape) for layer in prunable_layers(each)]
        for each in (problem, other)
    )
    torch.testing.assert_close(second[0], first[0][order], rtol=1e-7, atol=1e-14)
    torch.testing.assert_close(second[1], first[1][:, order], rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("name", ["magnitude", "synflow"])
def test_a_common_scale_changes_no_mask(name: str) -> None:
    problem = dense()
    before = Selection(problem, Method(name)).mask(25)
    with torch.no_grad():
        for parameter in problem.parameters().values():
            parameter.mul_(0.25)
    assert torch.equal(before, Selection(problem, Method(name)).mask(25))


@pytest.mark.parametrize("name", ["snip", "obd"])
def test_a_scale_between_layers_changes_no_score(name: str) -> None:
    """Where one layer doubles what the next halves, the function is the same; and so is what the
    loss loses by a weight, which magnitude does not know of."""
    torch.manual_seed(0)
    data = torch.randn(13, 4), torch.arange(13) % 3
    network = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    problems = [problem_from_module(network, data, data, dtype="float64")]
    with torch.no_grad():
        network[0].weight.mul_(2)
        network[2].weight.mul_(0.5)
    problems.append(problem_from_module(network, data, data, dtype="float64"))
    torch.testing.assert_close(*(scores(problem, name) for problem in problems))
    assert not torch.allclose(*(scores(problem, "magnitude") for problem in problems))


class TestOwn:
    BODY = """
import torch
from prunelimit.pruning.criterion import Criterion, Scores

def flat(problem):
    return problem.vector()[problem.prunable_mask()].abs()

def named(problem):
    parameters = problem.parameters()
    return {name: parameters[name].abs().numpy(force=True) for name in problem.prunable}

def count(problem):
    return torch.full((42,), float(len(problem.train)))

def nothing(problem):
    return None

def words(problem):
    return ["a"] * 42

def short(problem):
    return torch.zeros(41)

def missing(problem):
    return {"0.weight": torch.zeros(6, 4)}

def more(problem):
    return {**named(problem), "0.bias": torch.zeros(6)}

def turned(problem):
    return {"0.weight": torch.zeros(4, 6), "2.weight": torch.zeros(3, 6)}

def infinite(problem):
    return torch.full((42,), torch.inf)

def failing(problem):
    raise ValueError("no idea")

number = 3
whole = Criterion(
    "mine", "me", "", reads="weights", function=lambda p, s, seed, progress: Scores(flat(p))
)
"""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> Callable[[str], str]:
        path = tmp_path / "mine.py"
        path.write_text(self.BODY)
        return lambda attribute: f"{path}:{attribute}"

    @pytest.mark.parametrize("attribute", ["flat", "named", "whole"])
    def test_gives_scores_as_ours_do(self, spec: Callable[[str], str], attribute: str) -> None:
        problem = dense()
        criterion = find_criterion(spec(attribute))
        assert isinstance(criterion, Criterion)
        assert torch.equal(
            criterion.scores(problem, problem.train, 0), scores(problem, "magnitude")
        )

    def test_reads_the_calibration_samples(self, spec: Callable[[str], str]) -> None:
        selection = Selection(dense(), Method(spec("count")), calibration=5)
        assert selection.calibration == 5
        assert selection.scored.scores.tolist() == [5.0] * 42

    @pytest.mark.parametrize(
        ("attribute", "said"),
        [
            ("nothing", "NoneType"),
            ("words", "list"),
            ("short", r"shape \(41,\).*42"),
            ("missing", r"scores nothing: 2\.weight"),
            ("more", r"not prunable: 0\.bias"),
            ("turned", r"0\.weight scores of shape \(4, 6\).*\(6, 4\)"),
            ("infinite", "NaN or infinity"),
            ("failing", r"ValueError: no idea"),
            ("number", "int"),
            ("flatt", "did you mean flat"),
        ],
    )
    def test_mistakes_are_named(
        self, spec: Callable[[str], str], attribute: str, said: str
    ) -> None:
        problem = dense()
        with pytest.raises(InputError, match=said) as caught:
            find_criterion(spec(attribute)).scores(problem, problem.train, 0)
        assert str(caught.value).endswith((".", "?"))


def test_unknown_names_are_met_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean synflow"):
        find_criterion("sinflow")


def test_scores_that_are_not_finite_are_refused() -> None:
    problem = dense()
    broken = Criterion(
        "broken",
        "",
        "",
        reads="weights",
        function=lambda p, s, seed, progress: Scores(torch.tensor([0, 1e999])),
    )
    with pytest.raises(NumericalError, match="broken gives 1 of 2"):
        broken.judge(problem, problem.train, 0)


def test_obs_moves_survivors_to_a_lower_loss() -> None:
    """On a network that has learned its data, the update undoes part of what pruning did."""
    torch.manual_seed(0)
    centres = torch.randn(3, 8)
    targets = torch.arange(120) % 3
    inputs = centres[targets] + 0.5 * torch.randn(120, 8)
    network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(network.parameters(), 0.01, weight_decay=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    problem = problem_from_module(network, (inputs, targets), (inputs, targets))
    selection = Selection(problem, Method("obs", survivors="obs"), calibration=0)
    assert selection.calibration == 120
    mask = selection.mask(88)
    moved = evaluate(problem, problem.train, selection.weights(mask)).loss
    left = evaluate(problem, problem.train, problem.vector().masked_fill(~mask, 0)).loss
    assert moved < left
