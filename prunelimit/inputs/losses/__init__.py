"""Losses by name, one file each."""
