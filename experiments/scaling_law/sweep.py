"""Nothing is trained for this experiment alone: laws are fitted to the curves of `recording`."""

from experiments.recording.sweep import SWEEPS

STUDIES_OF = "recording"
__all__ = ["STUDIES_OF", "SWEEPS"]
