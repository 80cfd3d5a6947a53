"""export and densify: every weight bit for bit, in whatever it is packed, and damage is refused."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from conftest import Outcome
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_cases_faults import refused
from torch import Tensor, nn
from torch.nn.utils import prune

import prunelimit as pl
from prunelimit.errors import InputError, UsageError
from prunelimit.inputs.checkpoint import METADATA_KEY, OBJECT_SUFFIX, read_checkpoint
from prunelimit.inputs.packing import PARTS, Group, break_even, group_of, pack, packed_bytes, unpack
from prunelimit.results.schema import schema

Run = Callable[..., Outcome]
PACKINGS = ("bitmask", "csr", "nm")
SUFFIXES = (".pt", ".pth", ".safetensors")
KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def bits(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).clone().view(torch.uint8).numpy().tobytes()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        each.shape == other[name].shape
        and each.dtype == other[name].dtype
        and bits(each) == bits(other[name])
        for name, each in one.items()
    )


def state(kind: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """1:4 masks along the inputs of matrices of several shapes, with a negative zero; and others
    that no packing holds."""
    found: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    for name, shape in {"a": (24, 18), "conv": (5, 8, 3, 3), "deep": (3, 4, 2, 2, 2)}.items():
        values = torch.randn(shape, generator=generator).movedim(1, -1)
        whole = values.shape[-1] // 4 * 4
        groups = values[..., :whole].reshape(-1, 4).clone()
        order = torch.rand(groups.shape, generator=generator).argsort(dim=1)
        groups[order < 3] = 0
        values[..., :whole] = groups.view(*values.shape[:-1], whole)
        found[f"{name}.weight"] = values.movedim(-1, 1).contiguous().to(kind)
    weight = found["a.weight"]
    weight[0, int((weight[0, :4] != 0).nonzero()[0])] = -0.0
    found["bias"] = torch.randn(5, generator=generator).to(kind)
    found["steps"] = torch.tensor(7)
    found["codes"] = torch.zeros(3, 4, dtype=torch.int64)
    found["mask"] = torch.tensor([[0.0, float("-inf")], [0.0, 0.0]])
    return found


class TestRoundTrips:
    @pytest.mark.parametrize("kind", KINDS, ids=str)
    @pytest.mark.parametrize("packing", PACKINGS)
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_of_every_packing_type_and_file(
        self, tmp_path: Path, suffix: str, packing: str, kind: torch.dtype
    ) -> None:
        given = state(kind)
        torch.save(given, tmp_path / "net.pt")
        path = tmp_path / f"small{suffix}"
        found = pl.export(tmp_path / "net.pt", path, format=packing)
        assert same(pl.densify(path), given)
        assert same(read_checkpoint(path).tensors, given)
        assert found.artifact.bytes == path.stat().st_size
        assert set(found.packed) <= {"a.weight", "conv.weight", "deep.weight"}
        sizes = {each.name: each.bytes for each in found.packings}
        dense = sum(each.nbytes for each in given.values())
        assert sizes["dense"] == dense and all(0 < each <= dense for each in sizes.values() if each)

    @pytest.mark.parametrize("packing", PACKINGS)
    def test_by_the_command_line(self, prunelimit: Run, packing: str) -> None:
        torch.save({"state_dict": {f"module.{n}": t for n, t in state().items()}}, "net.pt")
        done = prunelimit("export", "net.pt", "-o", "s.safetensors", "--format", packing, "--json")
        assert done.code == 0, done.stderr
        jsonschema.validate(done.document, schema("export"))
        assert done.document["state"] == "state_dict"
        assert "loaded by" in done.stderr and "smaller from" in done.stderr
        done = prunelimit("densify", "s.safetensors", "-o", "back.pt")
        assert done.code == 0, done.stderr
        assert same(torch.load("back.pt", weights_only=True), state())
        refused(
            prunelimit("densify", "s.safetensors", "-o", "back.pt"), "exists; give --force", code=2
        )

    def test_of_a_pruned_network(self, prunelimit: Run, trained: Path) -> None:
        assert (
            prunelimit("prune", trained, "--amount", "0.9", "-q", "-o", "p.safetensors").code == 0
        )
        for packing in ("bitmask", "csr"):
            done = prunelimit("export", "p.safetensors", "-o", f"{packing}.pt", "--format", packing)
            assert done.code == 0, done.stderr
            # It says what it belongs to, as the file that it was made from.
            again = prunelimit("prune", f"{packing}.pt", "--amount", "0.9", "-q", "--json",
                               "-o", f"{packing}2.safetensors")  # fmt: skip
            assert again.document["data"]["spec"] == "digits"
            assert same(
                read_checkpoint(f"{packing}2.safetensors").tensors,
                read_checkpoint("p.safetensors").tensors,
            )

    def test_of_a_tensor_beside_others(self, tmp_path: Path) -> None:
        """What a module keeps beside its tensors stays too."""
        entries = {**state(), "head._extra_state": {"scale": 3}}
        torch.save(entries, tmp_path / "net.pt")
        for name in ("a.pt", "a.safetensors"):
            pl.export(tmp_path / "net.pt", tmp_path / name, format="csr")
            assert pl.densify(tmp_path / name)["head._extra_state"] == {"scale": 3}


def test_masks_of_torch_leave_zeros_that_take_no_space(tmp_path: Path) -> None:
    layer = nn.Linear(64, 64, bias=False)
    prune.random_unstructured(layer, "weight", amount=0.9)
    torch.save(layer.state_dict(), tmp_path / "net.pt")
    found = pl.export(tmp_path / "net.pt", tmp_path / "o.safetensors", format="bitmask")
    assert torch.equal(pl.densify(tmp_path / "o.safetensors")["weight"], layer.weight)
    assert found.zeros == round(0.9 * 64 * 64)
    (size,) = (each.bytes for each in found.packings if each.name == "bitmask")
    assert size == 64 * 64 // 8 + 4 * (64 * 64 - found.zeros)


@pytest.mark.parametrize("part", [*PARTS, OBJECT_SUFFIX])
@pytest.mark.parametrize("packing", ["dense", *PACKINGS])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".pt.gz"])
def test_names_that_the_format_makes_itself_are_refused_or_come_back(
    tmp_path: Path, suffix: str, packing: str, part: str
) -> None:
    given = {**state(), f"d{part}": torch.ones(2, 3), f"a.weight{part}": torch.ones(4)}
    torch.save(given, tmp_path / "net.pt")
    path = tmp_path / f"o{suffix}"
    if packing == "dense" and suffix != ".safetensors":
        pl.export(tmp_path / "net.pt", path, format=packing)
        assert same(pl.densify(path), given)
        return
    with pytest.raises(
        UsageError, match=r"names that the format makes|cannot hold packed matrices"
    ):
        pl.export(tmp_path / "net.pt", path, format=packing)
    assert not path.exists()


@pytest.mark.parametrize("packing", ["dense", *PACKINGS])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".pt.gz"])
def test_the_line_that_is_printed_loads_the_file(
    prunelimit: Run, suffix: str, packing: str
) -> None:
    if suffix == ".pt.gz" and packing != "dense":
        return
    torch.save({**state(), "mask": torch.zeros(2, 2)}, "net.pt")
    done = prunelimit("export", "net.pt", "-o", f"o{suffix}", "--format", packing)
    (line,) = [each for each in done.stderr.splitlines() if "loaded by" in each]
    names: dict[str, Any] = {}
    line = line.strip().removeprefix("loaded by").strip()
    ast.parse(line)
    exec(line, names)
    for name, tensor in state().items():
        if name != "mask":
            torch.testing.assert_close(names["state"][name], tensor, rtol=0, atol=0)


class TestBreakEven:
    @pytest.mark.parametrize("packing", ["bitmask", "csr"])
    @pytest.mark.parametrize("shape", [(40, 50), (8, 4, 5, 5), (200, 3)])
    def test_is_where_the_bytes_are_those_of_the_dense(
        self, packing: str, shape: tuple[int, ...]
    ) -> None:
        tensor = torch.ones(shape)
        even = break_even({"w": tensor}, packing)
        assert even is not None
        for share, smaller in ((even + 0.01, True), (even - 0.01, False)):
            there = tensor.clone().view(-1)
            there[: round(share * tensor.numel())] = 0
            assert (packed_bytes(there.view(shape), packing) < tensor.nbytes) == smaller

    def test_of_two_in_four(self) -> None:
        assert packed_bytes(torch.eye(4).repeat(4, 4), "nm", Group(1, 4, 1)) == 64 * 4 + 64 * 2 // 8
        assert break_even({"w": torch.ones(4, 4)}, "nm") == pytest.approx(1 - 32 / 34)

    def test_a_matrix_that_would_be_larger_stays_dense(self, prunelimit: Run) -> None:
        full = {"a.weight": torch.ones(20, 30), "b.weight": torch.eye(30)}
        torch.save(full, "net.pt")
        done = prunelimit("export", "net.pt", "-o", "c.pt", "--format", "csr", "--json")
        assert done.document["packed"] == ["b.weight"]
        assert same(pl.densify("c.pt"), full)
        torch.save({"a.weight": torch.ones(20, 30)}, "net.pt")
        done = prunelimit("export", "net.pt", "-o", "d.pt", "--format", "csr")
        assert done.code == 0 and "no matrix has zeros enough" in done.stderr
        assert torch.load("d.pt", weights_only=True)["a.weight"].shape == (20, 30)


class TestNM:
    @pytest.mark.parametrize("keep", [1, 2, 3])
    @pytest.mark.parametrize("dimension", [0, 1])
    def test_any_n_and_m_as_a_file_says_it(self, keep: int, dimension: int) -> None:
        size = 5
        tensor = torch.randn(15, 17, generator=torch.Generator().manual_seed(keep))
        rows = tensor.movedim(dimension, -1)
        whole = rows.shape[-1] // size * size
        rows[..., :whole].reshape(-1, size)
        for row in rows:
            for start in range(0, whole, size):
                row[start + keep : start + size] = 0
        group = group_of(tensor, (keep, size))
        assert group == Group(keep, size, dimension)
        parts = pack(tensor, "nm", group)
        assert bits(unpack(parts, "nm", (15, 17), group)) == bits(tensor)

    def test_masks_of_other_kinds_are_refused(self, prunelimit: Run, trained: Path) -> None:
        refused(
            prunelimit("export", trained, "-o", "a.pt", "--format", "nm"),
            "with an N:M pattern",
            code=2,
        )
        for amount in ("0.6", "0.9", "0.99"):
            assert prunelimit("prune", trained, "--amount", amount, "-q", "-o", "u.pt",
                              "--force").code == 0  # fmt: skip
            found = prunelimit("export", "u.pt", "-o", "a.pt", "--format", "nm")
            refused(found, "with an N:M pattern", code=2)
        assert not Path("a.pt").exists()

    @pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8", "3:7"])
    def test_masks_of_a_pattern_are_taken(
        self, prunelimit: Run, trained: Path, pattern: str
    ) -> None:
        done = prunelimit("prune", trained, "--pattern", pattern, "-q", "-o", "p.safetensors")
        assert done.code == 0, done.stderr
        done = prunelimit("export", "p.safetensors", "-o", "n.pt", "--format", "nm", "--json")
        assert done.code == 0, done.stderr
        assert len(done.document["packed"]) == 3
        assert same(pl.densify("n.pt"), read_checkpoint("p.safetensors").tensors)


DAMAGE: dict[str, Callable[[dict[str, Tensor], dict[str, Any]], object]] = {
    "a value less": lambda t, d: t.update({V: t[V][:-1].clone()}),
    "a value more": lambda t, d: t.update({V: torch.cat([t[V], t[V][:1]])}),
    "a NaN": lambda t, d: t[V].__setitem__(0, float("nan")),
    "an infinity": lambda t, d: t[V].__setitem__(0, float("inf")),
    "values of integers": lambda t, d: t.update({V: t[V].to(torch.int32)}),
    "values in rows": lambda t, d: t.update({V: t[V][None].clone()}),
    "no values": lambda t, d: t.pop(V),
    "a part too much": lambda t, d: t.update({"other.__values__": torch.ones(3)}),
    "both": lambda t, d: t.update({"a.weight": torch.ones(24, 18)}),
    "another shape": lambda t, d: d["sparse"].update({"a.weight": [18, 25]}),
    "a turned shape": lambda t, d: d["sparse"].update({"a.weight": [17, 24]}),
    "a negative shape": lambda t, d: d["sparse"].update({"a.weight": [-24, -18]}),
    "an endless shape": lambda t, d: d["sparse"].update({"a.weight": [24, 10**15]}),
    "no shape": lambda t, d: d["sparse"].update({"a.weight": None}),
    "shapes of nothing": lambda t, d: d.update({"sparse": [1, 2]}),
    "another packing": lambda t, d: d.update({"packing": "zip"}),
    "a packing that is none": lambda t, d: d.update({"packing": [1]}),
    "a newer file": lambda t, d: d.update({"format_version": 9}),
    "a version that is none": lambda t, d: d.update({"format_version": "new"}),
    "groups of nothing": lambda t, d: d.update({"groups": {"b": [2, 4, 1]}}),
}
V = "a.weight.__values__"

OF_A_PACKING: dict[str, dict[str, Callable[[dict[str, Tensor], dict[str, Any]], object]]] = {
    "bitmask": {
        "a mask too short": lambda t, d: t.update({M: t[M][:-1].clone()}),
        "a mask of numbers": lambda t, d: t.update({M: t[M].float()}),
        "another mask": lambda t, d: t[M].__setitem__(0, 255),
    },
    "csr": {
        "a column out of range": lambda t, d: t[C].__setitem__(3, 18),
        "a negative column": lambda t, d: t[C].__setitem__(0, -1),
        "a column twice": lambda t, d: t[C].__setitem__(1, int(t[C][0])),
        "columns of numbers": lambda t, d: t.update({C: t[C].float()}),
        "rows that go back": lambda t, d: t[R].__setitem__(4, 0),
        "rows that begin late": lambda t, d: t[R].__setitem__(0, 1),
        "rows that end late": lambda t, d: t[R].__setitem__(-1, 10**6),
        "rows too few": lambda t, d: t.update({R: t[R][:-1].clone()}),
    },
    "nm": {
        "no groups": lambda t, d: d.pop("groups"),
        "groups of another size": lambda t, d: d["groups"].update({"a.weight": [1, 3, 1]}),
        "groups of the other dimension": lambda t, d: d["groups"].update({"a.weight": [1, 4, 0]}),
        "groups of no dimension": lambda t, d: d["groups"].update({"a.weight": [1, 4, 7]}),
        "groups that are none": lambda t, d: d["groups"].update({"a.weight": "2:4"}),
        "more than all": lambda t, d: d["groups"].update({"a.weight": [4, 2, 1]}),
        "a byte more of places": lambda t, d: t.update({P: torch.cat([t[P], t[P][:1]])}),
        "a rest less": lambda t, d: t.update({REST: t[REST][:-1].clone()}),
        "a rest of another type": lambda t, d: t.update({REST: t[REST].double()}),
        "a rest that is NaN": lambda t, d: t[REST].__setitem__(0, float("nan")),
    },
}
M, C, R = "a.weight.__mask__", "a.weight.__columns__", "a.weight.__rows__"
P, REST = "a.weight.__places__", "a.weight.__rest__"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_damaged_files_are_refused(tmp_path: Path, packing: str, suffix: str) -> None:
    torch.save(state(), tmp_path / "net.pt")
    path = tmp_path / "good.safetensors"
    pl.export(tmp_path / "net.pt", path, format=packing)
    with safe_open(path, framework="pt") as file:
        described = file.metadata()[METADATA_KEY]
    for name, damage in {**DAMAGE, **OF_A_PACKING[packing]}.items():
        tensors, about = dict(load_file(path)), json.loads(described)
        damage(tensors, about)
        bad = tmp_path / f"bad{suffix}"
        if suffix == ".pt":
            torch.save({"state_dict": tensors, METADATA_KEY: about}, bad)
        else:
            save_file(tensors, bad, metadata={METADATA_KEY: json.dumps(about)})
        with pytest.raises(InputError, match=r"(get|write) the file again|newer prunelimit"):
            pytest.fail(f"{name}: {read_checkpoint(bad).tensors.keys()}")


def test_rows_of_torch_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": state()["a.weight"]}, tmp_path / "net.pt")
    path = tmp_path / "good.pt"
    pl.export(tmp_path / "net.pt", path, format="csr")
    file = torch.load(path, weights_only=True)
    rows = file["state_dict"]["a.weight"]
    assert rows.layout == torch.sparse_csr
    for shape in ([18, 24], [24, 19], [24], None):
        file["prunelimit"]["sparse"]["a.weight"] = shape
        torch.save(file, path)
        with pytest.raises(InputError, match=r"a\.weight in .* is damaged"):
            read_checkpoint(path)


NETWORKS = """
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.attend = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)
    def forward(self, x):
        return self.head(self.attend(self.embed(x.squeeze(1))).mean(dim=1))

