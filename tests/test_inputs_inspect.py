"""inspect: what a file holds, right to the entry, and nothing of it run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from safetensors.torch import save_file, save_model
from test_cases_faults import refused
from torch import nn

from prunelimit.inputs.build import build_network
from prunelimit.inputs.checkpoint import write_checkpoint
from prunelimit.inputs.known import likely_builtin
from prunelimit.inputs.prunable import prunable_weights

Run = Callable[..., Outcome]


class Payload:
    """Unpickling this would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


class Net(nn.Module):
    """One of each: a table, attention, recurrence, a tied weight, a matrix of no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings, self.token = nn.Embedding(7, 4), nn.Parameter(torch.ones(1, 1, 4))
        self.attention, self.layer = nn.MultiheadAttention(4, 2), nn.LSTM(4, 3)
        self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.patch_embed = nn.Conv2d(3, 4, 2)
        self.mix = nn.Parameter(torch.eye(4))
        self.b.weight = self.a.weight
        with torch.no_grad():
            self.a.weight[:2] = 0


def named(document: Any) -> dict[str, Any]:
    return {each["name"]: each for each in document["tensors"]}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_tensors_ties_zeros_and_what_would_be_pruned(
    prunelimit: Run, tmp_path: Path, prefix: str
) -> None:
    network = Net()
    state = {prefix + name: each for name, each in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "best_prec1": 91.5}, tmp_path / "n.pt")
    found = prunelimit("inspect", "n.pt", "--json", "-o", "i.json")
    assert found.code == 0, found.stderr
    document = found.document
    assert (tmp_path / "i.json").exists() and document["schema"] == "prunelimit.inspect/1"
    assert document["claimed"] == 0.915 and document["prefix"] == prefix
    assert document["state"] == "state_dict" and document["code"] == []
    assert document["bytes"] == (tmp_path / "n.pt").stat().st_size
    parameters = dict(network.named_parameters())
    assert document["entries"] == sum(each.numel() for each in parameters.values())
    tensors = named(document)
    assert tensors["b.weight"]["same_as"] == "a.weight" and tensors["a.weight"]["zeros"] == 8
    known = prunable_weights(network)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        assert tensors[name]["prunable"] == (id(parameter) in known), name
        assert tensors[name]["shape"] == list(parameter.shape)
        assert tensors[name]["share"] == pytest.approx(parameter.numel() / document["entries"])
    assert "embedding" in tensors["word_embeddings.weight"]["why"]
    assert tensors["mix"]["why"] and tensors["norm.weight"]["why"] is None
    assert tensors["token"]["why"] is None
    for words in ("accuracy 91.50%", "b.weight = a.weight", "mix", "zero already"):
        assert words in found.stderr


def test_code_is_named_and_not_run(prunelimit: Run, tmp_path: Path) -> None:
    content = {"state_dict": nn.Linear(2, 2).state_dict(), "x": Payload(str(tmp_path / "made"))}
    torch.save(content, tmp_path / "evil.pt")
    found = prunelimit("inspect", "evil.pt", "--json")
    assert found.code == 0 and not (tmp_path / "made").exists()
    assert found.document["code"] == [f"{os.mkdir.__module__}.mkdir"]
    assert found.document["tensors"] == [] and "nothing was run" in found.stderr


def test_several_states_and_a_key(prunelimit: Run, tmp_path: Path) -> None:
    a, b = nn.Linear(2, 3).state_dict(), nn.Linear(4, 5).state_dict()
    torch.save({"ema": {"inner": a}, "model": b, "list": [a]}, tmp_path / "n.pt")
    document = prunelimit("inspect", "n.pt", "--json").document
    assert [each["key"] for each in document["states"]] == ["ema.inner", "model", "list.0"]
    assert document["state"] == "model" and document["entries"] == 25
    assert prunelimit("inspect", "n.pt", "--json", "--key", "ema.inner").document["entries"] == 9
    refused(prunelimit("inspect", "n.pt", "--key", "other"), "it holds ema.inner, model, list.0")


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8", "complex64", "bfloat16", "bool"])
def test_every_type_is_shown(prunelimit: Run, tmp_path: Path, dtype: str) -> None:
    tensor = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).to(getattr(torch, dtype))
    save_file({"layer.weight": tensor}, tmp_path / "n.safetensors")
    document = prunelimit("inspect", "n.safetensors", "--json", "-q").document
    assert document["dtypes"] == {dtype: 1} and document["zeros"] == 2


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet5", "resnet20", "vgg16", "alexnet"])
def test_builtin_networks_are_recognised(name: str) -> None:
    shape = (1, 28, 28) if name.startswith("lenet") else (3, 32, 32)
    state = build_network(name, input_shape=shape, classes=7).state_dict()
    shapes = {n: tuple(t.shape) for n, t in state.items()}
    assert likely_builtin(shapes) == name
    assert likely_builtin({f"other.{n}": s for n, s in shapes.items()}) is None
    assert likely_builtin({}) is None


def test_our_own_files_and_those_of_others(prunelimit: Run, trained: Path, tmp_path: Path) -> None:
    document = prunelimit("inspect", trained, "--json", "-q").document
    assert document["described"] == document["likely"] == "lenet-300-100"
    save_model(Net(), str(tmp_path / "m.safetensors"))
    names = named(prunelimit("inspect", "m.safetensors", "--json", "-q").document)
    assert "a.weight" in names or "b.weight" in names
    for content in (b"", b"hello, this is text", b"version https://git-lfs.github.com/spec/v1\n"):
        (tmp_path / "no.pt").write_bytes(content)
        refused(prunelimit("inspect", "no.pt"), "no.pt is")
    refused(prunelimit("inspect", "missing.pt"), "no checkpoint missing.pt")


NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.mix = nn.Bilinear(4, 4, 3)
        self.weight = nn.Linear(4, 4)
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.table.weight
"""


