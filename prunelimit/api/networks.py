"""Networks that were made here: pruned, or trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..inputs.formats import write_network
from ..results.methods import Result
from ..results.types import Artifact, PruneResult, TrainResult
from .problem import Problem

__all__ = ["PrunedNetwork", "TrainedNetwork"]


@dataclass(frozen=True)
class _Network:
    """``model`` is in eval mode, ``description`` is what a checkpoint says of it. ``result`` is the
    report of the command."""

    model: nn.Module
    description: Mapping[str, Any] = field(repr=False)
    prunable: tuple[str, ...] = field(repr=False)
    result: Result

    def __str__(self) -> str:
        return self.summary()

    def summary(self, *, verbose: bool = False) -> str:
        """The table that the command prints, as plain text; with ``verbose`` the details too."""
        return self.result.summary(verbose=verbose)

    def to_dict(self) -> dict[str, Any]:
        """The report as the command writes it: plain values for JSON."""
        return self.result.to_dict()

    def to_pandas(self, table: str | None = None) -> Any:
        """A table of the report as a pandas DataFrame, the main one where none is named.

        Raises:
            UsageError: there is no such table, or pandas is missing.
        """
        return self.result.to_pandas(table)

    def _repr_html_(self) -> str:
        return self.result._repr_html_()

    def state_dict(self) -> dict[str, Any]:
        """The network's own: its tensors by name."""
        state = self.model.state_dict()
        for name, each in state.items():
            if isinstance(each, Tensor):
                state[name] = each.cpu()
        return state

    def save(self, path: str | Path, *, sparse: bool = False, force: bool = False) -> Artifact:
        """Write the network; the suffix says how.

        ``.safetensors`` names its network and data, and every command reads it. ``.pt`` and
        ``.pth`` hold a plain state_dict, which ``torch.load(path, weights_only=True)`` gives.
        ``.pt.gz`` and ``.pth.gz`` hold the same, compressed. :func:`export` has more formats.

        Args:
            path: The file.
            sparse: Store surviving weights and a bit mask. The file is smaller, and only prunelimit
                reads it. Not in .pt.gz.
            force: Replace a file that is there.

        Returns:
            Where it lies and how many bytes it takes.

        Raises:
            UsageError: the suffix is another, or ``sparse`` does not go with it.
            OutputError: the file is there and ``force`` is not given, or it cannot be written.
        """
        packed: Collection[str] = self.prunable if sparse else ()
        return write_network(path, self.state_dict(), self.description, sparse=packed, force=force)


@dataclass(frozen=True)
class PrunedNetwork(_Network):
    """A pruned network and the report of its pruning.

    ``model`` is a copy of its own. Removed weights are zeros. Statistics of batch normalisation are
    moved if the method moves them. ``result`` has the sparsity by layer, accuracies before and
    after, and warnings.
    """

    result: PruneResult

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that was removed, 0 to 1."""
        return self.result.sparsity


@dataclass(frozen=True)
class TrainedNetwork(_Network):
    """A trained network and how training went; ``problem`` is the network with its data."""

    result: TrainResult
    problem: Problem
