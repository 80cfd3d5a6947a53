"""Survivors moved without training, so that they make up for what is removed."""
