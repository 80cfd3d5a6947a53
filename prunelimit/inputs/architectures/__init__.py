"""Modules that the built-in networks are made of."""
