"""Callbacks and loggers for code that trains networks, one file each, imported by name."""
