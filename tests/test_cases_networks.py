"""Networks as they come: each right, or refused in one sentence, by every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from test_cases_faults import refused
from torch import Tensor, nn

from prunelimit.errors import InputError, NumericalError, UsageError
from prunelimit.inputs.load import problem_from_module

Run = Callable[..., Outcome]

BASE = """
import torch
from torch import nn


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 3))


def data():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (512,), generator=g)
    centres = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    x = centres[y] * 0.5 + torch.randn(512, 1, 8, 8, generator=g)
    return x[:384], y[:384], x[384:], y[384:]
"""


@pytest.fixture
def own(tmp_path: Path, prunelimit: Run) -> Callable[..., Outcome]:
    """Runs a command on a network of one's own: its source, the name of the network, a state."""

    def run(command: str, source: str, name: str, state: Any, *options: object) -> Outcome:
        (tmp_path / "base.py").write_text(BASE)
        (tmp_path / "net.py").write_text(f"from base import *\n{source}")
        torch.save(state, tmp_path / "n.pt")
        named = ("-m", f"net.py:{name}", "-d", "net.py:data")
        force = () if command == "predict" else ("--force",)
        return prunelimit(command, "n.pt", *named, *force, *options)

    return run


def made(source: str, name: str) -> Any:
    """The network of such a source, fitted for some steps, and the data."""
    space: dict[str, Any] = {}
    exec(compile(BASE + source, "net", "exec"), space)
    torch.manual_seed(0)
    network, (x, y, _, _) = space[name](), space["data"]()
    step = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(x.clone()), y)
        step.zero_grad()
        loss.backward()
        step.step()
    return network.eval(), space["data"]()


SMALL = {
    "prune": ("--amount", 0.5, "--json", "-q"),
    "measure": ("--sparsities", "0,0.5", "--json", "-q"),
    "predict": ("--samples", 0, "--steps", 6, "--probes", 1, "--directional-steps", 3, "--no-drift",
                "--json", "-q"),
    "spectrum": ("--samples", 0, "--steps", 6, "--probes", 1, "--json", "-q"),
}  # fmt: skip

IMPURE = {
    "writes to its inputs": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        x -= 0.1
        return self.body(x)
""",
    "writes to its inputs (as": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        x.numpy()[:] *= 0.9
        return self.body(x)
""",
    "changes its buffer centre": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
        self.register_buffer("centre", torch.zeros(64))
    def forward(self, x):
        x = x.flatten(1)
        self.centre = 0.9 * self.centre + 0.1 * x.mean(0).detach()
        return self.body((x - self.centre).unflatten(1, (1, 8, 8)))
""",
    "changes its buffer seen": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64), persistent=False)
    def forward(self, x):
        self.seen += len(x)
        return self.body(x)
""",
    "other outputs when the same samples": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.calls = mlp(), 0
    def forward(self, x):
        self.calls += 1
        return self.body(x) + 0.01 * self.calls
""",
    "other outputs when the same": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        return self.body(nn.functional.dropout(x, 0.1, training=True))
""",
    "some outputs alone and others in a batch": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.norm = mlp(), nn.BatchNorm2d(1, track_running_stats=False)
    def forward(self, x):
        return self.body(self.norm(x))
""",
    "alone and others in": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        return self.body(x) - 0.01 * x.mean()
""",
    "ends in probabilities": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        return self.body(x).softmax(1)
""",
    "without .logits": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        return {"scores": self.body(x)}
""".replace("scores", "other"),
    "calls sys.exit": """
import sys
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        sys.exit(0)
""",
}


@pytest.mark.parametrize("told", IMPURE)
def test_what_is_no_function_of_a_sample_is_refused_by_every_command(
    own: Run, told: str, tmp_path: Path
) -> None:
    source = IMPURE[told]
    state = {f"body.{n}": t for n, t in _mlp().state_dict().items()}
    if "centre" in source:
        state["centre"] = torch.zeros(64)
    if "self.norm" in source:
        state |= {"norm.weight": torch.ones(1), "norm.bias": torch.zeros(1)}
    words = {"without .logits": "something with .logits", "calls sys.exit": "sys.exit"}
    for command, options in SMALL.items():
        found = own(command, source, "Net", state, *options)
        refused(found, words.get(told, told))


