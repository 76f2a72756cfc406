"""What the surrogate sees of a trial: x = [φ, s, m] (notation in `jfhpo.method.surrogate`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config


class Features:
    """Turns (φ, r, θ) into x. With `sizes` false, x = [φ, s]: all observations are on one model."""

    def __init__(self, problem: Problem, sizes: bool = True):
        self.problem, self.sizes = problem, sizes
        low, high = (math.log(problem.model(name).parameters) for name in (problem.proxy, problem.target))
        self._low, self._range = low, (high - low) or 1.0

    def __call__(self, configs: Sequence[Config], steps: Sequence[int], models: Sequence[str]) -> np.ndarray:
        """x for each of n points, shape (n, D)."""
        columns = [self.problem.space.encode(configs), [self.s(r) for r in steps]]
        if self.sizes:
            columns.append([self.m(name) for name in models])
        return np.column_stack(columns)

    def s(self, steps: int) -> float:
        """log r / log r_max."""
        return math.log(steps) / math.log(max(self.problem.max_steps, 2))

    def m(self, model: str) -> float:
        """log parameters, 0 at the proxy and 1 at the target."""
        return (math.log(self.problem.model(model).parameters) - self._low) / self._range

    @property
    def steps_column(self) -> int:
        """Where s stands in x."""
        return -2 if self.sizes else -1
