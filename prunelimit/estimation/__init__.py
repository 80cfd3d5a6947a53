"""Curvature + theory -> the limit with its error, usable without a command."""
