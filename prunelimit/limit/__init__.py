"""The theory, pure: spectrum + magnitudes + epsilon -> the limit, and what it is worth."""
