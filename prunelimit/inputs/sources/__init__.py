"""Data by name, one file each."""
