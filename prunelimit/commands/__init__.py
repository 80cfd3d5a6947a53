"""The commands: load, call, package; the only room that joins all others."""
