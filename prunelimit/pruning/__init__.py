"""What is removed: exact-count masks, and the survivors refitted."""
