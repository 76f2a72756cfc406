"""The audit trains nothing of its own: it replays the stopping rules over the runs of `recording`."""

from experiments.recording.sweep import SWEEPS

STUDIES_OF = "recording"
__all__ = ["STUDIES_OF", "SWEEPS"]
