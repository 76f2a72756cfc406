"""What an experiment runs at each scale; every ``experiments/<name>/sweep.py`` holds one dictionary of these."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from jfhpo.core.errors import unknown

Words = tuple[str, ...]
"""``key=value`` settings of a study, as they would be typed."""


@dataclass(frozen=True)
class Sweep:
    """Every method with every seed on every problem."""

    methods: tuple[str, ...]
    """Methods, or labels of `variants`."""
    seeds: tuple[int, ...]
    problems: tuple[str, ...] = ("last_digit",)
    """Problems, or names in `targets`."""
    variants: Mapping[str, Words] = field(default_factory=lambda: MappingProxyType({}))
    """Label -> the words of a method with other settings, e.g. ``no_proxy: (method=jfhpo, method.proxy=false)``."""
    targets: Mapping[str, Words] = field(default_factory=lambda: MappingProxyType({}))
    """Name -> the words of a problem with another target, e.g. ``last_digit-m3: (problem=last_digit,
    problem.target=m3)``."""

    def words(self, label: str) -> Words:
        """What makes a study of this row of the table."""
        if label in self.variants:
            return (*self.variants[label], f"label={label}")
        return (f"method={label}",)

    def problem_words(self, name: str) -> Words:
        """What makes a study of this problem, under this name."""
        if name in self.targets:
            return (*self.targets[name], f"problem.name={name}")
        return (f"problem={name}",)


def experiments() -> list[str]:
    """Their names."""
    return sorted(p.parent.name for p in Path(__file__).parent.glob("*/sweep.py"))


def sweeps(experiment: str) -> dict[str, Sweep]:
    """Scale -> sweep of an experiment."""
    return _module(experiment).SWEEPS


def studies_of(experiment: str) -> str:
    """The experiment whose studies this one reads: itself, or another where the same runs serve several questions
    (``STUDIES_OF`` in its sweep)."""
    return getattr(_module(experiment), "STUDIES_OF", experiment)


def _module(experiment: str):
    if experiment not in experiments():
        raise unknown("experiment", experiment, experiments())
    return importlib.import_module(f"experiments.{experiment}.sweep")
