"""Random search (Bergstra and Bengio 2012): independent draws from the space, each trained on the target in full.

The first point is the recipe where the problem says so (`Problem.recipe_first`, the same for every method). Nothing
is stopped early and nothing is resumed: this is the paper's "Random Search" row, the base of its speedups.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Status, Trial, TrialResult


class RandomSearch(Optimizer):
    name: ClassVar[str] = "random_search"
    learns: ClassVar[bool] = False

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        self.rng = np.random.default_rng(seed)
        self.best: tuple[float, Config] | None = None
        self.drawn: set[str] = set()

    def propose(self) -> Trial:
        if not self._asked and self.problem.recipe_first:
            config = dict(self.problem.recipe)
        else:
            config = self.problem.space.draw(self.rng, self.drawn)
        self.drawn.add(config_key(config))
        return self.trial(config, self.problem.full)

    def observe(self, result: TrialResult) -> None:
        if result.status is Status.COMPLETED and (self.best is None or result.score > self.best[0]):
            self.best = (result.score, result.trial.config)

    def recommend(self) -> Config:
        """The best validation score among completed runs; before there is one, the recipe."""
        return self.best[1] if self.best is not None else self.problem.recipe
