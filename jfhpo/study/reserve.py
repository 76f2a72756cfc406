"""What the search has to leave of the budget, so that what it recommends can be trained on the target in full."""

from __future__ import annotations

from jfhpo.core.cost_model import CostModel
from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config
from jfhpo.study.history import History

MARGIN = 1.25
"""The final run's expected cost is held back with a quarter to spare: most trials seen are short, and steps cost more
towards the end of a run, when completions have grown (with 5 % to spare, one of two final runs ended at step 44)."""
UNSEEN_MARGIN = 2.0
"""The same while no trial ran on the target yet, and its cost is only guessed from the proxy's: with 1.25, a search
that never leaves the proxy had each of its first three final runs cut at 42 to 45 of 50 steps."""


class Reserve:
    """In the problem's cost unit."""

    def __init__(self, problem: Problem, history: History, costs: CostModel):
        self.problem, self.history, self.costs = problem, history, costs
        self.held_for: Config | None = None
        """The configuration whose final run had its cost held back when the last trial was asked for."""

    def needed(self, config: Config | None) -> float:
        """For training this configuration on the target: nothing where a trial did so already in full.

        Shorter runs of it on the target are not credited: a final run that is cut is worse than a little budget left
        over.
        """
        if config is None or self.history.full_run(config) is not None:
            return 0.0
        margin = MARGIN if self.problem.target in self.costs.steps else UNSEEN_MARGIN
        return margin * (self.costs.expect(self.problem.target, config, self.problem.max_steps) or 0.0)

    def choose(self, newest: Config, left: float) -> tuple[Config, bool]:
        """The configuration to train with what is left, and whether that passes over the `newest` recommendation.

        The last result can make a favourite of a configuration for which nothing was held back; then it is the one
        before, for which it was.
        """
        before, left = self.held_for, max(left, 0.0)  # a budget's last step goes beyond it
        if before is not None and self.needed(newest) > left >= self.needed(before):
            return before, True
        return newest, False
