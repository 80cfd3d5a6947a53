"""The only room that joins stages: one module per command, in data order."""