def conv():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))

def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.GELU(), nn.Linear(20, 3))

def data():
    x = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return (x[:40], torch.arange(40) % 3), (x[40:], torch.arange(20) % 3)
"""


class TestONNX:
    @pytest.mark.parametrize("name", ["dense", "conv", "Attention"])
    def test_gives_what_torch_gives(self, prunelimit: Run, tmp_path: Path, name: str) -> None:
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        Path(f"net_{name}.py").write_text(NETWORKS)
        options = ("-m", f"net_{name}.py:{name}", "-d", f"net_{name}.py:data")
        done = prunelimit("train", *options, "--epochs", "1", "-q", "-o", "t.safetensors")
        assert done.code == 0, done.stderr
        done = prunelimit("prune", "t.safetensors", *options, "--amount", "0.8", "-q", "-o", "p.pt")
        assert done.code == 0, done.stderr
        done = prunelimit("export", "p.pt", *options, "-o", "p.onnx", "--json")
        assert done.code == 0, done.stderr
        assert done.document["difference"] < 1e-5 and done.document["samples"] == 16
        spec = importlib.util.spec_from_file_location("onnx_net", f"net_{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network = getattr(module, name)().eval()
        network.load_state_dict(torch.load("p.pt", weights_only=True))
        inputs = torch.randn(7, 1, 8, 8)
        session = runtime.InferenceSession("p.onnx")
        for batch in (inputs, inputs[:1]):
            (found,) = session.run(None, {"input": batch.numpy()})
            with torch.no_grad():
                torch.testing.assert_close(torch.from_numpy(found), network(batch))

    def test_what_it_needs_is_said(
        self, prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = prunelimit("export", trained, "-o", "a.onnx", "--format", "csr")
        refused(found, "leave out --format", code=2)
        monkeypatch.setattr("prunelimit.inputs.onnx.PACKAGES", ("onnx_that_is_not_there",))
        found = prunelimit("export", trained, "-o", "a.onnx")
        refused(found, "pip install 'prunelimit[onnx]' brings it", code=2)


BAD: dict[str, tuple[tuple[str, ...], str, int]] = {
    "a suffix": (("net.pt", "-o", "a.bin"), ".pt.gz or .onnx", 2),
    "packed and compressed": (
        ("net.pt", "-o", "a.pt.gz", "--format", "csr"),
        "cannot hold packed",
        2,
    ),
    "no output": (("net.pt",), "--output", 2),
    "a format": (("net.pt", "-o", "a.pt", "--format", "zip"), "--format", 2),
    "no file": (("no.pt", "-o", "a.pt"), "no checkpoint no.pt", 3),
    "itself": (("net.pt", "-o", "net.pt", "--force"), "the name of an input", 2),
    "no folder": (("net.pt", "-o", "no/a.pt"), "make the folder first", 2),
    "no key": (("net.pt", "-o", "a.pt", "--key", "ema"), "no state_dict at --key", 3),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options(prunelimit: Run, case: str) -> None:
    torch.save(state(), "net.pt")
    arguments, text, code = BAD[case]
    refused(prunelimit("export", *arguments), text, code=code)
    assert [path.name for path in Path().iterdir()] == ["net.pt"]


class TestFromPython:
    def test_takes_networks_problems_and_files(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        data = torch.randn(40, 6), torch.arange(40) % 3
        problem = pl.Problem(nn.Sequential(nn.Linear(6, 20), nn.Linear(20, 3)), data, data)
        pruned = pl.prune(problem, 0.7)
        for place, source in enumerate((pruned, problem, pl.train(problem, epochs=1))):
            found = pl.export(source, tmp_path / f"{place}.pt", format="bitmask")
            own = source.state_dict() if source is pruned else None
            if own is not None:
                assert same(pl.densify(found.artifact.path), own)
        assert "loaded by" in found.summary()
        assert found.to_dict()["schema"] == "prunelimit.export/1"

    def test_refuses_what_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="`source` is a dict"):
            pl.export({}, tmp_path / "a.pt")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="did you mean 'format'"):
            pl.export("a.pt", tmp_path / "a.pt", formt="csr")
