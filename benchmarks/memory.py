"""Memory as planned beforehand against what a process grew by, at its peak.

    python benchmarks/memory.py [lenet-300-100 resnet20 resnet18 transformer resnet50]

Fresh weights and random data: memory does not know the difference. Each network has two processes
of its own, one that plans and one that works. A stage has a solve; a path is to 95%, in as many
stages as it takes. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelimit.commands.predict import predict_problem
from prunelimit.compensation.stages import Compensator
from prunelimit.config import CurvatureConfig, LimitConfig
from prunelimit.estimation.plan import plan
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem


class Transformer(nn.Module):
    """Two layers of width 128 over 32 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
        self.inner = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(128, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, 10) of codes (n, 32)."""
        found: Tensor = self.last(self.inner(self.table(inputs)).mean(1))
        return found


def images(count: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Random samples and classes."""
    return torch.randn(count, *shape), torch.arange(count) % 10


def made(name: str) -> Problem:
    """The problem of that name."""
    from prunelimit.inputs.build import build_network

    torch.manual_seed(0)
    if name == "transformer":
        both = torch.randint(64, (600, 32)), torch.arange(600) % 10
        return problem_from_module(Transformer(), both, both)
    if name in ("resnet18", "resnet50"):
        import torchvision

        count, side = (64, 64) if name == "resnet18" else (16, 224)
        both = images(count, 3, side, side)
        network = torchvision.models.get_model(name, num_classes=10)
        return problem_from_module(network, both, both, batch_size=min(count, 16))
    shape, count = {
        "lenet-300-100": ((1, 28, 28), 4_000),
        "resnet20": ((3, 32, 32), 300),
    }[name]
    network = build_network(name, input_shape=shape, classes=10, arguments={})
    both = images(count, *shape)
    return problem_from_module(network, both, both)


def grown(work: Callable[[], object]) -> int:
    """Bytes by which the resident size at its peak is larger than before ``work``."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024


def planned(name: str, queue: Any) -> None:
    """In a process of its own."""
    problem = made(name)
    prediction = plan(problem, CurvatureConfig(), LimitConfig(epsilon="0.1", max_products=30))
    queue.put((prediction.memory_bytes, problem.layout.size))


def measured(name: str, queue: Any) -> None:
    """In a process of its own."""
    problem = made(name)
    limit = LimitConfig(epsilon="0.1", max_products=30)
    queue.put(grown(lambda: predict_problem(problem, CurvatureConfig(), limit)))


def staged(name: str, queue: Any) -> None:
    """One stage: its own plan, and what it grew by."""
    problem = made(name)
    worker = Compensator(problem, epsilon=0.1, calibration=0, cg_steps=4, stages=1)
    remove = worker.prunable // 2
    cost = worker.cost(remove).bytes
    queue.put((cost, grown(lambda: worker.advance(worker.begin(), remove))))


def path(name: str, queue: Any) -> None:
    """All stages of a path: its plan, and what it grew by."""
    problem = made(name)
    worker = Compensator(problem, epsilon=1e-5, calibration=0)
    remove = round(0.95 * worker.prunable)
    cost = worker.cost(remove).bytes
    queue.put((cost, grown(lambda: worker.advance(worker.begin(), remove))))


def alone(work: Callable[[str, Any], None], name: str) -> Any:
    """What ``work`` puts in its queue, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(name, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known = ("lenet-300-100", "resnet20", "resnet18", "transformer", "resnet50")
    parser.add_argument("networks", nargs="*", default=known)
    options = parser.parse_args()
    print("| network | parameters | work | planned, MiB | grown by, MiB | planned / grown |")
    print("|---|---|---|---|---|---|")
    for name in options.networks:
        wanted, size = alone(planned, name)
        rows = [
            ("predict", wanted, alone(measured, name)),
            ("stage", *alone(staged, name)),
            ("path", *alone(path, name)),
        ]
        for work, plan_bytes, taken in rows:
            ratio = plan_bytes / max(1, taken)
            print(
                f"| {name} | {size:,} | {work} | {plan_bytes / 2**20:,.0f} | "
                f"{taken / 2**20:,.0f} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