def _mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 3))


def test_a_living_module_is_checked_too() -> None:
    class Shifting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.body(x - x.mean(0))
            return found

    data = torch.randn(20, 4), torch.arange(20) % 3
    with pytest.raises(InputError, match="some outputs alone and others in a batch"):
        problem_from_module(Shifting(), data, data)
    with pytest.raises(InputError, match="ends in probabilities"):
        problem_from_module(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), data, data)
    # The logarithm of probabilities is as good as logits.
    problem_from_module(nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)), data, data)
    with pytest.raises(NumericalError, match="gives NaN"):
        problem_from_module(_Nan(), data, data)


class _Nan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x) * torch.nan
        return found


def test_deep_networks_round_otherwise_alone_and_are_let_pass() -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(60, 60), nn.ReLU()) for _ in range(40)]
    network = nn.Sequential(nn.Linear(4, 60), *layers, nn.Linear(60, 3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3
    data = torch.randn(100, 4), torch.arange(100) % 3
    assert problem_from_module(network, data, data).classes == 3


ROTARY = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        angle = torch.outer(torch.arange(8.0), torch.tensor([1.0, 0.3, 0.1, 0.03]))
        self.register_buffer("turn", torch.polar(torch.ones_like(angle), 2 * angle))
    def forward(self, x):
        z = torch.view_as_complex(self.q(x[:, 0]).reshape(len(x), 8, 4, 2).contiguous())
        return self.head(torch.view_as_real(z * self.turn).flatten(2).tanh().mean(1))
"""
CAUSAL = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)
        self.register_buffer("mask", torch.full((8, 8), float("-inf")).triu(1))
    def forward(self, x):
        q, k, v = self.qkv(x[:, 0]).chunk(3, -1)
        share = (q @ k.transpose(1, 2) / 8**0.5 + self.mask).softmax(-1)
        return self.head((share @ v).mean(1))
"""


@pytest.mark.parametrize("source", [ROTARY, CAUSAL])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_and_infinite_buffers_stay_what_they_are(own: Run, source: str, dtype: str) -> None:
    network, (_, _, x, y) = made(source, "Net")
    accuracy = float((network(x).argmax(1) == y).double().mean())
    options = ("--amount", 0, "--json", "-q", "--dtype", dtype)
    found = own("prune", source, "Net", network.state_dict(), *options)
    assert found.code == 0, found.stderr
    assert found.document["accuracy_before"] == pytest.approx(accuracy)
    assert found.document["accuracy_after"] == pytest.approx(accuracy)
    assert "Casting complex" not in found.stderr


def test_a_nan_in_a_weight_is_still_told(own: Run) -> None:
    network, _ = made(CAUSAL, "Net")
    state = network.state_dict()
    state["qkv.weight"][0, 0] = torch.nan
    refused(own("prune", CAUSAL, "Net", state, "--amount", 0.5), "qkv.weight holds a NaN")


WRAPPED = """
class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = mlp()
    def forward(self, x):
        return self.module(x)
def parallel():
    return nn.DataParallel(mlp())
def compiled():
    return torch.compile(mlp(), backend="eager")
def inside():
    return nn.Sequential(torch.compile(mlp(), backend="eager"), nn.Identity())
def averaged():
    return torch.optim.swa_utils.AveragedModel(mlp())
"""


@pytest.mark.parametrize("name", ["Wrapper", "parallel", "compiled", "inside", "averaged"])
@pytest.mark.parametrize("plain", [False, True])
def test_wrapped_networks_read_their_own_names_and_plain_ones(
    own: Run, name: str, plain: bool
) -> None:
    space: dict[str, Any] = {}
    exec(BASE + WRAPPED, space)
    torch.manual_seed(0)
    state = space[name]().state_dict()
    if plain:
        state = space["mlp"]().state_dict()
    found = own("prune", WRAPPED, name, state, "--amount", 0.5, "--json", "-q")
    assert found.code == 0, found.stderr
    assert found.document["nonzero"] == 804


TIED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)
        self.c.weight = self.b.weight
    def forward(self, x):
        return self.head(self.c(self.b(self.a(x.flatten(1)).relu()).relu()).relu())
"""


@pytest.mark.parametrize("left_out", [(), ("b.weight",), ("c.weight",)])
def test_a_file_may_hold_a_tied_weight_once(own: Run, left_out: tuple[str, ...]) -> None:
    network, (_, _, x, y) = made(TIED, "Net")
    state = {n: t for n, t in network.state_dict().items() if n not in left_out}
    found = own("prune", TIED, "Net", state, "--amount", 0, "--json", "-q")
    assert found.code == 0, found.stderr
    assert found.document["nonzero"] == 64 * 16 + 16 * 16 + 16 * 3
    accuracy = float((network(x).argmax(1) == y).double().mean())
    assert found.document["accuracy_before"] == pytest.approx(accuracy)


def test_tied_weights_that_differ_in_the_file_are_told(own: Run) -> None:
    network, _ = made(TIED, "Net")
    state = dict(network.state_dict())
    state["c.weight"] = state["c.weight"] + 1
    refused(own("prune", TIED, "Net", state, "--amount", 0), "one tensor in the network, but two")


EXTRA = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.scale = mlp(), 1.0
    def forward(self, x):
        return self.body(x) * self.scale
    def get_extra_state(self):
        return {"scale": self.scale}
    def set_extra_state(self, state):
        self.scale = state["scale"]
"""


@pytest.mark.parametrize("held", [False, True])
def test_extra_state_is_read_and_written(own: Run, held: bool, prunelimit: Run) -> None:
    network, _ = made(EXTRA, "Net")
    network.scale = -1.0  # so that the accuracy tells whether it is read
    state = network.state_dict()
    content = {"state_dict": state, "epoch": 1} if held else state
    found = own("prune", EXTRA, "Net", content, "--amount", 0, "--json", "-q")
    assert found.code == 0, found.stderr
    assert found.document["accuracy_before"] < 0.3
    named = ("-m", "net.py:Net", "-d", "net.py:data")
    again = prunelimit("measure", "pruned.safetensors", *named, *SMALL["measure"])
    assert again.document["dense"]["accuracy"] == found.document["accuracy_before"]


FACTORIES = """
from torch.utils.checkpoint import checkpoint
class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.f = nn.LazyConv2d(6, 3), nn.LazyLinear(3)
    def forward(self, x):
        return self.f(self.c(x).relu().flatten(1))
def meta():
    with torch.device("meta"):
        return mlp()
def inference():
    with torch.inference_mode():
        return mlp()
class Reentrant(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 24), nn.Linear(24, 3)
    def forward(self, x):
        return checkpoint(self.b, self.a(x.flatten(1)).relu(), use_reentrant=True)
class Guarded(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        with torch.set_grad_enabled(self.training):
            return self.body(x)
class Leaky(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        y = self.body(x)
        torch.set_grad_enabled(False)
        return y
class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.EmbeddingBag(20, 8)
        self.f = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    def forward(self, x):
        return self.f(self.e((x.flatten(1)[:, :8] * 3 + 10).clamp(0, 19).long()))
class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
        self._register_load_state_dict_pre_hook(self.older)
    def older(self, state, prefix, *rest):
        for name in [name for name in state if name.startswith("old_")]:
            state[name.replace("old_", "body.")] = state.pop(name)
    def forward(self, x):
        return self.body(x)
class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp().half()
    def forward(self, x):
        return self.body(x)
"""


class TestFactories:
    """Networks made in unusual ways."""

    def state(self, name: str) -> dict[str, Tensor]:
        space: dict[str, Any] = {}
        exec(BASE + FACTORIES, space)
        torch.manual_seed(0)
        network = space["mlp" if name in ("meta", "inference") else name]()
        network(torch.zeros(1, 1, 8, 8)) if name == "Lazy" else None
        found: dict[str, Tensor] = network.state_dict()
        return found

    @pytest.mark.parametrize("name", ["Lazy", "meta", "inference", "Leaky", "Half"])
    @pytest.mark.parametrize("command", ["spectrum", "prune"])
    def test_that_work(self, own: Run, name: str, command: str) -> None:
        found = own(command, FACTORIES, name, self.state(name), *SMALL[command])
        assert found.code == 0, found.stderr
        assert torch.is_grad_enabled()

    def test_that_know_older_names(self, own: Run) -> None:
        state = {n.replace("body.", "old_"): t for n, t in self.state("Hooked").items()}
        found = own("prune", FACTORIES, "Hooked", state, *SMALL["prune"])
        assert found.code == 0, found.stderr

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("Reentrant", "use_reentrant=False"),
            ("Guarded", "without a gradient in eval mode"),
            ("Bag", "_embedding_bag"),
        ],
    )
    def test_that_cannot_be_differentiated(self, own: Run, name: str, told: str) -> None:
        found = own("spectrum", FACTORIES, name, self.state(name), *SMALL["spectrum"])
        if found.code:
            refused(found, told)
        else:
            assert name == "Bag"  # the GGN does without second derivatives
        pruned = own("prune", FACTORIES, name, self.state(name), *SMALL["prune"])
        assert pruned.code == 0, pruned.stderr

    def test_torchs_own_words_are_passed_on_whole(self, own: Run) -> None:
        source = """
def picky():
    m = mlp()
    def refuse(*given):
        raise RuntimeError("first line\\nsecond line says it")
    m._register_load_state_dict_pre_hook(refuse)
    return m
"""
        found = own("prune", source, "picky", _mlp().state_dict(), "--amount", 0.5)
        refused(found, "first line second line says it")


