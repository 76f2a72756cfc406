"""What an experiment runs at each scale; every ``experiments/<name>/sweep.py`` holds one dictionary of these."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from jfhpo.core.errors import unknown


@dataclass(frozen=True)
class Sweep:
    """Every method with every seed on every problem."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    problems: tuple[str, ...] = ("last_digit",)


def sweeps(experiment: str) -> dict[str, Sweep]:
    """Scale -> sweep of an experiment."""
    names = sorted(p.parent.name for p in Path(__file__).parent.glob("*/sweep.py"))
    if experiment not in names:
        raise unknown("experiment", experiment, names)
    return importlib.import_module(f"experiments.{experiment}.sweep").SWEEPS
