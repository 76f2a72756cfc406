"""Seconds per trial: the efficiency table of the paper."""
