"""The VeRL recipe: no search at all, verl's published GRPO settings trained on the target.

Source: verl's GRPO example scripts. At miniature scale its learning rate is mapped by width, lr × 3584 / d, since
1e-6 belongs to a 7B model of width 3584 (``docs/deviations.md``).
"""

from __future__ import annotations

from typing import ClassVar

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, Trial, TrialResult


class Recipe(Optimizer):
    name: ClassVar[str] = "recipe"
    learns: ClassVar[bool] = False

    def propose(self) -> Trial | None:
        return None if self._asked else self.trial(self.problem.recipe, self.problem.full)

    def observe(self, result: TrialResult) -> None:
        """There is nothing to learn."""

    def recommend(self) -> Config:
        return self.problem.recipe
