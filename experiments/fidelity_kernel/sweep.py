"""The same studies as the recording's: nothing is trained for this experiment alone."""

from experiments.recording.sweep import SWEEPS

STUDIES_OF = "recording"
__all__ = ["STUDIES_OF", "SWEEPS"]
