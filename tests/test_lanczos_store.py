"""Bases and stores: the same process wherever its vectors lie, and after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_lanczos import symmetric

from prunelimit.errors import InputError, OutputError, UsageError
from prunelimit.lanczos import BASES, Lanczos, LanczosRun, Store, basis_bytes, lanczos
from prunelimit.storage.resume import OWNER
from prunelimit.storage.summed import read_summed, write_summed

MATRIX = symmetric(np.concatenate([np.geomspace(1e-4, 1, 290), np.geomspace(2, 100, 10)]), seed=4)
START = torch.randn(300, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
STEPS = 50


def matvec(vector: torch.Tensor) -> torch.Tensor:
    return (MATRIX.to(vector.dtype) @ vector).to(vector.dtype)


def begin(folder: Path | None, basis: str, dtype: torch.dtype = torch.float64) -> Lanczos:
    return Store(folder, basis).process("probe", matvec, START.to(dtype))


def smoothed(run: LanczosRun, ridge: float = 1.0) -> float:
    rule = run.quadrature()
    return float((rule.ritz_values / (rule.ritz_values + ridge)) @ rule.weights)


def orthogonality(process: Lanczos) -> float:
    vectors = torch.cat([block.double() for block in process._basis._each()])
    return float((vectors @ vectors.T - torch.eye(len(vectors))).abs().max())


@pytest.mark.parametrize("basis", BASES)
def test_every_basis_gives_the_same_integral(basis: str, tmp_path: Path) -> None:
    process = begin(tmp_path if basis == "disk" else None, basis)
    process.advance(STEPS)
    expected = lanczos(matvec, START, STEPS)
    assert process.num_steps == STEPS
    slack = 1e-9 if basis in ("memory", "disk") else 2e-3
    assert smoothed(process.run) == pytest.approx(smoothed(expected), rel=slack)


def test_full_bases_stay_orthogonal_and_local_orthogonalisation_makes_copies() -> None:
    coarse, exact, local = (begin(None, kind) for kind in ("bfloat16", "memory", "none"))
    for process in (coarse, exact, local):
        process.advance(150)
    assert orthogonality(exact) < 1e-13
    assert orthogonality(coarse) < 0.02
    top = float(torch.linalg.eigvalsh(MATRIX)[-1])
    copies = [
        int((np.abs(p.run.quadrature().ritz_values - top) < 1e-3 * top).sum())
        for p in (exact, coarse, local)
    ]
    assert copies[0] == copies[1] == 1
    assert copies[2] > 1


def test_a_basis_on_disk_lies_there(tmp_path: Path) -> None:
    process = begin(tmp_path, "disk")
    process.advance(STEPS)
    assert len(list(tmp_path.rglob("vectors-*"))) == STEPS // 16
    assert sum(isinstance(block, torch.Tensor) for block in process._basis._blocks) <= 1


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("stop", [1, 7, 16, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_process_goes_on_to_the_same_numbers(
    basis: str, stop: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    whole = begin(tmp_path / "whole", basis, dtype)
    whole.advance(STEPS)
    first = begin(tmp_path / "parts", basis, dtype)
    first.advance(stop)
    first.save()
    second = begin(tmp_path / "parts", basis, dtype)
    assert second.num_steps == stop
    second.advance(40)
    second.save()
    third = begin(tmp_path / "parts", basis, dtype)
    third.advance(STEPS)
    np.testing.assert_array_equal(third.run.alpha, whole.run.alpha)
    np.testing.assert_array_equal(third.run.beta, whole.run.beta)
    assert third.run.norm == whole.run.norm


def test_an_exhausted_process_stays_so(tmp_path: Path) -> None:
    start = torch.zeros(300, dtype=torch.float64)
    start[:3] = 1
    diagonal = torch.arange(300, dtype=torch.float64)
    process = Store(tmp_path).process("short", lambda v: diagonal * v, start)
    process.advance(20)
    assert process.exhausted and process.num_steps == 3
    process.save()
    again = Store(tmp_path).process("short", lambda v: diagonal * v, start)
    again.advance(20)
    assert again.exhausted and again.num_steps == 3


def test_leading_steps_are_the_shallower_run() -> None:
    deep = lanczos(matvec, START, 40)
    shallow = lanczos(matvec, START, 20)
    np.testing.assert_array_equal(deep.leading(20).alpha, shallow.alpha)
    assert deep.leading(40) is deep.leading(60) is deep


def test_an_advance_ends_where_it_is_told() -> None:
    process = begin(None, "memory")
    process.advance(STEPS, lambda step: step == 5)
    assert process.num_steps == 5


def test_a_store_belongs_to_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    owner = {"steps": 10, "seed": 0}
    store = Store.open(folder, "memory", owner, resume=False, force=False)
    assert not folder.exists()
    process = store.process("probe", matvec, START)
    process.advance(5)
    store.save(process)
    assert not folder.exists()  # too soon to be worth it
    store.save(process, now=True)
    assert (folder / OWNER).exists()
    with pytest.raises(OutputError, match="`resume`"):
        Store.open(folder, "memory", owner, resume=False, force=False)
    with pytest.raises(UsageError, match=r"another seed \(0, now 1\)"):
        Store.open(folder, "memory", {**owner, "seed": 1}, resume=True, force=False)
    again = Store.open(folder, "memory", owner, resume=True, force=False)
    assert again.process("probe", matvec, START).num_steps == 5
    fresh = Store.open(folder, "memory", owner, resume=False, force=True)
    assert fresh.process("probe", matvec, START).num_steps == 0
    store.save(process, now=True)
    store.discard()
    assert not folder.exists()


@pytest.mark.parametrize("text", ["", "{", "3", "[1]"])
def test_a_store_that_does_not_say_whose_it_is_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / OWNER).write_text(text)
    with pytest.raises(InputError, match="cannot be read as the state of a run; give `force`"):
        Store.open(tmp_path, "memory", {"seed": 0}, resume=True, force=False)
    if text in ("3", "[1]"):  # a file of someone else
        with pytest.raises(OutputError, match="not the state of a run"):
            Store.open(tmp_path, "memory", {"seed": 0}, resume=False, force=True)
        assert (tmp_path / OWNER).read_text() == text
    else:
        Store.open(tmp_path, "memory", {"seed": 0}, resume=False, force=True)
        assert not tmp_path.exists() or text == "{"


@pytest.mark.parametrize("moment", ["begun", "owner begun", "owner cut off", "half removed"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_kill_at_any_moment_leaves_a_store_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, resume: bool
) -> None:
    folder, matrix = tmp_path / "s", torch.diag(torch.arange(1.0, 41.0))
    if moment == "half removed":
        _process(tmp_path)
        real = Path.unlink

        def killed(path: Path, **options: Any) -> None:
            real(path, **options)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "unlink", killed)
            Store(folder).discard()
    else:
        folder.mkdir()
        if moment != "begun":
            whole = moment == "owner begun"
            (folder / "run-x1.new").write_text('{"version": "1"}' if whole else '{\n  "ver')
    store = Store.open(folder, "memory", {"seed": 0}, resume=resume, force=not resume)
    process = store.process("a", lambda v: matrix @ v, torch.ones(40))
    process.advance(20)
    store.save(process, now=True)
    store.discard()
    assert not folder.exists()


def _process(tmp_path: Path, steps: int = 20) -> Path:
    """A process put away, and its folder."""
    matrix = torch.diag(torch.arange(1.0, 41.0))
    store = Store.open(tmp_path / "s", "memory", {"seed": 0}, resume=False, force=False)
    process = store.process("a", lambda v: matrix @ v, torch.ones(40))
    process.advance(steps)
    store.save(process, now=True)
    return tmp_path / "s"


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_no_bit_of_stored_tensors_changes_unseen(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4, dtype=torch.float64),
        "b": torch.ones(5, dtype=torch.bfloat16),
    }
    path = tmp_path / "n.safetensors"
    write_summed(tensors, path)
    assert all(torch.equal(each, tensors[name]) for name, each in read_summed(path).items())
    size = sum(each.nbytes for each in tensors.values())
    for place in range(1, size + 1):
        _flip(path, -place)
        with pytest.raises(ValueError, match="is damaged"):
            read_summed(path)
        _flip(path, -place)
    read_summed(path)


@pytest.mark.parametrize("file", ["state.safetensors", "vectors-00000.safetensors"])
@pytest.mark.parametrize("how", ["cut", "gone", "other", "nan", "bit"])
def test_a_process_that_is_not_whole_is_refused(tmp_path: Path, file: str, how: str) -> None:
    folder = _process(tmp_path)
    path = folder / "a" / "part-0" / file
    tensors = load_file(path)
    name = "vectors" if "vectors" in tensors else "recent_0"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "gone":
        write_summed({"x": torch.ones(1)}, path)
    elif how == "other":
        write_summed({**tensors, name: tensors[name][..., :3]}, path)
    elif how == "nan":
        tensors[name].view(-1)[0] = torch.nan
        write_summed(tensors, path)
    else:
        _flip(path, -3)
    store = Store.open(folder, "memory", {"seed": 0}, resume=True, force=False)
    with pytest.raises(InputError, match="cannot be read as the state of a run; give `force`"):
        store.process("a", lambda v: v, torch.ones(40))
    Store.open(folder, "memory", {"seed": 0}, resume=False, force=True)
    assert not folder.exists()


@pytest.mark.parametrize("place", ["thesis.tex", "a/thesis.tex", "a/part-0/other.safetensors"])
def test_what_else_lies_in_a_store_is_never_removed(tmp_path: Path, place: str) -> None:
    folder = _process(tmp_path)
    (folder / place).write_text("years of work")
    files = sorted(folder.rglob("*"))
    with pytest.raises(OutputError, match="not the state of a run, or other files lie in it"):
        Store.open(folder, "memory", {"seed": 0}, resume=False, force=True)
    Store(folder).discard()
    assert sorted(folder.rglob("*")) == files


def test_bases_state_their_memory() -> None:
    memory = basis_bytes("memory", 1000, 100, 4)
    assert memory == 103 * 1000 * 4
    assert basis_bytes("bfloat16", 1000, 100, 4) < 0.6 * memory
    assert basis_bytes("disk", 1000, 100, 4) == basis_bytes("disk", 1000, 900, 4) < memory
    assert basis_bytes("none", 1000, 100, 4) == 3 * 1000 * 4
    with pytest.raises(UsageError, match="tape"):
        begin(None, "tape")
