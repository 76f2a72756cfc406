"""The ablations of JF-HPO, and the paper against the calibrated version."""
