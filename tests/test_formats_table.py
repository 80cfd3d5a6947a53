"""Networks x formats, each file made by the library that writes it: loaded to the same outputs."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from oldest import tar_file
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from prunelimit.errors import InputError
from prunelimit.inputs.call import outputs_of
from prunelimit.inputs.checkpoint import read_checkpoint
from prunelimit.inputs.fitting import fit

TABLE = Path(__file__).parents[1] / "docs" / "how-to" / "formats.md"


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.attend = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.attend(self.embed(x)).mean(dim=1))
        return found


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.read(x)[0][:, -1])
        return found


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))


def conv() -> nn.Module:
    parts = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2)
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(2 * 5 * 5, 3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "dense": (dense, lambda: torch.randn(3, 4)),
    "convolutions and norms": (conv, lambda: torch.randn(3, 2, 6, 6)),
    "attention, tied": (Attentive, lambda: torch.randint(20, (3, 5))),
    "recurrent": (Recurrent, lambda: torch.randn(3, 5, 4)),
}

Written = tuple[Path, nn.Module]
"""A file, and the network in it as the library has it."""


def saved(content: Any, folder: Path, **options: Any) -> Path:
    torch.save(content, folder / "n.pt", **options)
    return folder / "n.pt"


def whole(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """Layers with a weight of their own that torch's tools take."""
    kinds = (nn.Linear, nn.Conv2d)
    tied = [each for each in network.modules() if isinstance(each, nn.Embedding)]
    return [
        (each, "weight")
        for name, each in network.named_modules()
        if isinstance(each, kinds) and not tied and "attend" not in name
    ]


def plain(network: nn.Module, folder: Path) -> Written:
    return saved(network.state_dict(), folder), network


def oldest_zip(network: nn.Module, folder: Path) -> Written:
    return saved(network.state_dict(), folder, _use_new_zipfile_serialization=False), network


def oldest_tar(network: nn.Module, folder: Path) -> Written:
    tar_file(network.state_dict(), folder / "n.pt")
    return folder / "n.pt", network


def half(network: nn.Module, folder: Path) -> Written:
    network = network.to(torch.float16)
    return saved(network.state_dict(), folder), network.float()


def bfloat(network: nn.Module, folder: Path) -> Written:
    network = network.to(torch.bfloat16)
    return saved(network.state_dict(), folder), network.float()


def safetensors(network: nn.Module, folder: Path) -> Written:
    own = {name: each.clone() for name, each in network.state_dict().items()}
    save_file(own, folder / "n.safetensors")
    return folder / "n.safetensors", network


def safetensors_tied(network: nn.Module, folder: Path) -> Written:
    save_model(network, str(folder / "n.safetensors"))
    return folder / "n.safetensors", network


def data_parallel(network: nn.Module, folder: Path) -> Written:
    return saved(nn.DataParallel(network).state_dict(), folder), network


def compiled(network: nn.Module, folder: Path) -> Written:
    return saved(torch.compile(network, backend="eager").state_dict(), folder), network


def averaged(network: nn.Module, folder: Path) -> Written:
    average = AveragedModel(network)
    with torch.no_grad():
        for each in network.parameters():
            each.add_(0.1)
    average.update_parameters(network)
    return saved(average.state_dict(), folder), average.module


def ema_beside(network: nn.Module, folder: Path) -> Written:
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    with torch.no_grad():
        for each in network.parameters():
            each.add_(0.1)
    average.update_parameters(network)
    content = {"model": network.state_dict(), "model_ema": average.state_dict(), "epoch": 3}
    return saved(content, folder), network


def with_optimizer(network: nn.Module, folder: Path) -> Written:
    optimizer = torch.optim.Adam(network.parameters())
    content = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}
    return saved(content, folder), network


def pruned(network: nn.Module, folder: Path) -> Written:
    layers = whole(network) or pytest.skip("no layer of its own")
    prune.global_unstructured(layers, prune.L1Unstructured, amount=0.5)
    return saved(network.state_dict(), folder), network


def weight_normed(network: nn.Module, folder: Path) -> Written:
    for layer, name in whole(network) or pytest.skip("no layer of its own"):
        parametrizations.weight_norm(layer, name)
    return saved(network.state_dict(), folder), network


def weight_normed_before(network: nn.Module, folder: Path) -> Written:
    for layer, name in whole(network) or pytest.skip("no layer of its own"):
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(layer, name)
    return saved(network.state_dict(), folder), network


def spectral_normed(network: nn.Module, folder: Path) -> Written:
    for layer, name in whole(network) or pytest.skip("no layer of its own"):
        parametrizations.spectral_norm(layer, name)
    return saved(network.state_dict(), folder), network