class TestUsersFiles:
    """What a user's own file does beside giving a network."""

    @pytest.mark.parametrize(
        "deed",
        [
            "torch.set_grad_enabled(False)",
            "import os; os.chdir('/')",
            "torch.set_default_dtype(torch.float64)",
            "torch.use_deterministic_algorithms(True)",
            "torch.set_default_device('meta')",
            "import sys; sys.stdout = None",
        ],
    )
    @pytest.mark.parametrize("where", ["module", "factory"])
    def test_leaves_nothing_switched(self, own: Run, deed: str, where: str) -> None:
        source = (
            f"{deed}\ndef net():\n    return mlp()\n"
            if where == "module"
            else f"def net():\n    m = mlp()\n    {deed}\n    return m\n"
        )
        found = own("spectrum", source, "net", _mlp().state_dict(), *SMALL["spectrum"])
        assert found.code == 0, found.stderr
        assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
        assert torch.get_default_device().type == "cpu"
        assert not torch.are_deterministic_algorithms_enabled()

    def test_prints_where_it_does_not_harm(self, own: Run) -> None:
        source = """
print("loading")
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        print("making")
        self.body = mlp()
    def forward(self, x):
        print("running")
        return self.body(x)
"""
        state = {f"body.{n}": t for n, t in _mlp().state_dict().items()}
        found = own("prune", source, "Net", state, *SMALL["prune"])
        assert found.code == 0 and json.loads(found.stdout)["command"] == "prune"
        assert {"loading", "making", "running"} <= set(found.stderr.split())

    @pytest.mark.parametrize(
        "deed",
        [
            'os.write(1, b"by the descriptor\\n")',
            'sys.__stdout__.write("by the first stream\\n")',
            'os.system("echo by a child")',
            pytest.param(
                'ctypes.CDLL(None).printf(b"by the C library\\n")',
                marks=pytest.mark.skipif(sys.platform == "win32", reason="has its own C library"),
            ),
        ],
    )
    def test_writes_past_python_where_it_does_not_harm(self, tmp_path: Path, deed: str) -> None:
        (tmp_path / "net.py").write_text(
            "import ctypes, os, sys\nfrom torch import nn\n"
            f"def network():\n    {deed}\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        )
        state = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict()
        torch.save(state, tmp_path / "net.pt")
        given = ["net.pt", "-m", "net.py:network", "-d", "digits", "--amount", "0.5", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "prunelimit", "prune", *given],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["command"] == "prune"
        assert "by the" in done.stderr or "by a child" in done.stderr

    @pytest.mark.parametrize("where", ["module", "factory"])
    def test_may_not_exit(self, own: Run, where: str) -> None:
        deed = "import sys; sys.exit(0)"
        source = deed if where == "module" else f"def net():\n    {deed}\n"
        refused(own("prune", source, "net", _mlp().state_dict()), "sys.exit(0)")

    def test_is_imported_once(self, own: Run, tmp_path: Path) -> None:
        source = "open('count', 'a').write('x')\ndef net():\n    return mlp()\n"
        assert own("prune", source, "net", _mlp().state_dict(), *SMALL["prune"]).code == 0
        assert (tmp_path / "count").read_text() == "x"


class TestTypes:
    """Weights in a type that is not the network's."""

    @pytest.mark.parametrize("dtype", ["half", "bfloat16", "double"])
    def test_of_floating_point_are_kept(self, own: Run, dtype: str, tmp_path: Path) -> None:
        state = {n: getattr(t, dtype)() for n, t in _mlp().state_dict().items()}
        found = own("prune", "", "mlp", state, "--amount", 0.5, "--json")
        assert found.code == 0, found.stderr
        assert ("float64" in found.stderr) == (dtype == "double")
        from safetensors.torch import load_file

        written = load_file(tmp_path / "pruned.safetensors")
        assert {t.dtype for t in written.values()} == {next(iter(state.values())).dtype}

    @pytest.mark.parametrize(
        "dtype",
        ["complex64", "int8", "int64", "bool", "uint8", "float8_e4m3fn", "float8_e5m2", "uint16"],
    )
    @pytest.mark.parametrize("holder", [False, True])
    def test_of_others_are_refused_by_name(self, own: Run, dtype: str, holder: bool) -> None:
        kind = getattr(torch, dtype)
        state = {n: (t * 100).to(kind) for n, t in _mlp().state_dict().items()}
        content = {"model": state} if holder else state
        refused(own("prune", "", "mlp", content, "--amount", 0.5), f"as {dtype}")

    def test_of_one_layer_are_refused_too(self, own: Run) -> None:
        state = _mlp().state_dict()
        state["3.weight"] = (state["3.weight"] * 100).to(torch.int8)
        refused(own("prune", "", "mlp", state, "--amount", 0.5), "3.weight as int8")

    def test_that_are_quantised_are_refused(self, own: Run) -> None:
        state = {
            n: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)
            for n, t in _mlp().state_dict().items()
        }
        refused(own("prune", "", "mlp", state, "--amount", 0.5), "as qint8")

    def test_of_a_complex_parameter_are_refused(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(4, 4, dtype=torch.complex64)
                self.head = nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                found: Tensor = self.head(self.inner(x.to(torch.complex64)).abs())
                return found

        data = torch.randn(20, 4), torch.arange(20) % 3
        with pytest.raises(InputError, match=r"inner\.weight is complex64.*`exclude`"):
            problem_from_module(Net(), data, data)
        problem = problem_from_module(Net(), data, data, exclude=["inner"])
        assert problem.prunable == ("head.weight",)
        assert problem.model.inner.weight.is_complex()  # type: ignore[union-attr]

    @pytest.mark.parametrize("dtype", ["bool", "complex64", "uint16", "float8_e4m3fn"])
    def test_of_inputs_are_refused_by_name(self, dtype: str) -> None:
        inputs = torch.rand(20, 4).mul(5).to(getattr(torch, dtype))
        with pytest.raises(InputError, match=f"{dtype}|cannot|numeric"):
            problem_from_module(nn.Linear(4, 3), (inputs, torch.arange(20) % 3), (inputs, inputs))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_masks_of_torchs_own_pruning_are_folded(own: Run, masked: bool, plain: bool) -> None:
    source = """
from torch.nn.utils import prune
def masked():
    m = mlp()
    prune.l1_unstructured(m[1], "weight", 0.5)
    prune.l1_unstructured(m[3], "weight", 0.5)
    return m
"""
    space: dict[str, Any] = {}
    exec(BASE + source, space)
    torch.manual_seed(0)
    network = space["masked"]()
    state = network.state_dict()
    if plain:
        for layer in (network[1], network[3]):
            space["prune"].remove(layer, "weight")
        state = network.state_dict()
    name = "masked" if masked else "mlp"
    found = own("prune", source, name, state, "--amount", 0, "--json")
    assert found.code == 0, found.stderr
    assert found.document["nonzero"] == 804
    assert "804 of 1,608 prunable weights are zero already" in found.stderr
    if not plain:
        assert "1.weight, 3.weight are" in found.stderr


NORMED = """
from torch.nn.utils import spectral_norm as old_spectral, weight_norm as old_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
def net(wrap):
    return nn.Sequential(nn.Flatten(), wrap(nn.Linear(64, 24)), nn.ReLU(), wrap(nn.Linear(24, 3)))
def weight(): return net(weight_norm)
def spectral(): return net(spectral_norm)
def oldweight(): return net(old_norm)
def oldspectral(): return net(old_spectral)
"""


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["weight", "spectral", "oldweight", "oldspectral"])
@pytest.mark.parametrize("plain", [False, True])
def test_normed_weights_are_pruned_as_what_they_come_to(
    own: Run, prunelimit: Run, name: str, plain: bool
) -> None:
    network, (_, _, x, y) = made(NORMED, name)
    outputs = network(x)
    accuracy = float((outputs.argmax(1) == y).double().mean())
    loss = float(nn.functional.cross_entropy(outputs, y))
    asked = "mlp" if plain else name
    found = own("prune", NORMED, asked, network.state_dict(), "--amount", 0, "--json")
    assert found.code == 0, found.stderr
    assert found.document["nonzero"] == 1608
    assert found.document["accuracy_before"] == pytest.approx(accuracy)
    assert "1.weight, 3.weight are" in found.stderr
    # What was written is plain weights, which the normed network and the plain one take.
    for reader in ("mlp", name):
        named = ("-m", f"net.py:{reader}", "-d", "net.py:data")
        again = prunelimit("measure", "pruned.safetensors", *named, *SMALL["measure"])
        assert again.code == 0, again.stderr
        assert again.document["dense"]["accuracy"] == pytest.approx(accuracy)
    assert loss < 2


