"""What a search trial costs (the paper's efficiency table), read from the studies of the ablations."""

from experiments.ablations.sweep import SWEEPS

__all__ = ["STUDIES_OF", "SWEEPS"]
STUDIES_OF = "ablations"
