"""How a result was obtained: time, memory, versions, configuration."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from datetime import datetime, timezone
from typing import Any

import torch

from .. import __version__
from ..config import Config, RunConfig, stage_of
from ..curvature.memory import peak_bytes
from ..devices import chosen
from ..results.types import Provenance

__all__ = ["Recorder"]

PACKAGES = ("torch", "torchvision", "numpy", "scipy")


class Recorder:
    """Started when a command starts; :meth:`finish` gives its provenance.

    ``begin`` is the monotonic clock's time of the start, seconds."""

    def __init__(self, command: str, run: RunConfig, *configs: Config) -> None:
        self._command = command
        self._run = run
        self._config: dict[str, Any] = {}
        for config in (run, *configs):
            self._config[stage_of(type(config))] = config.echo()
        self._created = datetime.now(timezone.utc)
        self.begin = time.monotonic()

    def finish(self) -> Provenance:
        """The provenance, with the time since the start and the process's peak memory."""
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        device = chosen(self._run.device)
        if torch.cuda.is_available() and device.startswith("cuda"):
            versions |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(device)}
        return Provenance(
            tool_version=__version__,
            command=self._command,
            created=self._created.isoformat(timespec="seconds"),
            seed=self._run.seed,
            device=device,
            versions={"python": platform.python_version(), **versions},
            wall_seconds=time.monotonic() - self.begin,
            peak_bytes=peak_bytes(),
            config=self._config,
        )