def spectral_normed_before(network: nn.Module, folder: Path) -> Written:
    for layer, name in whole(network) or pytest.skip("no layer of its own"):
        nn.utils.spectral_norm(layer, name)
    return saved(network.state_dict(), folder), network


def exported(network: nn.Module, folder: Path) -> Written:
    inputs = next(make for kind, make in NETWORKS.values() if _is(network, kind))()
    program = torch.export.export(network.eval(), (inputs,))
    torch.export.save(program, folder / "n.pt2")
    return folder / "n.pt2", network


def _is(network: nn.Module, kind: Callable[[], nn.Module]) -> bool:
    return network.state_dict().keys() == kind().state_dict().keys()


def ddp(network: nn.Module, folder: Path) -> Written:
    with group(folder):
        return saved(nn.parallel.DistributedDataParallel(network).state_dict(), folder), network


def fsdp(network: nn.Module, folder: Path) -> Written:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import fully_shard

    whole = {name: each.clone() for name, each in network.state_dict().items()}
    with group(folder):
        for part in network.children():
            if any(True for _ in part.parameters()) and not isinstance(network, Attentive):
                fully_shard(part)
        fully_shard(network)
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        path = saved(get_model_state_dict(network, options=options), folder)
    other = next(
        kind for kind, _ in NETWORKS.values() if kind().state_dict().keys() == whole.keys()
    )
    plain = other()
    plain.load_state_dict(whole)
    return path, plain


