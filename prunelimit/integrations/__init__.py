"""What trains a network calls this: callbacks and loggers, one file each, imported by name."""
