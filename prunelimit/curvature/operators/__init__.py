"""Curvature matrices of the training loss, one file each."""
