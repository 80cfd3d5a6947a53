"""What ``import prunelimit`` gives: the commands as functions on live networks."""
