"""Beside peers: accuracy lost and seconds, on the same networks, inputs and machine.

    python benchmarks/peers.py --work bench --cifar10 DIR --checkpoints DIR [--sparsities 0.6 0.7]

The networks are the three ResNet-20 of resnets.py. Every method removes weights by magnitude over
all layers together, so all have the same mask, but for these: Wanda compares within each output,
WoodFisher takes its own scores, and stages choose anew after each of them. Methods of the package
go by their names. Two are stated here from their papers, for networks that are a row of pieces:

- ``sparsegpt``: Frantar, Alistarh 2023. Layer by layer, the columns of a weight are gone through
  once; what a removed weight gave is made up for by the columns after it, by the inverse of
  H = X X^T. The mask is given.
- ``snows``: Lucas, Mazumder 2025. Layer by layer, survivors take Newton steps on the squared
  distance of the outputs of this piece and the next ``AHEAD`` from the dense network's. The steps
  are solved by conjugate gradients without a matrix, here the Gauss-Newton one.

Both end with new statistics of batch normalisation, from the same inputs. Each result's JSON stays
under ``--work`` and is not made again.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from resnets import arguments, networks
from torch import Tensor, nn

from prunelimit.compensation.batch_norm import recalibrated, statistics
from prunelimit.compensation.student import fill
from prunelimit.config import SurvivorConfig
from prunelimit.inputs.problem import Evaluation, Problem, evaluate
from prunelimit.measurement.drop import paired_drop
from prunelimit.measurement.networks import Networks
from prunelimit.pruning.magnitude import pruned_weights, removal_count
from prunelimit.pruning.selection import Selection
from prunelimit.storage.files import read_json, write_json
from prunelimit.values import EpsilonRule, Method

METHODS = (
    "magnitude",
    "wanda",
    "obs+obs",
    "magnitude+layerwise",
    "sparsegpt",
    "snows",
    "magnitude+staged",
)
STAGES = {0.6: 2, 0.7: 2, 0.8: 3, 0.9: 5}
"""Stages of ``magnitude+staged``; 5 elsewhere."""

BATCH = 250
DAMPING = 0.01
"""Share of the mean diagonal that SparseGPT adds to H."""

AHEAD, NEWTON, CG = 2, 3, 10
"""Pieces that SNOWS looks ahead, its steps per layer and solver iterations per step."""

RIDGE = 1e-3
"""Share of the curvature along the gradient that SNOWS damps by."""


class Stem(nn.Module):
    """What comes before the blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv1, self.bn1 = model.conv1, model.bn1

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.relu(self.bn1(self.conv1(inputs)))


class Head(nn.Module):
    """What comes after the blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.linear = model.linear

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs.mean(dim=(2, 3)))


def pieces(model: Any) -> list[nn.Module]:
    """A narrow ResNet as a row of pieces, which share its parameters."""
    return [Stem(model), *model.layer1, *model.layer2, *model.layer3, Head(model)]


def layers(piece: nn.Module) -> list[str]:
    """Names of the layers of a piece that have prunable weights, in their order."""
    kinds = (nn.Conv2d, nn.Linear)
    return [name for name, module in piece.named_modules() if isinstance(module, kinds)]


def inputs_of(problem: Problem, count: int) -> Tensor:
    """So many training inputs, drawn by the problem's seed."""
    split = problem.train.subset(count, problem.seed)
    return torch.cat([inputs for inputs, _ in split.batches(BATCH)])


