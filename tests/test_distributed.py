"""Several processes: the same numbers as one, and a clear end when one of them dies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import death, together, torchrun

from prunelimit.distributed import ALONE, Group, join
from prunelimit.errors import UsageError

pytestmark = pytest.mark.slow

SCRIPT = """
import os
import torch
from prunelimit.distributed import join
from prunelimit.lanczos import Lanczos, Store, lanczos

D = 101
matrix = torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
matrix = matrix + matrix.T
start = torch.randn(D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

with join("cpu") as group:
    assert group.size == int(os.environ["WORLD_SIZE"])
    parts = group.even(D)
    part = parts.part(start)
    assert torch.equal(parts.all_gather(part), start)
    share = (group.rank + 1) * start
    total = sum(range(1, group.size + 1)) * start
    torch.testing.assert_close(parts.all_gather(parts.reduce_scatter(share)), total)
    assert group.all_reduce(torch.ones(2)).tolist() == [group.size] * 2
    assert group.all_reduce_min(group.rank + 3, torch.device("cpu")) == 3
    owned = group.samples(10)
    counts = group.all_reduce(torch.tensor([float(len(owned))]))
    assert counts.item() == 10

    def matvec(part):
        whole = parts.all_gather(part)
        rows = group.samples(D)
        share = torch.zeros(D, dtype=torch.float64)
        share[rows.start:rows.stop] = matrix[rows.start:rows.stop] @ whole
        return parts.reduce_scatter(share)

    expected = lanczos(lambda v: matrix @ v, start, 40)

    def begin(folder=None, basis="memory"):
        return Store(folder, basis).process("p", matvec, part, group=group, dimension=D)

    process = begin()
    process.advance(40)
    torch.testing.assert_close(process.run.alpha, expected.alpha, rtol=1e-8, atol=1e-10)
    from pathlib import Path
    for basis in ("memory", "disk", "none"):
        folder = Path(os.environ["STATE"]) / basis
        uneven = begin(folder, basis)
        uneven.advance(20)
        uneven.save()
        group.barrier()
        uneven.advance(23)
        if group.rank == 0:
            uneven.save()  # killed while the others were a few steps behind
        group.barrier()
        again = begin(folder, basis)
        assert again.num_steps == (0 if basis == "none" else 20), again.num_steps
        again.advance(40)
        torch.testing.assert_close(again.run.alpha[:20], expected.alpha[:20], rtol=1e-8, atol=1e-8)
    print("fine", group.rank)
"""

NETWORK = """
import os
from torch import nn
from prunelimit.curvature import CurvatureProduct

multiply, calls = CurvatureProduct.__call__, 0

def mortal(self, vectors):
    global calls
    calls += 1
    if calls == int(os.environ["DIE_AT"]):
        os._exit(7)
    return multiply(self, vectors)

if os.environ.get("RANK") == "1" and "DIE_AT" in os.environ:
    CurvatureProduct.__call__ = mortal

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
"""


@pytest.mark.parametrize("processes", [2, 3])
def test_shared_vectors_are_the_vectors(processes: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    outcome = together(processes, script, STATE=str(tmp_path / "state"))
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.count("fine") == processes
    assert "all_gather" not in outcome.stderr  # as torch 2.14 says of its former name


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prunelimit.cli.main import main

    folder = tmp_path_factory.mktemp("mortal")
    (folder / "network.py").write_text(NETWORK)
    spec = f"{folder / 'network.py'}:make"
    options = ["--model", spec, "--data", "digits", "--epochs", "4", "--l1", "1e-4", "-q"]
    assert main(["train", *options, "-o", str(folder / "m.safetensors")]) == 0
    return folder / "m.safetensors"


def predict(checkpoint: Path) -> list[str]:
    return [
        "predict", str(checkpoint), "-m", f"{checkpoint.with_name('network.py')}:make",
        "--samples", "301", "--dtype", "float64", "--tolerance", "2pp", "--max-products", "150",
        "-b", "64",
    ]  # fmt: skip


def test_torchrun_predicts_what_one_process_does_and_a_death_is_survived(
    mortal: Path, tmp_path: Path
) -> None:
    from prunelimit.cli.main import main

    assert main([*predict(mortal), "-o", str(tmp_path / "one.json"), "-q"]) == 0
    one = json.loads((tmp_path / "one.json").read_text())
    shared = ["-m", "prunelimit", *predict(mortal), "-o", tmp_path / "two.json"]
    # A rank that is never heard of again, well into the products.
    survivor, died = death(*shared, DIE_AT="100")
    assert (survivor.code, died.code) == (3, 7)
    assert "Another process of the run died" in survivor.stderr
    assert not (tmp_path / "two.json").exists()
    assert (tmp_path / "two.json.resume").is_dir()
    again = torchrun(2, *shared, "--resume", "--json")
    assert again.returncode == 0, again.stderr
    two = json.loads(again.stdout)  # one document, by the first process
    assert two == json.loads((tmp_path / "two.json").read_text())
    assert two["curvature"]["products"] == one["curvature"]["products"]
    assert two["limit"]["sparsity"] == pytest.approx(one["limit"]["sparsity"], abs=2e-3)
    assert two["curvature"]["trace"] == pytest.approx(one["curvature"]["trace"], rel=1e-9)
    assert not (tmp_path / "two.json.resume").exists()
    refused = together(2, *shared, "--force", "--backend", "pyhessian")
    assert refused.code != 0 and "one process" in refused.stderr


def test_alone_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join("cpu") as group:
        assert group is ALONE
    vector = torch.ones(3)
    parts = group.even(3)
    assert parts.part(vector) is parts.all_gather(vector) is group.all_reduce(vector) is vector
    with pytest.raises(UsageError, match="`samples`"):
        Group(0, 4).samples(3)
    shares = [list(Group(rank, 4).samples(10)) for rank in range(4)]
    assert [sample for share in shares for sample in share] == list(range(10))
    assert {len(share) for share in shares} == {2, 3}


STAGES = """
import os
import torch
from prunelimit.compensation import student
from prunelimit.compensation.stages import Compensator
from prunelimit.distributed import join
from prunelimit.inputs.load import problem_from_module

torch.manual_seed(0)
inputs = torch.randn(400, 8)
both = inputs, (inputs @ torch.randn(8, 4)).argmax(1)
network = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Tanh(), torch.nn.Linear(12, 4))
problem = problem_from_module(network, both, both, dtype="float64")
counts = []
inner = student.CurvatureProduct

