"""Formulas of the limit, one file each."""
