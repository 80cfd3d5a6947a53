"""Ways to share what is removed among layers, one file each."""
