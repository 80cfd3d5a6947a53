"""Checkpoints compressed as a whole: read back by every command, up to a size."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from safetensors.torch import save_file
from test_cases_faults import refused

from prunelimit.errors import InputError
from prunelimit.inputs import compressed
from prunelimit.inputs.checkpoint import read_checkpoint

Run = Callable[..., Outcome]
STATE = {"0.weight": torch.randn(6, 4, generator=torch.Generator().manual_seed(0))}
LENET = ("-m", "lenet-300-100", "-d", "digits")
FEW = ("--samples", "100", "--steps", "5", "--probes", "1", "--directional-steps", "3")


def pack(path: Path) -> Path:
    """``path``, and beside it the same file in gzip."""
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


@pytest.mark.parametrize("kind", ["pt", "old.pt", "safetensors", "ckpt", "bin"])
def test_any_format_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"n.{kind}"
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind != "old.pt")
    read, plain = read_checkpoint(pack(path)), read_checkpoint(path)
    assert torch.equal(read.tensors["0.weight"], STATE["0.weight"])
    assert read.format == f"{plain.format}, gzip" and read.sha256 != plain.sha256


def test_every_command_reads_what_was_written(
    prunelimit: Run, trained: Path, tmp_path: Path
) -> None:
    done = prunelimit("prune", trained, "--amount", "0.9", "-q", "-o", "p.pt.gz")
    assert done.code == 0, done.stderr
    assert prunelimit("densify", "p.pt.gz", "-o", "p.pt", "-q").code == 0
    assert prunelimit("export", "p.pt.gz", "-o", "p.safetensors", "-q").code == 0
    content = gzip.decompress(Path("p.pt.gz").read_bytes())
    assert torch.load("p.pt", weights_only=True).keys() == read_checkpoint("p.pt.gz").tensors.keys()
    Path("same.pt").write_bytes(content)
    for command in (
        ("inspect",),
        ("predict", *LENET, *FEW),
        ("measure", *LENET, "--sparsities", "0,0.9"),
        ("prune", *LENET, "--amount", "0.95", "--force", "-o", "x.safetensors"),
        ("spectrum", *LENET, *FEW[:6]),
    ):
        name, *rest = command
        given, plain = (
            prunelimit(name, each, *rest, "--json", "-q").document
            for each in ("p.pt.gz", "same.pt")
        )
        for part in ("dense", "limit", "one_shot", "curve", "tensors", "ritz_values", "layers"):
            assert given.get(part) == plain.get(part), (name, part)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_one_that_is_damaged_is_refused(tmp_path: Path, share: float) -> None:
    torch.save({"w": torch.randn(100, 100)}, tmp_path / "n.pt")
    packed = pack(tmp_path / "n.pt")
    content = packed.read_bytes()
    packed.write_bytes(content[: max(2, int(share * len(content)))])
    with pytest.raises(InputError, match="compressed by gzip and damaged"):
        read_checkpoint(packed)
    middle = len(content) // 2
    packed.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    with pytest.raises(InputError, match="compressed by gzip and damaged"):
        read_checkpoint(packed)


def test_no_more_is_unpacked_than_is_believed(
    prunelimit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "MOST_BYTES", 2**22)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written: list[int] = []
    real = compressed._unpack

    def noting(path: Path, place: Path) -> None:
        try:
            real(path, place)
        finally:
            written.append(place.stat().st_size)

    monkeypatch.setattr(compressed, "_unpack", noting)
    Path("bomb.pt.gz").write_bytes(gzip.compress(bytes(2**26)))
    for command in ("inspect", "densify", "predict"):
        more = {"densify": ("-o", "o.pt"), "predict": LENET}.get(command, ())
        refused(prunelimit(command, "bomb.pt.gz", *more), "unpacks to more than", "gunzip")
    assert written and max(written) <= 2 * 2**24
    assert [each.name for each in tmp_path.iterdir()] == ["bomb.pt.gz"]


def test_messages_name_the_file_and_not_a_copy(prunelimit: Run, tmp_path: Path) -> None:
    Path("a.pt").write_bytes(b"text, no checkpoint")
    refused(prunelimit("inspect", pack(Path("a.pt"))), "a.pt.gz is damaged")
    Path("b.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    refused(prunelimit("inspect", pack(Path("b.pt"))), "b.pt.gz is a Git LFS pointer")
    refused(prunelimit("inspect", pack(pack(Path("b.pt")))), "b.pt.gz.gz is compressed twice")
    torch.save({"w": torch.ones(3), "run": Path("x")}, "c.pt")
    found: dict[str, Any] = prunelimit("inspect", pack(Path("c.pt")), "--json").document
    assert found["path"] == "c.pt.gz" and any("Path" in each for each in found["code"])
    refused(prunelimit("prune", "c.pt.gz", *LENET), "c.pt.gz wants to run code")
