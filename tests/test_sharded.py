"""Parameters shared by processes: products, coefficients and limits are those of one process."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import death, together
from torch import nn

from prunelimit.commands.predict import predict
from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.distributed import Group, ShardSpec
from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.sharded import shard

pytestmark = pytest.mark.slow

SCRIPT = """
import time
from pathlib import Path

import torch
from oracles import dense_ggn, dense_hessian
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunelimit.curvature import ShardedProduct, curvature_product
from prunelimit.errors import InputError
from prunelimit.distributed import join
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import evaluate
from prunelimit.inputs.sharded import shard
from prunelimit.lanczos import Lanczos, lanczos


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.hidden, self.back, self.out = nn.Linear(8, 5), nn.Linear(5, 8), nn.Linear(8, 3)
        self.out.weight.requires_grad_(False)
        self.temperature = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        x = x + self.back(nn.functional.gelu(self.hidden(x)))
        return self.out(x.mean(1)) * self.temperature


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 7), nn.Linear(6, 3)
        self.again = nn.Linear(6, 7)
        self.again.weight = self.first.weight

    def forward(self, x):
        rows, _ = self.first.weight.shape
        assert rows == len(self.first.weight) == self.first.weight.size(0) == 7
        return self.last(torch.tanh(self.again(torch.tanh(self.first(x)) @ self.first.weight)
                                    @ self.first.weight))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.again = self.first

    def forward(self, x):
        return self.last(torch.tanh(self.again(torch.tanh(self.first(x)))))


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, g.T @ x


class Hidden(nn.Linear):
    def forward(self, x):
        return Own.apply(x, self.weight)


def problem(network, *shape):
    torch.manual_seed(1)
    for name, tensor in network.state_dict().items():
        if name.endswith("var"):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.7)
    both = torch.randn(11, *shape, dtype=torch.float64), torch.arange(11) % 3
    return problem_from_module(network, both, both, dtype="float64", batch_size=4)


MAKE = {
    "mlp": lambda: problem(
        nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, 3)), 6
    ),
    "cnn": lambda: problem(
        nn.Sequential(
            nn.Conv2d(1, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5), nn.GELU(),
            nn.Conv2d(5, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
        ), 1, 6, 6,
    ),
    "attending": lambda: problem(Attending(), 4, 8),
    "tied": lambda: problem(Tied(), 6),
    "twice": lambda: problem(Twice(), 6),
}

def nothing_held(shared):
    # An exchange lets go of its tensors in its own thread, when that gets to it.
    for _ in range(10_000):
        if shared.gathering.held == 0:
            return shared.gathering.most > 0
        time.sleep(0.01)
    return False


with join("cpu", meshes=True) as group:
    for name, make in MAKE.items():
        alone, shared = make(), shard(make(), group, "cpu")
        parts, dimension = shared.parts(group), alone.layout.size
        vector = torch.randn(dimension, dtype=torch.float64)
        held = sum(p.to_local().numel() for p in shared.parameters().values())
        assert held == parts.length < dimension, (held, parts)
        assert torch.equal(shared.vector(), alone.vector())
        assert torch.equal(parts.all_gather(parts.part(vector)), vector)
        torch.testing.assert_close(
            parts.all_gather(parts.reduce_scatter(vector)), group.size * vector, rtol=1e-15, atol=0
        )
        for weights in (None, vector):
            torch.testing.assert_close(
                evaluate(shared, shared.test, weights).losses,
                evaluate(alone, alone.test, weights).losses, rtol=1e-12, atol=1e-12,
            )
        for kind, dense in (("hessian", dense_hessian), ("ggn", dense_ggn)):
            with sdpa_kernel(SDPBackend.MATH):
                matrix = dense(alone).detach()
            scale = float(matrix.abs().max())
            close = dict(rtol=1e-11, atol=1e-13 * scale * dimension)
            reference = curvature_product(alone, alone.train, kind, "prunelimit")
            for memory in (None, 0):
                product = curvature_product(
                    shared, shared.train, kind, "prunelimit", group=group, memory_bytes=memory
                )
                assert isinstance(product, ShardedProduct) and product.dimension == dimension
                assert product.retained == (memory is None)
                assert nothing_held(shared)  # by the graphs that are kept
                for _ in range(2):
                    found = parts.all_gather(product(parts.part(vector)))
                    torch.testing.assert_close(found, matrix @ vector, **close)
                assert product.products == 2
                torch.testing.assert_close(
                    product.gradient(), reference.gradient(), rtol=1e-11, atol=1e-13
                )
            process = Lanczos(product, parts.part(vector), group=group, dimension=dimension)
            process.advance(6)
            expected = lanczos(lambda v: matrix @ v, vector, 6)
            for ours, theirs in (
                (process.run.alpha, expected.alpha), (process.run.beta, expected.beta)
            ):
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11 * scale)
    refused = shard(problem(nn.Sequential(Hidden(6, 5), nn.Linear(5, 3)), 6), group, "cpu")
    try:
        ShardedProduct(refused, refused.train)
        raise AssertionError("not refused")
    except InputError as error:
        assert str(error).startswith("aten.mm in the network needs whole parameters"), error
