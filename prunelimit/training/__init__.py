"""Training: with an l1 penalty from the start, and of the survivors of a mask."""
