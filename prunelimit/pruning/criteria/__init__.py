"""Pruning criteria, one file each: what says which weights matter least."""
