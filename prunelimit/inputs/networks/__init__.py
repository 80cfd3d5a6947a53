"""Networks by name: those of the pruning literature, torchvision's, and the user's own."""

from __future__ import annotations

from .build import NETWORKS, build_network

__all__ = ["NETWORKS", "build_network"]