def test_a_scripted_network_is_refused_as_one(own: Run) -> None:
    source = "def scripted():\n    return torch.jit.script(mlp())\n"
    found = own("prune", source, "scripted", _mlp().state_dict(), "--amount", 0.5)
    refused(found, "scripted module", "from which it was scripted")


def test_matrices_left_dense_are_told_with_their_share(own: Run) -> None:
    source = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.eye(64))
        self.body = mlp()
    def forward(self, x):
        return self.body((x.flatten(1) @ self.mix).unflatten(1, (1, 8, 8)))
class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(64, 3))
    def forward(self, x):
        return x.flatten(1) @ self.mix
"""
    state = {"mix": torch.eye(64), **{f"body.{n}": t for n, t in _mlp().state_dict().items()}}
    found = own("prune", source, "Net", state, "--amount", 0.5)
    assert found.code == 0, found.stderr
    assert "mix (64x64, 71.5%, of a Net, which is not a known layer)" in found.stderr
    found = own("prune", source, "Bare", {"mix": torch.eye(64)[:, :3]}, "--amount", 0.5)
    refused(found, "No weight is left to prune", "mix (64x3, 100.0%", code=2)


class TestPlausibility:
    """What looks wrong is said, with the usual cause."""

    def test_of_a_loss_above_guessing(self, own: Run) -> None:
        state = {n: 30 * t for n, t in _mlp().state_dict().items()}
        found = own("prune", "", "mlp", state, "--amount", 0.5)
        assert found.code == 0 and "of guessing among 3 classes" in found.stderr
        assert "--mean, --std" in found.stderr
        assert "guessing" not in own("prune", "", "mlp", state, "--amount", 0.5, "-q").stderr

    @pytest.mark.parametrize("claim", [93.14, 0.9314, torch.tensor(93.14)])
    def test_of_an_accuracy_far_below_what_is_claimed(self, own: Run, claim: Any) -> None:
        content = {"state_dict": _mlp().state_dict(), "best_prec1": claim}
        found = own("prune", "", "mlp", content, "--amount", 0.5)
        assert found.code == 0 and "far below the 93.14% that n.pt claims" in found.stderr

    def test_of_outputs_that_are_those_of_a_sigmoid(self, own: Run) -> None:
        source = "def net():\n    return nn.Sequential(*mlp(), nn.Sigmoid())\n"
        state = _mlp().state_dict()
        found = own("prune", source, "net", state, "--amount", 0.5)
        assert found.code == 0 and "All outputs are from 0 to 1" in found.stderr
        flat = {name: 0 * each for name, each in state.items()}
        found = own("prune", "", "mlp", flat, "--amount", 0.5)
        assert "All outputs are" not in found.stderr

    def test_of_what_is_right_nothing_is_said(self, own: Run) -> None:
        network, _ = made("", "mlp")
        content = {"state_dict": network.state_dict(), "best_prec1": 95.0}
        found = own("prune", "", "mlp", content, "--amount", 0.5)
        assert found.code == 0 and "Note" not in found.stderr


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("attribute", "logits"), ("mapping", "logits"), ("mapping", "out"), ("tuple", "")],
)
def test_outputs_may_lie_in_what_a_network_gives(own: Run, kind: str, fields: str) -> None:
    give = {
        "attribute": f"type('Output', (), {{'{fields}': y}})()",
        "mapping": f"{{'{fields}': y, 'features': x}}",
        "tuple": "(y, x)",
    }[kind]
    source = f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
    def forward(self, x):
        y = self.body(x)
        return {give}
"""
    network, _ = made("", "mlp")
    state = {f"body.{n}": t for n, t in network.state_dict().items()}
    for command in ("predict", "measure", "prune"):
        options = [each for each in SMALL[command] if each != "-q"]
        found = own(command, source, "Net", state, *options)
        assert found.code == 0, found.stderr
        assert ("the first is used" in found.stderr) == (kind == "tuple")


