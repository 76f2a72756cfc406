"""The surrogate that sensitivity is read from: a random forest over unit coordinates, and its functional ANOVA.

fANOVA (Hutter, Hoos and Leyton-Brown 2014) splits the variance of a forest's prediction over the whole space into the
part of each hyperparameter alone, its main effect, and the rest, which is interactions. Optuna computes it. The space
is the one that was recorded: a record says which values were trained, not which were allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator
from sklearn.ensemble import RandomForestRegressor

TREES = 300
"""Of the forest that one-at-a-time curves are read from."""


@dataclass(frozen=True)
class Axis:
    """One hyperparameter as it was recorded."""

    name: str
    levels: tuple[Any, ...] = ()
    """Its values in order, where it takes few; empty for a range."""
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def unit(self, value: Any) -> float:
        """A value's place in [0, 1]: levels equally spaced, a range by its logarithm where it spans a decade."""
        if self.levels:
            return self.levels.index(value) / max(len(self.levels) - 1, 1)
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def values(self, points: int) -> list[Any]:
        """All levels, or `points` values across the range."""
        if self.levels:
            return list(self.levels)
        space = np.geomspace if self.log else np.linspace
        return [float(np.clip(v, self.low, self.high)) for v in space(self.low, self.high, points)]

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """What Optuna integrates over: each level with equal weight, a range evenly in its unit coordinate."""
        if self.levels:
            return optuna.distributions.IntDistribution(0, len(self.levels) - 1)
        return optuna.distributions.FloatDistribution(0.0, 1.0)

    def coordinate(self, value: Any) -> float | int:
        """The value as `distribution` has it."""
        return self.levels.index(value) if self.levels else self.unit(value)

    @property
    def middle(self) -> Any:
        """What a configuration in which the hyperparameter is inactive counts as."""
        if self.levels:
            return self.levels[(len(self.levels) - 1) // 2]
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2


def axes_of(configs: Sequence[Mapping[str, Any]]) -> list[Axis]:
    """The axes of the configurations: a list of levels for words, and for numbers that take at most a third as many
    values as there are configurations; else a range."""
    found = []
    for name in dict.fromkeys(name for c in configs for name in c):
        values = list(dict.fromkeys(c[name] for c in configs if name in c))
        words = any(isinstance(v, str | bool) for v in values)
        if words or 3 * len(values) <= len(configs) or len(values) == 1:
            found.append(Axis(name, levels=tuple(sorted(values, key=str) if words else sorted(values))))
        else:
            low, high = float(min(values)), float(max(values))
            found.append(Axis(name, low=low, high=high, log=low > 0 and high / low >= 10))
    return found


def encode(axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Unit coordinates, shape (configurations, hyperparameters)."""
    return np.array([[axis.unit(c.get(axis.name, axis.middle)) for axis in axes] for c in configs], dtype=float)


def fit(axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]], accuracy: np.ndarray) -> RandomForestRegressor:
    """The forest. Its ``oob_score_`` is the held-out R²: each configuration is predicted by those trees alone that
    were not fitted to it."""
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0)
    return forest.fit(encode(axes, configs), accuracy)


def importances(
    axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]], accuracy: np.ndarray, trees: int, seed: int
) -> dict[str, float]:
    """Share of the variance that each hyperparameter explains alone; NaN where the accuracy does not vary."""
    if np.ptp(accuracy) == 0:
        return {axis.name: math.nan for axis in axes}
    distributions = {axis.name: axis.distribution() for axis in axes}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study that is made
    try:
        study = optuna.create_study(direction="maximize")
        for config, value in zip(configs, accuracy, strict=True):
            params = {axis.name: axis.coordinate(config.get(axis.name, axis.middle)) for axis in axes}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=float(value)))
        found = FanovaImportanceEvaluator(n_trees=trees, seed=seed).evaluate(study)
    finally:
        optuna.logging.set_verbosity(before)
    return {axis.name: float(found[axis.name]) for axis in axes}


def one_at_a_time(
    forest: RandomForestRegressor, axes: Sequence[Axis], base: Mapping[str, Any], name: str, points: int
) -> tuple[list[Any], np.ndarray]:
    """The surrogate's accuracy along one hyperparameter, the others held at `base`: its values and the predictions."""
    values = next(axis for axis in axes if axis.name == name).values(points)
    return values, forest.predict(encode(axes, [dict(base) | {name: value} for value in values]))