def whys(document: Any) -> dict[str, str | None]:
    return {each["name"]: each["why"] for each in document["tensors"] if each["prunable"] or
            each["why"]}  # fmt: skip


class TestWhatIsPrunable:
    def test_of_a_network_that_is_named(self, prunelimit: Run) -> None:
        Path("net.py").write_text(NET)
        names: dict[str, Any] = {"__name__": "net"}
        exec(NET, names)
        torch.save(names["Net"]().state_dict(), "n.pt")
        found = prunelimit("inspect", "n.pt", "--json", "-q").document
        assert found["network"] is None
        assert "not called" not in str(whys(found)["mix.weight"])  # a guess, by its name
        found = prunelimit("inspect", "n.pt", "-m", "net.py:Net", "--json", "-q").document
        assert found["network"] == "net.py:Net"
        assert whys(found)["mix.weight"] == "of a Bilinear, which is not a known layer"
        assert whys(found)["weight.weight"] is None and whys(found)["head.weight"] is None
        found = prunelimit("inspect", "n.pt", "-m", "net.py:Net", "--exclude", "weight", "--json")
        assert whys(found.document)["weight.weight"] == "excluded"
        refused(prunelimit("inspect", "n.pt", "-m", "net.py:Nett"), "did you mean Net")

    def test_layers_of_one_row_count_with_and_without_a_network(self, prunelimit: Run) -> None:
        source = (
            "from torch import nn\n"
            "def net():\n"
            "    first = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, groups=4)\n"
            "    second = nn.Flatten(), nn.Linear(4, 1), nn.LayerNorm(1), nn.GRU(1, 1)\n"
            "    third = nn.Embedding(1, 3), nn.ConvTranspose1d(1, 1, 3)\n"
            "    return nn.Sequential(*first, *second, *third)\n"
        )
        Path("net.py").write_text(source)
        names: dict[str, Any] = {}
        exec(source, names)
        torch.save(names["net"]().state_dict(), "n.pt")
        given, guessed = (
            prunelimit("inspect", "n.pt", *more, "--json", "-q").document
            for more in (("-m", "net.py:net"), ())
        )
        own = [{e["name"] for e in found["tensors"] if e["prunable"]} for found in (given, guessed)]
        assert own[0] == {"0.weight", "2.weight", "4.weight", "6.weight_ih_l0", "6.weight_hh_l0",
                          "8.weight"}  # fmt: skip
        assert own[1] == own[0] | {"7.weight"}  # nothing says that it is a table

    def test_of_one_that_is_found(self, prunelimit: Run, trained: Path) -> None:
        found = prunelimit("inspect", trained, "--json")
        assert found.document["network"] == "lenet-300-100"
        assert "as lenet-300-100 has them" in found.stderr
        from prunelimit.inputs.build import build_network

        state = build_network("resnet20", input_shape=(3, 32, 32), classes=10).state_dict()
        torch.save({f"module.{name}": each for name, each in state.items()}, "r.pt")
        document = prunelimit("inspect", "r.pt", "--json", "-q").document
        assert document["network"] == document["likely"] == "resnet20"
        assert sum(each["prunable"] for each in document["tensors"]) == 20

    def test_of_a_library(self, prunelimit: Run) -> None:
        from torchvision import models

        torch.save(models.resnet18(num_classes=7).state_dict(), "r.pt")
        document = prunelimit("inspect", "r.pt", "-m", "torchvision:resnet18", "--json").document
        assert sum(each["prunable"] for each in document["tensors"]) == 21
        refused(prunelimit("inspect", "r.pt", "-m", "torchvision:resnet19"), "did you mean", code=2)

    @pytest.mark.parametrize("said", ["hf", "lenet5", "vgg16", "hf:../x", "os:system", 7, ""])
    def test_of_a_file_that_says_something_else(self, prunelimit: Run, said: Any) -> None:
        about = {"model": {"model": said}, "data": {}}
        write_checkpoint("n.safetensors", {"a.weight": torch.eye(3)}, about)
        document = prunelimit("inspect", "n.safetensors", "--json", "-q").document
        assert document["network"] is None
        assert [each["prunable"] for each in document["tensors"]] == [True]