def test_no_weights_at_all_are_told() -> None:
    data = torch.randn(20, 3), torch.arange(20) % 3
    with pytest.raises(UsageError, match="No weight is left to prune"):
        problem_from_module(nn.Identity(), data, data)


OWN_DTYPE = """
import torch

class Cast(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(64, 10).{kind}()

    def forward(self, inputs):
        return self.net(inputs.flatten(1).{kind}()).float()
"""


@pytest.mark.parametrize("kind", ["double", "bfloat16", "half"])
def test_a_forward_with_a_dtype_of_its_own_is_told_which_is_used(
    prunelimit: Run, tmp_path: Path, kind: str
) -> None:
    """Every weight is read in the dtype that the user asks for."""
    Path("net.py").write_text(OWN_DTYPE.format(kind=kind))
    torch.save({"net.weight": torch.ones(10, 64), "net.bias": torch.ones(10)}, "net.pt")
    command = ("measure", "net.pt", "-m", "net.py:Cast", "-d", "digits", "--sparsities", "0.5")
    refused(prunelimit(*command), "All its weights are float32 here", "cast to no other dtype")
    if kind == "double":
        assert prunelimit(*command, "--dtype", "float64", "--epsilon", "0.1").code == 0


def test_a_normalisation_by_the_batch_is_told_as_one(prunelimit: Run, tmp_path: Path) -> None:
    Path("net.py").write_text(
        "from torch import nn\n"
        "def network():\n"
        "    norm = nn.BatchNorm1d(64, track_running_stats=False)\n"
        "    return nn.Sequential(nn.Flatten(), norm, nn.Linear(64, 10))\n"
    )
    state = {"1.weight": torch.ones(64), "1.bias": torch.ones(64)}
    torch.save({**state, "2.weight": torch.ones(10, 64), "2.bias": torch.ones(10)}, "net.pt")
    command = ("measure", "net.pt", "-m", "net.py:network", "-d", "digits", "--sparsities", "0.5")
    refused(prunelimit(*command), "use no statistics of the batch in eval mode")
