"""prunelimit: how sparse a trained network can be made in one shot, and proof of it."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
