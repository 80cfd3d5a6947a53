"""Networks of the pruning literature, one file each."""