def through(piece: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs of a piece, batch by batch."""
    with torch.no_grad():
        return torch.cat([piece(batch) for batch in inputs.split(BATCH)])


def columns(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs of a layer as (n, inputs of an output)."""
    if isinstance(layer, nn.Linear):
        return inputs
    assert isinstance(layer, nn.Conv2d)
    unfolded = nn.functional.unfold(
        inputs, layer.kernel_size, padding=layer.padding, stride=layer.stride
    )
    return unfolded.transpose(1, 2).flatten(0, 1)


def swept(weight: Tensor, mask: Tensor, hessian: Tensor) -> Tensor:
    """SparseGPT's sweep over a weight (outputs, inputs) with a given ``mask``."""
    size = len(hessian)
    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(size, dtype=hessian.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper = torch.linalg.cholesky(inverse, upper=True)
    found = weight.to(hessian.dtype).clone()
    for column in range(size):
        lost = found[:, column].masked_fill(mask[:, column], 0) / upper[column, column]
        found[:, column:] -= lost[:, None] * upper[column, column:]
    return found.masked_fill(~mask, 0).to(weight.dtype)


def sparsegpt(
    student: nn.Module, dense: nn.Module, masks: dict[str, Tensor], given: Tensor
) -> None:
    """Change the survivors of ``student`` by SparseGPT's sweep."""
    hidden = given
    for piece in pieces(student):
        for name in layers(piece):
            layer = piece.get_submodule(name)
            size = layer.weight[0].numel()
            total = torch.zeros(size, size, dtype=torch.float64)

            def add(module: nn.Module, seen: tuple[Tensor, ...], total: Tensor = total) -> None:
                found = columns(module, seen[0])
                total += (found.T @ found).double()

            hook = layer.register_forward_pre_hook(add)
            through(piece, hidden)
            hook.remove()
            mask = mask_of(student, masks, layer).flatten(1)
            found = swept(layer.weight.detach().flatten(1), mask, total / len(hidden))
            layer.weight.data.copy_(found.view_as(layer.weight))
        hidden = through(piece, hidden)


def snows(student: nn.Module, dense: nn.Module, masks: dict[str, Tensor], given: Tensor) -> None:
    """Change the survivors of ``student`` by SNOWS' Newton steps."""
    row, aims = pieces(student), pieces(dense)
    hidden, clean = given, given
    for place, piece in enumerate(row):
        ahead = row[place : place + AHEAD + 1]
        targets, value = [], clean
        for each in aims[place : place + AHEAD + 1]:
            value = through(each, value)
            targets.append(value)
        for name in layers(piece):
            newton(ahead, piece.get_submodule(name), masks, student, hidden, targets)
        hidden, clean = through(piece, hidden), targets[0]


def newton(
    ahead: list[nn.Module],
    layer: nn.Module,
    masks: dict[str, Tensor],
    student: nn.Module,
    hidden: Tensor,
    targets: list[Tensor],
) -> None:
    """SNOWS' steps on one layer's survivors."""
    mask = mask_of(student, masks, layer)
    whole = nn.ModuleList(ahead)
    (name,) = [n for n, p in whole.named_parameters() if p is layer.weight]
    fixed = {n: p.detach() for n, p in whole.named_parameters() if n != name}
    fixed |= dict(whole.named_buffers())

    class Row(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = whole

        def forward(self, value: Tensor) -> list[Tensor]:
            found = []
            for each in self.whole:
                value = each(value)
                found.append(value)
            return found

    run = Row()
    scales = [1 / target.square().mean() / target.numel() for target in targets]

    def features(weight: Tensor, batch: slice) -> Tensor:
        own = {f"whole.{n}": p for n, p in {**fixed, name: weight}.items()}
        found = torch.func.functional_call(run, own, (hidden[batch],))
        return torch.cat(
            [
                ((value - target[batch]) * scale**0.5).flatten()
                for value, target, scale in zip(found, targets, scales, strict=True)
            ]
        )

    def batches() -> Iterator[slice]:
        for start in range(0, len(hidden), BATCH):
            yield slice(start, start + BATCH)

    def distance(weight: Tensor) -> float:
        with torch.no_grad():
            return sum(float(features(weight, each).square().sum()) for each in batches())

    weight = layer.weight.detach().clone()
    before = distance(weight)
    for _ in range(NEWTON):
        gradient = torch.zeros_like(weight)
        for each in batches():
            residual, pull = torch.func.vjp(lambda w, each=each: features(w, each), weight)
            gradient += pull(residual)[0]
        gradient = gradient.masked_fill(~mask, 0)

        def product(vector: Tensor, weight: Tensor = weight) -> Tensor:
            total = torch.zeros_like(vector)
            for each in batches():

                def own(w: Tensor, each: slice = each) -> Tensor:
                    return features(w, each)

                _, moved = torch.func.jvp(own, (weight,), (vector,))
                total += torch.func.vjp(own, weight)[1](moved)[0]
            return total.masked_fill(~mask, 0)

        step = solved(product, -gradient)
        length, improved = 1.0, False
        while length > 0.05 and not improved:
            after = distance(weight + length * step)
            improved = after < before
            if improved:
                weight, gain, before = weight + length * step, before - after, after
            length /= 2
        if not improved or gain < 1e-3 * before:
            break
    layer.weight.data.copy_(weight)


def solved(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """Conjugate gradients from zero, damped by a share of the curvature along ``right``."""
    found, residual = torch.zeros_like(right), right.clone()
    direction, norm = residual.clone(), residual.square().sum()
    if norm == 0:
        return found
    damping = None
    for _ in range(CG):
        image = product(direction)
        if damping is None:
            damping = RIDGE * (direction * image).sum() / direction.square().sum()
        image = image + damping * direction
        rate = norm / (direction * image).sum()
        found, residual = found + rate * direction, residual - rate * image
        new = residual.square().sum()
        direction, norm = residual + new / norm * direction, new
    return found


def mask_of(student: nn.Module, masks: dict[str, Tensor], layer: nn.Module) -> Tensor:
    """Which weights of a layer stay."""
    (name,) = [n for n, p in student.named_parameters() if p is layer.weight]
    return masks[name]


STATED = {"sparsegpt": sparsegpt, "snows": snows}


def restated(problem: Problem, name: str, sparsity: float, count: int) -> tuple[Problem, Tensor]:
    """A network by a method that is stated here, and its weights."""
    selection = Selection(problem, Method())
    prunable = int(problem.prunable_mask().sum())
    mask = selection.mask(removal_count(sparsity, prunable))
    student = copy.deepcopy(problem.model)
    fill(student, problem, pruned_weights(problem, mask), {})
    STATED[name](student, problem.model, problem.layout.unflatten(mask), inputs_of(problem, count))
    split = problem.train.subset(count, problem.seed)
    before = statistics(problem.model, split, count)
    buffers = recalibrated(student, problem.model, before, split, count)
    for key, value in student.named_buffers():
        if key in buffers:
            value.copy_(buffers[key])
    own = dict(student.named_parameters())
    weights = problem.layout.flatten({n: own[n].detach() for n in problem.layout.names})
    twin = copy.copy(problem)
    object.__setattr__(twin, "model", student)
    return twin, weights


def packaged(problem: Problem, name: str, sparsity: float, count: int) -> tuple[Problem, Tensor]:
    """A network by a method of the package, and its weights."""
    method = Method.parse(name)
    config = SurvivorConfig(
        calibration=count if method.survivors in ("layerwise", "staged") else None,
        cg_steps=0,
        stages=STAGES.get(sparsity, 5),
    )
    made = Networks(problem, method, config, epsilon=EpsilonRule.parse("0.02"), target_loss=0.0)
    network = made.at(removal_count(sparsity, made.prunable))
    return network.problem, network.weights


def measured(
    problem: Problem, before: Evaluation, name: str, sparsity: float, count: int
) -> dict[str, Any]:
    """Accuracy lost on the test split with its paired error, and what it took. ``before`` is the
    dense network's."""
    begin = time.perf_counter(), time.process_time()
    make = restated if name in STATED else packaged
    made, weights = make(problem, name, sparsity, count)
    seconds, processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
    after = evaluate(made, made.test, weights)
    drop = paired_drop(before, after)
    removed = int((weights[problem.prunable_mask()] == 0).sum())
    return {
        "dense": before.accuracy,
        "accuracy": after.accuracy,
        "drop": drop.mean,
        "standard_error": drop.standard_error,
        "zeros": removed / int(problem.prunable_mask().sum()),
        "seconds": seconds,
        "processor": processor,
    }


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.6, 0.7, 0.8, 0.9])
    parser.add_argument("--methods", default="", help="regular expression of methods")
    parser.add_argument("--inputs", type=int, default=6_000, help="that every method reads")
    parser.add_argument("--snows-inputs", type=int, default=1_000, help="that SNOWS reads")
    parser.add_argument("--table", action="store_true", help="print what is there")
    options = arguments(parser)
    rows = []
    for network, make in networks(
        options.work, options.cifar10, options.checkpoints, options.epochs
    ):
        if not re.search(options.only, network):
            continue
        problem = None
        for method in METHODS:
            if not re.search(options.methods, method):
                continue
            cells = [network, method]
            for sparsity in options.sparsities:
                stem = re.sub(r"\W+", "-", f"peers {network} {method} {sparsity:g}")
                path: Path = options.work / f"{stem}.json"
                if not path.exists() and not options.table:
                    if problem is None:
                        problem = make()
                        dense = evaluate(problem, problem.test)
                    count = options.snows_inputs if method == "snows" else options.inputs
                    found = measured(problem, dense, method, sparsity, count)
                    write_json(path, found)
                    print(f"{stem}: {found}", file=sys.stderr, flush=True)
                each = read_json(path) if path.exists() else None
                cells.append(
                    "-"
                    if each is None
                    else f"{-100 * each['drop']:+.2f} +- {100 * each['standard_error']:.2f}, "
                    f"{each['seconds']:.0f} ({each['processor']:.0f})"
                )
            rows.append("| " + " | ".join(cells) + " |")
    titles = ["network", "method", *(f"{100 * s:g}%" for s in options.sparsities)]
    print("\n".join(["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|", *rows]))


if __name__ == "__main__":
    main()
