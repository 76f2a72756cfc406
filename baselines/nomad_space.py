"""A search space as NOMAD's variables, and NOMAD's points as configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Config

DIGITS = 12
"""Significant digits of a number: what 10**log10(x) adds is rounded away, and equal points are one configuration."""


@dataclass(frozen=True)
class Variable:
    """One hyperparameter as NOMAD sees it."""

    name: str
    letter: str
    """NOMAD's BB_INPUT_TYPE: R real, I integer, B binary."""
    low: Any
    high: Any
    """The range: numbers, or the first and last index."""
    values: tuple[Any, ...] = ()
    """What an index points at; empty for numbers."""
    log: bool = False
    whole: bool = False
    """Whether the hyperparameter is an integer."""

    @classmethod
    def of(cls, name: str, spec: Mapping[str, Any]) -> Variable:
        if "values" in spec:
            values = tuple(spec["values"])
            return cls(name, "B" if len(values) == 2 else "I", 0, len(values) - 1, values)
        log, whole = bool(spec.get("log", False)), spec["type"] == "integer"
        return cls(name, "I" if whole and not log else "R", spec["low"], spec["high"], (), log, whole)

    @property
    def bounds(self) -> tuple[float, float]:
        return self._scaled(self.low), self._scaled(self.high)

    def coordinate(self, value: Any) -> float:
        return self._scaled(self.values.index(value) if self.values else value)

    def value(self, coordinate: float) -> Any:
        """Coordinates beyond a bound count as the bound."""
        number = float(f"{10**coordinate if self.log else coordinate:.{DIGITS}g}")
        number = min(max(number, self.low), self.high)
        if self.values:
            return self.values[round(number)]
        return round(number) if self.whole else number

    @property
    def size(self) -> float:
        """How many values it has."""
        return self.high - self.low + 1 if self.values or self.whole else math.inf

    def _scaled(self, number: float) -> float:
        return math.log10(number) if self.log else float(number)


class Encoding:
    """Numbers are themselves, or their log10 where the range is log (an integer then is a real that is rounded);
    ordinals and categoricals are indices into their values.

    An index says that neighbours in the list are alike. That is what an ordinal means, and it says nothing where there
    are two values; of a categorical with more it is an assumption, and their order in the space matters.
    """

    def __init__(self, space: SearchSpace):
        self.space = space
        free = {name: spec for name, spec in space.specs.items() if len(spec.get("values", "ab")) > 1}
        self.fixed = {name: spec["values"][0] for name, spec in space.specs.items() if name not in free}
        """Hyperparameters with one value, of which NOMAD hears nothing."""
        self.variables = tuple(Variable.of(name, spec) for name, spec in free.items())

    @property
    def size(self) -> float:
        """How many configurations there are."""
        if self.space.listed is not None:
            return len(self.space.listed)
        return math.prod(v.size for v in self.variables)

    def point(self, config: Config) -> list[float]:
        return [v.coordinate(config[v.name]) for v in self.variables]

    def config(self, point: Sequence[float]) -> dict[str, Any]:
        found = {v.name: v.value(x) for v, x in zip(self.variables, point, strict=True)}
        return self.space.nearest(self.space.validate(self.fixed | found))
