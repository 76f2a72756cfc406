"""Cells that several pages share: a number with its bootstrap interval, and how a run's learning rate is called."""

from __future__ import annotations

import math

from experiments.recording.design import AS_IT_IS, BY_WIDTH
from paper_figures.formats import NOT_KNOWN

TRANSFER = {AS_IT_IS: "lr as it is", BY_WIDTH: "lr × width"}
"""How a run came by its learning rate, as tables and legends say it."""
MODEL_COLOURS = ("#56B4E9", "#E69F00", "#0072B2", "#CC79A7", "#009E73")
"""Models from the smallest up, in Okabe and Ito's palette."""


def bracketed(value: float, low: float, high: float, digits: int = 2, scale: float = 1.0) -> str:
    """``0.52 [0.18, 0.81]``; ``0.52 [–]`` where there is no interval, ``–`` where there is no value."""
    if math.isnan(value):
        return NOT_KNOWN
    said = f"{scale * value:.{digits}f}"
    if math.isnan(low) or math.isnan(high):
        return f"{said} [{NOT_KNOWN}]"
    return f"{said} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def span(low: float, high: float, digits: int = 2) -> str:
    """``[0.18, 0.81]``, or ``–``."""
    return NOT_KNOWN if math.isnan(low) or math.isnan(high) else f"[{low:.{digits}f}, {high:.{digits}f}]"