def counted(problem, split, *arguments, **options):
    counts.append((len(split), options["count"]))
    return inner(problem, split, *arguments, **options)

student.CurvatureProduct = counted

def run(group):
    worker = Compensator(
        problem, epsilon=0.05, calibration=200, cg_steps=4, stages=2, group=group
    )
    return worker, worker.advance(worker.begin(), 80)

with join("cpu") as group:
    worker, shared = run(group)
    assert counts == [(75, 150)] * 2, counts  # each process multiplies by its own half
    assert torch.equal(shared.weights, group.of_first(shared.weights))
    products = worker.products
from prunelimit.distributed import ALONE
worker, alone = run(ALONE)
assert products == worker.products
assert torch.equal(alone.kept, shared.kept)
torch.testing.assert_close(alone.weights, shared.weights, rtol=1e-6, atol=1e-9)
assert abs(alone.rise - shared.rise) < 1e-9
print("fine")
"""


def test_stages_share_their_inputs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(STAGES)
    outcome = together(2, script)
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.count("fine") == 2


def test_processes_prune_as_one_does(mortal: Path, tmp_path: Path) -> None:
    from prunelimit.cli.main import main

    spec = f"{mortal.with_name('network.py')}:make"
    command = [
        "prune", str(mortal), "-m", spec, "--amount", "0.7", "--survivors", "staged",
        "--stages", "2", "--cg-steps", "4", "--calibration", "300", "--dtype", "float64",
    ]  # fmt: skip
    assert main([*command, "-q", "-o", str(tmp_path / "one.pt")]) == 0
    shared = together(2, "-m", "prunelimit", *command, "--json", "-o", tmp_path / "two.pt")
    assert shared.code == 0, shared.stderr
    found = json.loads(shared.stdout)  # one document, by the first process
    assert found["method"] == "magnitude+staged"
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    for name, each in one.items():
        torch.testing.assert_close(two[name], each, rtol=1e-4, atol=1e-6)
        assert torch.equal(two[name] == 0, each == 0)
    assert not (tmp_path / "two.pt.resume").exists()
    refused = together(2, "-m", "prunelimit", *command, "--force", "--shard", "parameters")
    assert refused.code != 0 and "share samples" in refused.stderr
