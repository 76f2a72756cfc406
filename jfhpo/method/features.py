"""What the surrogate sees of a trial: x = [φ, s, m] (notation in `jfhpo.method.surrogate`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config


class Features:
    """Turns (φ, r, θ) into x. With `lr_by_width`, φ holds the learning rate as it would be on the target, so equal
    features mean learning rates that widths make equivalent (lr ∝ 1/width)."""

    def __init__(self, problem: Problem):
        self.problem = problem
        low, high = (math.log(problem.model(name).parameters) for name in (problem.proxy, problem.target))
        self._low, self._range = low, (high - low) or 1.0

    def __call__(self, configs: Sequence[Config], steps: Sequence[int], models: Sequence[str]) -> np.ndarray:
        """x for each of n points, shape (n, D + 2)."""
        s = np.log(np.asarray(steps, dtype=float)) / math.log(max(self.problem.max_steps, 2))
        m = [(math.log(self.problem.model(name).parameters) - self._low) / self._range for name in models]
        return np.column_stack([self.problem.space.encode(configs), s, m])
