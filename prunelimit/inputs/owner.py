"""The part of a state's owner that the user's own files make."""

from __future__ import annotations

from ..hashing import digest
from .problem import Problem, code_of
from .splits import fingerprint

__all__ = ["owner_of"]


def owner_of(problem: Problem) -> dict[str, str]:
    """Hashes by names that a person reads: of the training samples, and of the code of network,
    loss and metric. Work goes on only where they are the same."""
    return {
        "training data": fingerprint(problem.train),
        "code of network, loss or metric": digest(code_of(problem)),
    }