# A thread that outlived the group would abort the interpreter at its end, now and then.
for thread in Path("/proc/self/task").glob("*/comm"):
    assert "gloo" not in thread.read_text(), thread.read_text()
print("fine", group.rank)
"""


@pytest.mark.parametrize("processes", [2, 3])
def test_products_are_those_of_one_process(processes: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    outcome = together(processes, script, PYTHONPATH=str(Path(__file__).parent))
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.count("fine") == processes


NETWORK = """
import os
from torch import nn
from prunelimit.curvature import ShardedProduct

multiply, calls = ShardedProduct.__call__, 0

def mortal(self, part):
    global calls
    calls += 1
    if calls == int(os.environ["DIE_AT"]):
        os._exit(7)
    return multiply(self, part)

if os.environ.get("RANK") == "1" and "DIE_AT" in os.environ:
    ShardedProduct.__call__ = mortal

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.Tanh(), nn.Linear(7, 10))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prunelimit.cli.main import main

    folder = tmp_path_factory.mktemp("sharded")
    (folder / "network.py").write_text(NETWORK)
    spec = f"{folder / 'network.py'}:make"
    options = ["--model", spec, "--data", "digits", "--epochs", "4", "--l1", "1e-4", "-q"]
    assert main(["train", *options, "-o", str(folder / "m.safetensors")]) == 0
    return folder / "m.safetensors"


def test_the_limit_is_that_of_one_process_and_a_death_is_survived(
    checkpoint: Path, tmp_path: Path
) -> None:
    from prunelimit.cli.main import main

    command = [
        "predict", str(checkpoint), "-m", f"{checkpoint.with_name('network.py')}:make",
        "--samples", "301", "--dtype", "float64", "--steps", "20", "--directional-steps", "10",
        "--shard", "parameters",
    ]  # fmt: skip
    # One process has all parameters, whatever it is told.
    assert main([*command, "-o", str(tmp_path / "one.json"), "-q"]) == 0
    one = json.loads((tmp_path / "one.json").read_text())
    shared = ["-m", "prunelimit", *command, "-o", tmp_path / "two.json"]
    survivor, died = death(*shared, DIE_AT="15")
    assert (survivor.code, died.code) == (3, 7)
    assert "Another process of the run died" in survivor.stderr
    assert (tmp_path / "two.json.resume").is_dir()
    again = together(2, *shared, "--resume", "-q")
    assert again.code == 0, again.stderr
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["limit"]["sparsity"] == one["limit"]["sparsity"]
    assert two["limit"]["interval"] == pytest.approx(one["limit"]["interval"], abs=2e-3)
    for name in ("lambda_max", "lambda_min", "trace"):
        assert two["curvature"][name] == pytest.approx(one["curvature"][name], rel=1e-9)
    for ours, theirs in zip(two["reliability"]["path"], one["reliability"]["path"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8)
    assert not (tmp_path / "two.json.resume").exists()


def test_pyhessian_does_not_share(checkpoint: Path) -> None:
    configs = ModelConfig(), DataConfig(), RunConfig()
    curvature = CurvatureConfig(shard="parameters", backend="pyhessian")
    with pytest.raises(UsageError, match="one process"):
        predict(checkpoint, *configs, curvature, LimitConfig(), group=Group(0, 2))


def test_every_process_has_a_part() -> None:
    samples = torch.randn(20, 4), torch.arange(20) % 3
    problem = problem_from_module(nn.Linear(4, 3), samples, samples)
    with pytest.raises(UsageError, match=r"4 processes .* at most 3 rows; start fewer"):
        shard(problem, Group(0, 4), "cpu")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_parts_make_up_the_vector(size: int) -> None:
    blocks = ((10, 3), (1, 1), (4, 1), (2, 6))
    vector = torch.arange(47)
    every = [ShardSpec(Group(rank, size), blocks) for rank in range(size)]
    assert {parts.dimension for parts in every} == {47}
    found = [parts.part(vector) for parts in every]
    assert [len(part) for part in found] == [parts.length for parts in every]
    assert (
        every[0].longest
        == max(map(len, found))
        == sum(math.ceil(rows / size) * width for rows, width in blocks)
    )
    assert every[0].shortest == min(map(len, found))
    assert torch.equal(torch.cat(found).sort().values, vector)
    # As DTensor's Shard(0) cuts them, which is how torch.chunk does.
    pieces = zip(vector.split([30, 1, 4, 12]), blocks, strict=True)
    cut = [piece.view(shape).chunk(size) for piece, shape in pieces]
    for rank, part in enumerate(found):
        own = [chunks[rank].reshape(-1) for chunks in cut if rank < len(chunks)]
        assert torch.equal(part, torch.cat(own) if own else part[:0])
