"""What is pruned: the kinds of layers that people run, each counted, differentiated and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Outcome
from oracles import dense_ggn, dense_hessian
from safetensors.torch import load_file
from test_cases_faults import refused
from torch import Tensor, nn

from prunelimit.curvature import CurvatureProduct
from prunelimit.curvature.function import differentiable
from prunelimit.errors import InputError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.inputs.prunable import dense_matrices, dense_notice, is_transposed
from prunelimit.pruning.input_norms import input_norms
from prunelimit.pruning.layers import prunable_layers

Run = Callable[..., Outcome]
WORDS, LENGTH, WIDTH = 11, 5, 4


class Recurrent(nn.Module):
    """Tokens through a recurrent layer; the last output is classified."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.layer = kind(WIDTH, 3, batch_first=True, **options)
        self.head = nn.LazyLinear(3)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(self.layer(self.table(tokens))[0][:, -1])
        return found


class Cell(nn.Module):
    """The same with a cell, step by step."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.table, self.cell, self.head = (
            nn.Embedding(WORDS, WIDTH),
            kind(WIDTH, 3),
            nn.Linear(3, 3),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        state = None
        for step in range(tokens.shape[1]):
            state = self.cell(self.table(tokens[:, step]), state)
        found: Tensor = self.head(state[0] if isinstance(state, tuple) else state)
        return found


class Attention(nn.Module):
    """Self-attention over tokens, averaged."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True, **options)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        mixed = self.attention(x, x, x, need_weights=False)[0]
        found: Tensor = self.head((x + mixed).mean(1))
        return found


class Conv1D(nn.Module):
    """As transformers has it: a linear layer with its weight transposed."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.nf = outputs
        self.weight = nn.Parameter(0.3 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        size = (*x.shape[:-1], self.nf)
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(size)


class Gpt(nn.Module):
    """GPT-2 in small: a causal mask of infinities, Conv1D, and the head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.c_attn, self.c_proj = Conv1D(3 * WIDTH, WIDTH), Conv1D(WIDTH, WIDTH)
        self.lm_head = nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.wte.weight
        mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)
        self.register_buffer("mask", mask)

    def forward(self, tokens: Tensor) -> Any:
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        q, k, v = self.c_attn(x).chunk(3, -1)
        x = x + self.c_proj((q @ k.transpose(1, 2) + self.mask).softmax(-1) @ v)
        return type("Output", (), {"logits": self.lm_head(x[:, -1])})()