class group:
    """A process group of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        store = torch.distributed.FileStore(str(self.folder / "store"), 1)
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)

    def __exit__(self, *_: object) -> None:
        torch.distributed.destroy_process_group()


def lightning(network: nn.Module, folder: Path) -> Written:
    library = pytest.importorskip("lightning")

    class Module(library.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.save_hyperparameters({"lr": 0.1, "name": "net"})
            self.model = inner
            self.loss = nn.CrossEntropyLoss(weight=torch.ones(3))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

    trainer = library.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_epochs=0,
    )  # fmt: skip
    trainer.strategy.connect(Module(network))
    trainer.save_checkpoint(folder / "n.ckpt")
    return folder / "n.ckpt", network


def thop(network: nn.Module, folder: Path) -> Written:
    library = pytest.importorskip("thop")
    inputs = next(make for kind, make in NETWORKS.values() if _is(network, kind))()
    network.eval()
    library.profile(network, inputs=(inputs,), verbose=False)
    for module in network.modules():  # as an interrupted profile leaves them
        module.register_buffer("total_ops", torch.zeros(1, dtype=torch.float64))
        module.register_buffer("total_params", torch.zeros(1, dtype=torch.float64))
    return saved(network.state_dict(), folder), network


def hub(network: nn.Module, folder: Path) -> Written:
    library = pytest.importorskip("huggingface_hub")
    place = folder / "hub"
    place.mkdir()
    library.save_torch_model(network, place, max_shard_size=500)
    return place, network


FORMATS: dict[str, Callable[[nn.Module, Path], Written]] = {
    "torch.save, zip": plain,
    "torch.save, before 1.6": oldest_zip,
    "torch.save, before 0.1.10": oldest_tar,
    "float16": half,
    "bfloat16": bfloat,
    "safetensors, save_file": safetensors,
    "safetensors, save_model": safetensors_tied,
    "DataParallel": data_parallel,
    "DistributedDataParallel": ddp,
    "FSDP, full state_dict": fsdp,
    "torch.compile": compiled,
    "torch.export, .pt2": exported,
    "swa_utils.AveragedModel": averaged,
    "an average beside the network": ema_beside,
    "beside an optimizer": with_optimizer,
    "torch.nn.utils.prune": pruned,
    "parametrizations.weight_norm": weight_normed,
    "weight_norm": weight_normed_before,
    "parametrizations.spectral_norm": spectral_normed,
    "spectral_norm": spectral_normed_before,
    "Lightning": lightning,
    "counters of thop": thop,
    "huggingface_hub, in parts": hub,
}


class TestOldest:
    """Tar files, as torch wrote them before 0.1.10."""

    def test_torch_itself_reads_the_same(self, tmp_path: Path) -> None:
        entries = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(6, 2)}
        content = {"state_dict": entries, "epoch": 3, "best_prec1": 91.5}
        tar_file(entries, tmp_path / "n.pt", content=content)
        theirs = torch.load(tmp_path / "n.pt", weights_only=False)["state_dict"]
        read = read_checkpoint(tmp_path / "n.pt")
        found = read.tensors
        assert read.claimed == 0.915 and found.keys() == entries.keys()
        for name, each in entries.items():
            assert torch.equal(found[name], each) and torch.equal(theirs[name], each)

    @pytest.mark.parametrize(
        "changes",
        [
            {"numbers": -1},
            {"numbers": 2**60},
            {"shift": 10**6},
            {"shift": -5},
            {"count": 99},
            {"sizes": (2**31, 2**31), "strides": (0, 0)},
            {"sizes": (-1,), "strides": (1,)},
            {"sizes": (3,), "strides": (2**40,)},
            {"sizes": (1,) * 99, "strides": (1,) * 99},
        ],
        ids=str,
    )
    def test_what_does_not_hold_together_is_refused(
        self, tmp_path: Path, changes: dict[str, Any]
    ) -> None:
        tar_file({"a": torch.randn(3, 4)}, tmp_path / "n.pt", **changes)
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            read_checkpoint(tmp_path / "n.pt")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_one_that_is_cut_off_is_refused(self, tmp_path: Path, share: float) -> None:
        tar_file({"a": torch.randn(30, 40)}, tmp_path / "n.pt")
        content = (tmp_path / "n.pt").read_bytes().rstrip(b"\0")
        (tmp_path / "n.pt").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            read_checkpoint(tmp_path / "n.pt")

    def test_code_in_one_is_named_and_not_run(self, tmp_path: Path) -> None:
        tar_file({"a": torch.randn(3, 4), "b": Runs()}, tmp_path / "n.pt")
        with pytest.raises(InputError, match=r"wants to run code on loading \(posix.mkdir\)"):
            read_checkpoint(tmp_path / "n.pt")

    def test_a_link_in_one_is_not_followed(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "n.pt", "w") as archive:
            for name in ("storages", "tensors", "pickle"):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(member)
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            read_checkpoint(tmp_path / "n.pt")


class Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("CANARY",)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_a_file_gives_the_same_outputs(tmp_path: Path, name: str, network: str) -> None:
    kind, inputs = NETWORKS[network]
    torch.manual_seed(1)
    path, theirs = FORMATS[name](kind(), tmp_path)
    torch.manual_seed(2)
    found = fit(kind(), read_checkpoint(path), network)
    given = inputs()
    with torch.no_grad():
        expected = outputs_of(theirs.eval()(given))
        torch.testing.assert_close(found.network(given), expected, rtol=1e-5, atol=1e-6)


def test_the_page_names_every_format() -> None:
    text = TABLE.read_text()
    assert [name for name in FORMATS if name not in text] == []


class TestExported:
    """Archives of torch.export that do not hold together."""

    def archive(self, tmp_path: Path, **changes: Any) -> Path:
        torch.manual_seed(0)
        path, _ = exported(dense(), tmp_path)
        with zipfile.ZipFile(path) as source:
            files = {each: source.read(each) for each in source.namelist()}
        (config,) = (each for each in files if each.endswith("model_weights_config.json"))
        document = json.loads(files[config])
        first = document["config"]["0.weight"]
        for key, value in changes.items():
            if key in first:
                first[key] = value
            elif key in first["tensor_meta"]:
                first["tensor_meta"][key] = value
        files[config] = changes.get("text", json.dumps(document)).encode()
        bad = tmp_path / "bad.pt2"
        with zipfile.ZipFile(bad, "w") as target:
            for each, content in files.items():
                if each.endswith("/weights/weight_0"):
                    content = changes.get("content", content)
                target.writestr(each, content)
        return bad

    @pytest.mark.parametrize(
        "changes",
        [
            {"content": b""},
            {"content": b"123"},
            {"content": b"1" * 64},
            {"path_name": "../../secret"},
            {"path_name": 7},
            {"path_name": "weight_99"},
            {"sizes": [{"as_int": 10**9}, {"as_int": 10**9}]},
            {"sizes": [{"as_int": -8}, {"as_int": -4}]},
            {"sizes": [{"as_int": "8"}, {"as_int": 4}]},
            {"sizes": [{"as_expr": "s0"}, {"as_int": 4}]},
            {"sizes": 3},
            {"strides": [{"as_int": 0}, {"as_int": 0}], "sizes": [{"as_int": 99}, {"as_int": 99}]},
            {"strides": [{"as_int": 4}]},
            {"storage_offset": {"as_int": 10**12}},
            {"dtype": 99},
            {"dtype": []},
            {"layout": 1},
            {"use_pickle": True},
            {"text": "[]"},
            {"text": "{"},
            {"text": '{"config": {}}'},
            {"text": '{"config": {"a": 1}}'},
        ],
        ids=str,
    )
    def test_are_refused(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        assert read_checkpoint(self.archive(tmp_path)).format == "torch.export"
        with pytest.raises(InputError, match=r"damaged archive of torch\.export"):
            read_checkpoint(self.archive(tmp_path, **changes))
