"""Checkpoint + network + data -> :class:`Problem`."""
