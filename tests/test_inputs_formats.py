"""Checkpoints as the libraries write them: read where torch reads them, named where not."""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from safetensors.torch import save_file
from test_cases_faults import refused
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from prunelimit.errors import InputError
from prunelimit.inputs.checkpoint import Checkpoint, read_checkpoint
from prunelimit.inputs.fitting import fit

Run = Callable[..., Outcome]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(a=nn.Linear(4, 5), n=nn.BatchNorm1d(5), b=nn.Linear(5, 3)))


STATE: dict[str, Tensor] = network().state_dict()


def fitted(path: Path, key: str | None = None, into: nn.Module | None = None) -> list[str]:
    """Read ``path`` into a network of other weights, hold it to ours; the notices."""
    torch.manual_seed(5)
    target = into or nn.Sequential(
        OrderedDict(a=nn.Linear(4, 5), n=nn.BatchNorm1d(5), b=nn.Linear(5, 3))
    )
    found = fit(target, read_checkpoint(path), "net", key)
    own = found.network.state_dict()
    for name, tensor in STATE.items():
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=0)
    return list(found.notices)


@pytest.mark.parametrize("kind", ["meta", "nested"])
def test_tensors_without_numbers_of_their_own_are_refused(
    prunelimit: Run, tmp_path: Path, kind: str
) -> None:
    parts = [torch.ones(2), torch.ones(3)]
    found = torch.ones(5, 4, device="meta") if kind == "meta" else torch.nested.nested_tensor(parts)
    torch.save({**STATE, "a.weight": found}, "n.pt")
    for command in (("inspect",), ("export", "-o", "o.safetensors"), ("densify", "-o", "o.pt")):
        refused(prunelimit(command[0], "n.pt", *command[1:]), "for a.weight; save a network")