class Convolved(nn.Module):
    """A convolution of some kind over what an input (n, 1, ...) is."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer, self.head = kind(1, 2, 2), nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.layer(x).tanh().flatten(1))
        return found


def tokens(classes: int = 3, count: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    found = torch.randint(0, WORDS, (count, LENGTH), generator=generator)
    return found, torch.arange(count) % classes


def image(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(24, 1, *shape, generator=torch.Generator().manual_seed(1)), torch.arange(
        24
    ) % 3


def problem_of(network: nn.Module, data: Any, **options: Any) -> Problem:
    return problem_from_module(network, data, data, dtype="float64", **options)


E, H = WIDTH, 3
CASES: dict[str, tuple[Callable[[], nn.Module], Any, int]] = {
    "lstm": (lambda: Recurrent(nn.LSTM), tokens(), 4 * H * E + 4 * H * H + 9),
    "lstm, two ways and layers": (
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        tokens(),
        2 * (4 * H * E + 4 * H * H) + 2 * (4 * H * 2 * H + 4 * H * H) + 18,
    ),
    "lstm, projected": (
        lambda: Recurrent(nn.LSTM, proj_size=2),
        tokens(),
        4 * H * E + 4 * H * 2 + 2 * H + 6,
    ),
    "gru": (lambda: Recurrent(nn.GRU), tokens(), 3 * H * E + 3 * H * H + 9),
    "rnn": (lambda: Recurrent(nn.RNN), tokens(), H * E + H * H + 9),
    "lstm cell": (lambda: Cell(nn.LSTMCell), tokens(), 4 * H * E + 4 * H * H + 9),
    "gru cell": (lambda: Cell(nn.GRUCell), tokens(), 3 * H * E + 3 * H * H + 9),
    "attention": (Attention, tokens(), 4 * E * E + 3 * E),
    "attention, keys of their own": (
        lambda: Attention(kdim=WIDTH, vdim=WIDTH, bias=False, add_bias_kv=True),
        tokens(),
        4 * E * E + 3 * E,
    ),
    "gpt": (Gpt, tokens(WORDS, 33), 4 * E * E + WORDS * E),
    "1-d": (lambda: Convolved(nn.Conv1d), image(6), 4 + 3 * 10),
    "2-d": (lambda: Convolved(nn.Conv2d), image(4, 4), 8 + 3 * 18),
    "3-d": (lambda: Convolved(nn.Conv3d), image(3, 3, 3), 16 + 3 * 16),
    "1-d, transposed": (lambda: Convolved(nn.ConvTranspose1d), image(6), 4 + 3 * 14),
    "2-d, transposed": (lambda: Convolved(nn.ConvTranspose2d), image(3, 3), 8 + 3 * 32),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_every_kind_is_counted_and_differentiated(name: str, kind: str) -> None:
    make, data, prunable = CASES[name]
    torch.manual_seed(0)
    problem = problem_of(make(), data)
    assert int(problem.prunable_mask().sum()) == prunable
    with differentiable(problem.model, problem.device):
        exact = dense_hessian(problem) if kind == "hessian" else dense_ggn(problem)
    product = CurvatureProduct(problem, problem.train, kind)
    vector = torch.randn(problem.layout.size, dtype=torch.float64)
    torch.testing.assert_close(product(vector), exact @ vector, rtol=1e-8, atol=1e-10)


def test_embeddings_are_pruned_when_asked_for_and_told_when_not() -> None:
    problem = problem_of(Attention(), tokens())
    assert [each.name for each in problem.dense] == ["table.weight"]
    only = problem.dense[0]
    total = sum(p.numel() for p in problem.model.parameters())
    assert (only.size, only.share) == (WORDS * E, WORDS * E / total)
    assert "an embedding, which is pruned when asked for" in only.why
    asked = problem_of(Attention(), tokens(), embeddings=True)
    assert asked.dense == () and "table.weight" in asked.prunable
    assert set(asked.prunable) - set(problem.prunable) == {"table.weight"}


def test_what_stays_dense_and_why() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.token = nn.Parameter(torch.eye(4)), nn.Parameter(torch.ones(1, 4))
            self.norm, self.out = nn.LayerNorm((2, 2)), nn.Linear(4, 3)
            self.frozen, self.held = nn.Linear(4, 4), nn.Linear(4, 4)
            self.frozen.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm((x @ self.mix + self.token).unflatten(1, (2, 2))).flatten(1)
            found: Tensor = self.out(self.held(self.frozen(x)))
            return found

    data = torch.randn(20, 4), torch.arange(20) % 3
    problem = problem_of(Net(), data, exclude=["held"])
    assert problem.prunable == ("out.weight",)
    assert {each.name: each.why for each in problem.dense} == {
        "mix": "of a Net, which is not a known layer",
        "norm.weight": "of a normalisation",
        "norm.bias": "of a normalisation",
        "frozen.weight": "not trainable",
        "held.weight": "excluded",
    }
    notice = dense_notice(problem.dense)
    assert notice is not None and "frozen.weight (4x4, " in notice and notice.endswith(").")
    assert dense_notice(()) is None
    many = nn.ModuleList([nn.Embedding(k + 2, 3) for k in range(8)])
    said = dense_notice(dense_matrices(many, ()))
    assert said is not None and "100.0% of the parameters" in said and "3 smaller ones" in said


@pytest.mark.parametrize("command", ["predict", "prune", "measure"])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_weights_without_entries_are_none(prunelimit: Run, tmp_path: Path, command: str) -> None:
    """A head of no outputs, as some networks have in place of one that was taken off."""
    Path("net.py").write_text(
        "import torch\n"
        "class Headless(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = torch.nn.Linear(64, 10)\n"
        "        self.head = torch.nn.Linear(10, 0)\n"
        "    def forward(self, inputs):\n"
        "        return self.net(inputs.flatten(1))\n"
    )
    given = ("-m", "net.py:Headless", "-d", "digits", "-q")
    assert prunelimit("train", *given, "--epochs", "1", "-o", "net.pt").code == 0
    few = ("--samples", "100", "--probes", "1", "--steps", "5")
    rest = {"predict": few, "prune": ("--amount", "0.5"), "measure": ("--sparsities", "0,0.5")}
    output = "out.pt" if command == "prune" else "out.json"
    outcome = prunelimit(command, "net.pt", *given, *rest[command], "-o", output)
    assert outcome.code == 0, outcome.stderr
    if command != "prune":
        assert json.loads(Path(output).read_text())["model"]["prunable"] == 640


def test_inputs_lie_along_the_first_dimension_of_conv1d() -> None:
    problem = problem_of(Gpt(), tokens(WORDS, 33))
    found = {layer.name: layer.input_dimension for layer in prunable_layers(problem)}
    assert found == {"wte.weight": 1, "c_attn.weight": 0, "c_proj.weight": 0}
    assert is_transposed(nn.ConvTranspose2d(1, 1, 1)) and not is_transposed(nn.Conv1d(1, 1, 1))


def test_wanda_of_conv1d_is_that_of_the_linear_layer() -> None:
    class Net(nn.Module):
        def __init__(self, transposed: bool) -> None:
            super().__init__()
            self.layer = Conv1D(3, 4) if transposed else nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x)
            return found

    data = torch.randn(20, 4), torch.arange(20) % 3
    mine, linear = (problem_of(Net(transposed), data) for transposed in (True, False))
    torch.testing.assert_close(
        input_norms(mine, mine.train).view(4, 3).T, input_norms(linear, linear.train).view(3, 4)
    )
    for network in (Recurrent(nn.GRU), Attention()):
        problem = problem_of(network, tokens())
        with pytest.raises(InputError, match="wanda cannot see the inputs"):
            input_norms(problem, problem.train)


SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, tokens):
        return self.head(self.body(self.table(tokens)).mean(1))


def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 20, (400, 6), generator=g)
    y = (x < 5).sum(1).clamp(max=3)
    return x[:300], y[:300], x[300:], y[300:]
"""


