"""Networks that were made here: pruned, or trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..inputs.formats import write_network
from ..results.types import Artifact, PruneResult, TrainResult
from .problem import Problem

__all__ = ["PrunedNetwork", "TrainedNetwork"]


@dataclass(frozen=True)
class _Network:
    """``model`` is in eval mode, ``description`` is what a checkpoint says of it."""

    model: nn.Module
    description: Mapping[str, Any] = field(repr=False)
    prunable: tuple[str, ...] = field(repr=False)

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

    def summary(self) -> str:
        """The table that ``prune`` prints, as plain text."""
        return self.result.summary()

    def _repr_html_(self) -> str:
        return self.result._repr_html_()


@dataclass(frozen=True)
class TrainedNetwork(_Network):
    """A trained network and how training went; ``problem`` is the network with its data."""

    problem: Problem
    result: TrainResult

    def summary(self) -> str:
        """The table that ``train`` prints, as plain text."""
        return self.result.summary()

    def _repr_html_(self) -> str:
        return self.result._repr_html_()
