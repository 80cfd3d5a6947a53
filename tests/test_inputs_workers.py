"""The user's own file: imported once, found by processes that load data and by pickles of its own
script; and labels that are those of the samples."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from test_cases_faults import refused
from torch.utils.data import DataLoader, Dataset

import prunelimit as pl
from prunelimit.errors import InputError
from prunelimit.inputs.portable import PortableCall, PortableDataset
from prunelimit.inputs.resolve import resolve_attribute

Run = Callable[..., Outcome]

FILE = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from beside import shift

print("imported", file=sys.stderr)

class Samples(Dataset):
    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(300, 6, generator=generator)
    def __len__(self):
        return len(self.x)
    def __getitem__(self, index):
        return shift(self.x[index]), int(self.x[index].argmax()) % 3

def collate(samples):
    return torch.stack([x for x, _ in samples]) * 2, torch.tensor([y for _, y in samples])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(6, 9)
        self.two = nn.Linear(9, 3)
    def forward(self, x):
        return self.two(self.one(x).relu())

def data():
    return Samples(0), Samples(1)

def loaders():
    return [DataLoader(Samples(seed), 8, shuffle=True, collate_fn=collate) for seed in (0, 1)]

def local():
    class Inner(Samples):
        pass
    return Inner(0), Inner(1)

if __name__ == "__main__":
    torch.manual_seed(0)
    torch.save(Net(), "whole.pt")
    torch.save({"state_dict": Net().state_dict(), "net": Net}, "mixed.pt")
"""

PROGRAM = """
import multiprocessing, sys
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    import torch
    from prunelimit.inputs.resolve import resolve_attribute
    from prunelimit.inputs.splits import DatasetSplit
    train, _ = resolve_attribute("code/net.py:loaders")()
    kind = {"device": torch.device("cpu"), "dtype": torch.float32, "collate": train.collate_fn}
    alone, shared = (DatasetSplit(train.dataset, workers=n, **kind) for n in (0, 1))
    for (x, y), (u, v) in zip(alone.batches(200), shared.batches(200), strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)
    print("the same", len(alone))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "code"
    place.mkdir()
    (place / "net.py").write_text(FILE)
    (place / "beside.py").write_text("def shift(x):\n    return x + 1\n")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_find_the_users_file(folder: Path, tmp_path: Path, method: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same 300\n"
    # Once here, once in the other process, and on standard error in both.
    assert done.stderr.count("imported") == 2


def test_what_no_process_can_be_given_is_said(folder: Path) -> None:
    dataset, _ = resolve_attribute(f"{folder / 'net.py'}:local")()
    with pytest.raises(InputError, match=r"cannot be given to processes .* set `workers` to 0"):
        pickle.dumps(PortableDataset(dataset))
    found = pickle.loads(pickle.dumps(PortableCall(folder.joinpath)))
    assert found("a") == folder / "a"


class TestPicklesOfAScript:
    @pytest.fixture(autouse=True)
    def written(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        subprocess.run([sys.executable, "net.py"], check=True, capture_output=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["whole.pt", "mixed.pt"])
    def test_are_those_of_the_file_that_is_named(
        self, prunelimit: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.chdir(folder)
        options = ("--steps", "3", "--probes", "1", "-q", "--json")
        given = ("-m", "net.py:Net", "-d", "net.py:data", *options)
        refused(prunelimit("predict", name, *given), "wants to run code", "__main__.Net")
        done = prunelimit("predict", name, *given, "--trust-pickle")
        assert done.code == 0, done.stderr
        found = prunelimit("predict", name, "-m", "fc5", *given[2:], "--trust-pickle")
        refused(found, "does not fit fc5")  # -d names the file too
        found = prunelimit("predict", name, "-m", "fc5", "-d", "digits", "--trust-pickle")
        refused(found, "its script's Net is not there")


class Lying(Dataset[Any]):
    """Its attribute is what it was made from, its samples have other labels."""

    def __init__(self, count: int = 40) -> None:
        self.targets = [0] * count
        self.x = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.x[index], index % 4


@pytest.mark.parametrize("wrapped", [False, True])
def test_labels_are_those_of_the_samples(wrapped: bool) -> None:
    data = [DataLoader(Lying()) if wrapped else Lying() for _ in range(2)]
    problem = pl.Problem(torch.nn.Linear(5, 4), *data)
    assert problem.loaded.data_info.classes == 4
