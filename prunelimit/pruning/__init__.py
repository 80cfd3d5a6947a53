"""Which weights go: criteria, allocations, patterns, masks of exact counts."""
