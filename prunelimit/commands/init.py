"""``init``: a template for a network and data of one's own."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..storage.files import check_writable, writing

__all__ = ["TEMPLATE", "init", "next_commands"]

TEMPLATE = '''"""A network and its data, as prunelimit reads them. Replace what the functions give.

{commands}

Nothing of prunelimit is needed in this file. What it prints goes to standard error.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def network() -> nn.Module:
    """The network, with any weights: those of the checkpoint replace them.

    Its names and shapes have to be those of the checkpoint. Arguments can be given as
    --model-arg width=64. It takes a batch of inputs (n, ...) and returns logits (n, classes).
    """
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The data: (train, test), each a DataLoader, a map-style data set of (input, target), or a
    pair of tensors, inputs (n, ...) and targets (n,).

    Give the training data that the network was trained on: the limit is about their loss. Inputs
    have to be normalised as they were in training, and the same each time: leave out augmentation.
    Targets are class numbers from 0.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 8, generator=generator)
    targets = (inputs @ torch.randn(8, 3, generator=generator)).argmax(dim=1)
    return (inputs[:300], targets[:300]), (inputs[300:], targets[300:])


# Optional: a loss and a metric other than those that suit the targets. Take the marks away.
#
# def loss(outputs: Tensor, targets: Tensor) -> Tensor:
#     """One loss per sample, shape (n,): the one that the network was trained with."""
#     return nn.functional.cross_entropy(outputs, targets, reduction="none")
#
#
# def metric(outputs: Tensor, targets: Tensor) -> Tensor:
#     """One score from 0 to 1 per sample, shape (n,), higher is better."""
#     return (outputs.argmax(dim=1) == targets).float()
'''
"""Complete: it can be trained and predicted as it is."""


def next_commands(path: Path) -> tuple[str, ...]:
    """What to run with the file, in order."""
    import shlex

    named = [shlex.quote(f"{path}:{name}") for name in ("network", "data")]
    options = f"-m {named[0]} -d {named[1]}"
    return (
        f"prunelimit train {options} -o mine.safetensors",
        f"prunelimit predict mine.safetensors {options}",
    )


def init(path: Path, *, force: bool = False) -> None:
    """Write the template to ``path``.

    Raises:
        UsageError: ``path`` is no name of a Python file.
        OutputError: it exists and ``force`` is not given, or cannot be written.
    """
    if path.suffix != ".py":
        raise UsageError(f"A template cannot be written as {path.name}; end its name with .py.")
    check_writable(path, force=force)
    train, predict = next_commands(path)
    commands = (
        f"    {predict}\n\n"
        "reads a checkpoint mine.safetensors of yours (.pt and .pth do as well). Without one,\n\n"
        f"    {train}\n\n"
        "makes it."
    )
    # In a docstring a backslash or quotes of the path would be something else.
    commands = commands.replace("\\", "\\\\").replace('"', '\\"')
    with writing(path, force=force) as temporary:
        temporary.write_text(TEMPLATE.replace("{commands}", commands), encoding="utf-8")