@pytest.fixture
def transformer(tmp_path: Path) -> tuple[nn.Module, Any]:
    """A fitted one, saved with its source and data."""
    (tmp_path / "net.py").write_text(SOURCE)
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    torch.manual_seed(0)
    network, data = space["Net"](), space["data"]()
    step = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(data[0]), data[1])
        step.zero_grad()
        loss.backward()
        step.step()
    torch.save(network.state_dict(), tmp_path / "n.pt")
    names = ("x_train", "y_train", "x_test", "y_test")
    arrays = {name: each.numpy() for name, each in zip(names, data, strict=True)}
    arrays["x_train"] = arrays["x_train"].astype(np.int32)
    np.savez(tmp_path / "d.npz", **arrays)
    return network.eval(), data


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["net.py:data", "npz:d.npz"])
def test_token_ids_go_through_every_command(
    prunelimit: Run, transformer: tuple[nn.Module, Any], tmp_path: Path, spec: str
) -> None:
    network, (_, _, x, y) = transformer
    named = ("n.pt", "-m", "net.py:Net", "-d", spec)
    small = ("--samples", 0, "--steps", 8, "--probes", 1, "--directional-steps", 4, "--no-drift")
    predicted = prunelimit("predict", *named, *small, "--json")
    assert predicted.code == 0, predicted.stderr
    assert "table.weight (20x8, " in predicted.stderr
    prunable = 2 * (3 * 64 + 64 + 2 * 128) + 32
    assert predicted.document["model"]["prunable"] == prunable
    found = prunelimit("prune", *named, "--amount", 0.5, "--json", "-q")
    assert found.code == 0, found.stderr
    assert found.document["nonzero"] == prunable // 2
    written = load_file(tmp_path / "pruned.safetensors")
    with torch.no_grad():
        right = network(x).argmax(1) == y
        assert found.document["accuracy_before"] == pytest.approx(float(right.double().mean()))
        network.load_state_dict(written)
        right = network(x).argmax(1) == y
        assert found.document["accuracy_after"] == pytest.approx(float(right.double().mean()))
    zeros = sum(int((written[name] == 0).sum()) for name in written if "norm" not in name)
    assert zeros >= prunable // 2
    measured = prunelimit("measure", *named, "--sparsities", "0,0.5,0.9", "--json", "-q")
    assert measured.code == 0, measured.stderr
    with_table = prunelimit("measure", *named, "--include-embeddings", *("--sparsities", "0,0.5"),
                            "--json", "-q")  # fmt: skip
    assert with_table.document["model"]["prunable"] == prunable + 160


def test_codes_for_a_network_of_numbers_are_told(prunelimit: Run, tmp_path: Path) -> None:
    x, y = np.arange(120).reshape(30, 4) % 7, np.arange(30) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Linear(4, 3)\n"
    )
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "n.pt")
    found = prunelimit("prune", "n.pt", "-m", "net.py:net", "-d", "npz:d.npz", "--amount", 0.5)
    refused(found, "int64", "floating-point numbers where they are no codes")


@pytest.mark.parametrize("mode", ["I;16", "rgb16"])
def test_images_of_16_bits_are_refused(prunelimit: Run, tmp_path: Path, mode: str) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for k in range(2):
                if mode == "I;16":
                    pixels = rng.integers(0, 2**16, (8, 8)).astype(np.uint16)
                    Image.fromarray(pixels).save(folder / f"{k}.png")
                else:
                    head = b"P6 # a comment\n8 8\n65535\n"
                    (folder / f"{k}.ppm").write_bytes(head + rng.bytes(8 * 8 * 6))
    found = prunelimit("train", "-m", "lenet-300-100", "-d", f"folder:{tmp_path}/images", "-q")
    refused(found, "more than 8 bits per channel")
    assert json.dumps(found.stderr)
