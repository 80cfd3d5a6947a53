"""Results, and their JSON."""