def prefixed(*prefixes: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": each for prefix in prefixes for name, each in STATE.items()}


WRITERS: dict[str, Callable[[], Any]] = {
    "plain": lambda: STATE,
    "with metadata": lambda: network().state_dict(),
    "DataParallel": lambda: nn.DataParallel(network()).state_dict(),
    "compiled": lambda: torch.compile(network(), backend="eager").state_dict(),
    "swa": lambda: AveragedModel(network()).state_dict(),
    "FSDP": lambda: prefixed("_fsdp_wrapped_module."),
    "FSDP within": lambda: {
        n.replace(".", "._fsdp_wrapped_module.", 1): t for n, t in STATE.items()
    },
    "activation checkpoints": lambda: {
        n.replace(".", "._checkpoint_wrapped_module.", 1): t for n, t in STATE.items()
    },
    "compiled parts": lambda: {n.replace(".", "._orig_mod.", 1): t for n, t in STATE.items()},
    "Lightning": lambda: {
        "state_dict": prefixed("model."),
        "pytorch-lightning_version": "2.4",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
        "hyper_parameters": {"lr": 0.1},
    },
    "Lightning, compiled": lambda: {"state_dict": prefixed("model._orig_mod.")},
    "Lightning, with a loss": lambda: {
        "state_dict": {**prefixed("model."), "loss.weight": torch.ones(3)}
    },
    "a backbone": lambda: prefixed("encoder.backbone."),
    "timm": lambda: {"state_dict": STATE, "epoch": 3, "arch": "net", "optimizer": {"state": {}}},
    "deep": lambda: {"run": {"last": {"payload": {"weights": STATE}}}},
    "a list": lambda: [{"epoch": 1}, STATE],
    "a tuple": lambda: (STATE, 7),
    "thop": lambda: {**STATE, "total_ops": torch.zeros(1), "a.total_params": torch.zeros(1)},
    "before counters": lambda: {n: t for n, t in STATE.items() if "num_batches" not in n},
    "beside other values": lambda: {**STATE, "epoch": 3, "name": "net"},
    "an optimizer of tensors": lambda: {
        "model": STATE,
        "optim": {"exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)},
    },
    "the same twice": lambda: {"model": STATE, "last": dict(STATE)},
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_written_is_read(tmp_path: Path, name: str, zipped: bool) -> None:
    torch.save(WRITERS[name](), tmp_path / "n.pt", _use_new_zipfile_serialization=zipped)
    notices = fitted(tmp_path / "n.pt")
    said = {"swa": "n_averaged", "thop": "total_ops", "Lightning, with a loss": "loss.weight"}
    if name in said:
        assert any(said[name] in notice for notice in notices)
    else:
        assert notices == []


@pytest.mark.parametrize("prefix", ["module.", "inner.", "x.y."])
def test_a_networks_own_prefix_is_added(tmp_path: Path, prefix: str) -> None:
    inner = network()
    for part in reversed(prefix.split(".")[:-1]):
        inner = nn.Sequential(OrderedDict([(part, inner)]))
    for content in (STATE, prefixed(prefix), prefixed("_orig_mod.")):
        torch.save(content, tmp_path / "n.pt")
        for parameter in inner.parameters():
            parameter.data.zero_()
        found = fit(inner, read_checkpoint(tmp_path / "n.pt"), "net")
        own = found.network.state_dict()
        assert all(torch.equal(own[prefix + name], each) for name, each in STATE.items())
        assert set(found.tensors) == set(prefixed(prefix))


OTHER = {name: each + 1 for name, each in STATE.items()}


@pytest.mark.parametrize(
    ("content", "taken", "left"),
    [
        ({"state_dict": STATE, "state_dict_ema": OTHER}, "state_dict", "state_dict_ema"),
        ({"ema": OTHER, "model": STATE}, "model", "ema"),
        ({"model_ema": {"module": OTHER}, "net": STATE}, "net", "model_ema.module"),
        ({"state_dict": STATE, "best": OTHER}, "state_dict", "best"),
    ],
)
def test_of_several_the_trained_one_is_taken_and_said(
    tmp_path: Path, content: Any, taken: str, left: str
) -> None:
    torch.save(content, tmp_path / "n.pt")
    notices = fitted(tmp_path / "n.pt")
    assert f"are read from {taken}; {left} would fit too (choose with `key`)" in notices[0]
    assert fitted(tmp_path / "n.pt", key=taken) == []
    found = fit(network(), read_checkpoint(tmp_path / "n.pt"), "net", left)
    assert torch.equal(found.network.state_dict()["a.weight"], OTHER["a.weight"])


def test_of_several_none_is_guessed(tmp_path: Path) -> None:
    torch.save({"student": STATE, "teacher": OTHER}, tmp_path / "n.pt")
    with pytest.raises(InputError, match=r"\(student, teacher\); choose one with `key`"):
        fitted(tmp_path / "n.pt")
    assert fitted(tmp_path / "n.pt", key="student") == []
    torch.save({**prefixed("student."), **{f"teacher.{n}": t for n, t in OTHER.items()}},
               tmp_path / "n.pt")  # fmt: skip
    with pytest.raises(InputError, match=r"\(student, teacher\); choose one with `key`"):
        fitted(tmp_path / "n.pt")
    assert fitted(tmp_path / "n.pt", key="student") == []
    with pytest.raises(InputError, match="no state_dict at `key` other"):
        fitted(tmp_path / "n.pt", key="other")


def test_one_that_fits_among_others_needs_no_key(tmp_path: Path) -> None:
    torch.save({"critic": nn.Linear(2, 2).state_dict(), "actor": STATE}, tmp_path / "n.pt")
    assert fitted(tmp_path / "n.pt") == []


class TestMisfits:
    """Told by the names that torch tells."""

    def test_of_names(self, tmp_path: Path) -> None:
        state = {**STATE, "c.weight": torch.ones(2)}
        del state["b.bias"]
        torch.save(state, tmp_path / "n.pt")
        with pytest.raises(InputError, match=r"network's b\.bias is .* file's c\.weight is"):
            fitted(tmp_path / "n.pt")

    def test_beside_names_that_all_share_a_part(self, tmp_path: Path) -> None:
        inner = nn.Sequential(OrderedDict(layers=network()))
        torch.save({**prefixed("layers."), "other.weight": torch.ones(2)}, tmp_path / "n.pt")
        with pytest.raises(InputError, match=r"the file's other\.weight is not in the network"):
            fit(inner, read_checkpoint(tmp_path / "n.pt"), "net")

    def test_of_shapes(self, tmp_path: Path) -> None:
        torch.save({**STATE, "b.weight": torch.ones(4, 5)}, tmp_path / "n.pt")
        with pytest.raises(InputError, match=r"b\.weight has shape \(4, 5\) in the file, \(3, 5\)"):
            fitted(tmp_path / "n.pt")

    def test_of_a_builtin_network_are_recognised(self, tmp_path: Path) -> None:
        from prunelimit.inputs.build import build_network

        other = build_network("lenet5", input_shape=(1, 28, 28), classes=10)
        torch.save(other.state_dict(), tmp_path / "n.pt")
        with pytest.raises(InputError, match="the file's names are those of lenet5"):
            fitted(tmp_path / "n.pt")

    def test_of_parts_of_a_mask(self, tmp_path: Path) -> None:
        state = {**STATE, "a.weight_orig": STATE["a.weight"], "a.weight_mask": torch.ones(2)}
        del state["a.weight"]
        torch.save(state, tmp_path / "n.pt")
        with pytest.raises(InputError, match="do not belong together"):
            fitted(tmp_path / "n.pt")


def folder(tmp_path: Path, suffix: str, shards: int) -> Path:
    """A folder as transformers writes them."""
    place = tmp_path / "folder"
    place.mkdir()
    names = list(STATE)
    stem, index = {
        "safetensors": ("model", "model.safetensors.index.json"),
        "bin": ("pytorch_model", "pytorch_model.bin.index.json"),
    }[suffix]
    save: Any = save_file if suffix == "safetensors" else torch.save
    if shards == 1:
        save(dict(STATE), place / f"{stem}.{suffix}")
        return place
    chosen = {name: f"{stem}-{k % shards:05d}.{suffix}" for k, name in enumerate(names)}
    for file in set(chosen.values()):
        save({n: STATE[n] for n in names if chosen[n] == file}, place / file)
    (place / index).write_text(json.dumps({"metadata": {}, "weight_map": chosen}))
    return place


class TestFolders:
    """Of Hugging Face, in one file or several."""

    @pytest.mark.parametrize("suffix", ["safetensors", "bin"])
    @pytest.mark.parametrize("shards", [1, 3])
    def test_are_read_whole(self, tmp_path: Path, suffix: str, shards: int) -> None:
        place = folder(tmp_path, suffix, shards)
        assert fitted(place) == []
        read = read_checkpoint(place)
        assert len(read.sha256) == 64 and read.path == place
        if shards > 1:
            assert fitted(next(place.glob("*.index.json"))) == []

    def test_that_are_not_whole_are_told(self, tmp_path: Path) -> None:
        place = folder(tmp_path, "safetensors", 3)
        (place / "model-00001.safetensors").unlink()
        with pytest.raises(InputError, match=r"no checkpoint .*model-00001"):
            read_checkpoint(place)
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="a folder without model"):
            read_checkpoint(tmp_path / "empty")

    @pytest.mark.parametrize(
        "name", ["../out.safetensors", "/etc/passwd", 3, "x.index.json", "", "."]
    )
    def test_whose_index_leads_elsewhere_are_refused(self, tmp_path: Path, name: Any) -> None:
        place = folder(tmp_path, "safetensors", 3)
        save_file(dict(STATE), tmp_path / "out.safetensors")
        index = {"weight_map": {"a.weight": name}}
        (place / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(
            InputError, match=r"no such file beside it|no checkpoint|not an ordinary|folder"
        ):
            read_checkpoint(place)

    @pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', "no json"])
    def test_whose_index_is_none_are_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(InputError, match=r"index\.json"):
            read_checkpoint(tmp_path)

    def test_with_a_name_twice_are_refused(self, tmp_path: Path) -> None:
        place = folder(tmp_path, "safetensors", 3)
        for file in place.glob("model-*.safetensors"):
            save_file(dict(STATE), file)
        with pytest.raises(InputError, match="in two of its files"):
            read_checkpoint(place)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"<HTML><body>", "web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\x03\x00", "GGUF"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip and damaged"),
        (b"\x28\xb5\x2f\xfd\x04", "unzstd"),
        (b"BZh91AY", "bunzip2"),
        (b"\xfd7zXZ\x00", "unxz"),
    ],
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_other_files_are_named(tmp_path: Path, content: bytes, told: str, suffix: str) -> None:
    (tmp_path / f"n.{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_checkpoint(tmp_path / f"n.{suffix}")


def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(InputError, match="not an ordinary file"):
        read_checkpoint(tmp_path / "pipe.pt")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(Path("a\0b"))


class TestMemory:
    """Bounded by the size of the file."""

    @pytest.mark.slow
    def test_of_an_archive_that_is_deflated(self, tmp_path: Path) -> None:
        torch.save({"weight": torch.zeros(80_000_000)}, tmp_path / "n.pt")
        with zipfile.ZipFile(tmp_path / "n.pt") as source:
            entries = {each: source.read(each) for each in source.namelist()}
        (tmp_path / "n.pt").unlink()
        with zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as target:
            for each, data in entries.items():
                target.writestr(each, data)
        with pytest.raises(InputError, match="would unpack to"):
            read_checkpoint(tmp_path / "d.pt")

    @pytest.mark.parametrize("kind", ["sparse", "expanded"])
    def test_of_tensors_that_say_they_are_large(self, tmp_path: Path, kind: str) -> None:
        tensor = (
            torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6))
            if kind == "sparse"
            else torch.ones(1).expand(10**6, 10**6)
        )
        torch.save({"weight": tensor}, tmp_path / "n.pt")
        with pytest.raises(InputError, match="far more than its"):
            read_checkpoint(tmp_path / "n.pt")


def test_older_versions_of_a_module_are_known_by_their_metadata(tmp_path: Path) -> None:
    """A module that reads its own older form by the version that torch keeps in the file."""

    class Versioned(nn.Linear):
        _version = 2

        def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            if metadata.get("version", None) == 1:
                state[prefix + "weight"] = -state[prefix + "weight"]
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    older = nn.Sequential(nn.Linear(2, 2))  # whose version is 1
    target = nn.Sequential(Versioned(2, 2))
    for holder in (older, nn.DataParallel(older)):
        torch.save({"state_dict": holder.state_dict()}, tmp_path / "n.pt")
        found = fit(target, read_checkpoint(tmp_path / "n.pt"), "net")
        assert torch.equal(found.network.state_dict()["0.weight"], -older[0].weight)


def test_what_was_given_is_known_by_the_networks_names(tmp_path: Path) -> None:
    half = {name: each.half() for name, each in prefixed("module.").items() if "num" not in name}
    torch.save(half, tmp_path / "n.pt")
    read: Checkpoint = read_checkpoint(tmp_path / "n.pt")
    found = fit(network(), read, "net")
    assert set(found.tensors) == {name for name in STATE if "num" not in name}
    assert {each.dtype for each in found.tensors.values()} == {torch.float16}


def test_through_the_command_line(prunelimit: Run, trained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(trained)
    other = {name: -each for name, each in state.items()}
    torch.save({"state_dict": state, "ema_state_dict": other}, tmp_path / "n.pt")
    named = ("n.pt", "-m", "lenet-300-100", "-d", "digits", "--amount", 0, "--json")
    taken = prunelimit("prune", *named)
    assert "ema_state_dict would fit too (choose with --key)" in taken.stderr
    chosen = prunelimit("prune", *named, "--key", "ema_state_dict", "--force")
    assert chosen.code == 0 and chosen.document["accuracy_before"] < 0.5
    assert taken.document["accuracy_before"] > 0.8
    refused(prunelimit("prune", *named, "--key", "x", "--force"), "it holds state_dict, ema_state")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_refused_or_right(tmp_path: Path, suffix: str, seed: int) -> None:
    """A few bytes of a file changed, cut out or put in, mostly in its head."""
    path = tmp_path / f"n.{suffix}"
    if suffix == "pt":
        torch.save(
            {"state_dict": STATE, "epoch": 3}, path, _use_new_zipfile_serialization=seed % 2 > 0
        )
    else:
        save_file(dict(STATE), path)
    generator = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(generator.choice([1, 2, 5])):
        place = generator.randrange(min(len(content), generator.choice([300, 10**9])))
        if seed % 3 == 0:
            del content[place : place + generator.choice([1, 8])]
        else:
            content[place] = generator.randrange(256)
    path.write_bytes(bytes(content))
    try:
        fit(network(), read_checkpoint(path), "net")
    except InputError as error:
        assert str(error).isprintable() and "n." in str(error)
