"""prunelimit: how sparse a trained network can be made, and proof of it.

    import prunelimit as pl

    problem = pl.Problem(model, train_loader, test_loader)
    limit = pl.predict(problem)
    pruned = pl.prune(problem, survivors="staged")
    measured = pl.measure(problem, "magnitude+staged")
    verdict = pl.check(limit, measured)

Nothing is loaded before it is used: importing this takes no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import presentation as presentation
    from .api.exports import densify, export
    from .api.functions import (
        check,
        compare,
        load,
        measure,
        predict,
        prune,
        regime,
        sensitivity,
        spectrum,
        train,
    )
    from .api.history import history
    from .api.problem import Problem
    from .api.showing import plot, report
    from .errors import PruneLimitError
    from .values import Method

__all__ = [
    "Method",
    "Problem",
    "PruneLimitError",
    "__version__",
    "check",
    "compare",
    "densify",
    "export",
    "history",
    "load",
    "measure",
    "plot",
    "predict",
    "prune",
    "regime",
    "report",
    "sensitivity",
    "spectrum",
    "train",
]

__version__ = "0.1.0"

_HOMES = {
    "Method": "values",
    "Problem": "api.problem",
    "history": "api.history",
    "PruneLimitError": "errors",
    **dict.fromkeys(("densify", "export"), "api.exports"),
    **dict.fromkeys(
        (
            *("check", "compare", "load", "measure", "predict", "prune"),
            *("regime", "sensitivity", "spectrum", "train"),
        ),
        "api.functions",
    ),
    **dict.fromkeys(("plot", "report"), "api.showing"),
}
"""Where each name comes from."""


def __getattr__(name: str) -> Any:
    """The name from its home, loaded when it is first asked for."""
    if name == "presentation":  # how the methods of results are done
        return importlib.import_module(".api.presentation", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
