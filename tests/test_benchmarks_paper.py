"""The published formula of benchmarks/paper.py, on a network small enough to check."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import dense_hessian
from torch import nn

from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "paper.py"


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Two of eight hidden units never fire, so that the rows of all that they carry are zero."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        network[0].bias[2] = network[0].bias[5] = -1e3
    data = torch.randn(300, 6), torch.arange(300) % 3
    return problem_from_module(network, data, data, batch_size=100, dtype="float64")


def test_rows_are_measured_without_being_made(paper: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(400, 400, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T
    matrix *= torch.linspace(0, 3, 400, dtype=torch.float64)[:, None].exp()
    matrix[::7] = 0
    norms = paper["row_norms"](lambda vector: matrix @ vector, 400, matrix[0], 0)
    exact = matrix.abs().sum(1)
    assert bool((norms[exact == 0] == 0).all())
    ratios = norms[exact > 0] / exact[exact > 0]
    assert 0.8 < float(ratios.median()) < 1.25
    assert float(ratios.min()) > 0.2 and float(ratios.max()) < 6


def test_the_published_formula_is_that_of_all_eigenvalues(
    paper: dict[str, Any], problem: Problem
) -> None:
    """Against the dense Hessian; one probe stands for all directions, so not to the digit."""
    found = paper["published"](problem, argparse.Namespace(steps=200))
    hessian = dense_hessian(problem)
    dimension = len(hessian)
    null = int((hessian.abs().sum(1) < 1e-7).sum())
    assert null == 2 * (6 + 1 + 3) and found["null"] == null / dimension
    values = np.abs(torch.linalg.eigvalsh(hessian).numpy())
    weights = problem.vector()[problem.prunable_mask()].square().sort().values
    squares = np.concatenate([[0.0], weights.cumsum(0).numpy()])
    most = 0
    for removed, square in enumerate(squares):
        width = dimension - float(
            (values / (values + 2 * found["epsilon"] / max(square, 1e-300))).sum()
        )
        if removed > width:
            break
        most = removed
    assert found["sparsity"] == pytest.approx(most / len(weights), abs=0.05)


def test_rows_of_tasks_hold_what_was_run(paper: dict[str, Any], tmp_path: Path) -> None:
    task = paper["TASKS"][0]
    assert paper["line"](task, tmp_path) is None
    (tmp_path / "FC5_CIFAR-10.published.json").write_text('{"null": 0.25, "sparsity": 0.5}')
    (tmp_path / "FC5_CIFAR-10.tickets.json").write_text('{"imp": {"0.9": 0.4}}')
    row = paper["line"](task, tmp_path)
    assert row == "| FC5 CIFAR-10 |  | 25.0 | 50.0 |  |  |  | imp 40.0 at 90 |"
