"""What the search has to leave of the budget, so that what it recommends can be trained on the target in full."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jfhpo.core.cost_model import CostModel
from jfhpo.core.problem import Problem
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Trial
from jfhpo.study.history import History
from jfhpo.study.trial_run import TrialRun

MARGIN = 1.25
"""The final run's expected cost is held back with a quarter to spare: most trials seen are short, and steps cost more
towards the end of a run, when completions have grown (with 5 % to spare, one of two final runs ended at step 44)."""
UNSEEN_MARGIN = 2.0
"""The same while no trial ran on the target yet, and its cost is only guessed from the proxy's: with 1.25, a search
that never leaves the proxy had each of its first three final runs cut at 42 to 45 of 50 steps."""


class Reserve:
    """In the problem's cost unit."""

    def __init__(
        self,
        problem: Problem,
        history: History,
        costs: CostModel,
        resumable: Callable[[Config], int],
        budget: float,
        workers: int = 1,
    ):
        """`resumable`: of a configuration, the steps on the target that its final run need not repeat."""
        self.problem, self.history, self.costs, self.resumable = problem, history, costs, resumable
        self.budget, self.workers = budget, workers
        self.held_for: Config | None = None
        """The configuration whose final run had its cost held back when the last trial was asked for."""

    def needed(self, config: Config | None) -> float:
        """For the steps on the target that this configuration's final run has yet to make, `resumable` ones being paid:
        nothing where a trial made all of them. What its own last steps cost counts where it is more than expected."""
        if config is None or self.history.full_run(config) is not None:
            return 0.0
        target, known = self.problem.target, self.resumable(config)
        margin, steps = MARGIN if target in self.costs.steps else UNSEEN_MARGIN, self.problem.max_steps - known
        expected = self.costs.expect(target, config, steps) or 0.0
        return margin * max(expected, steps * self.history.pace(config, target))

    def held_back(self, config: Config | None) -> float:
        """What the search may not touch: what this configuration needs and, since a trial ends with its step and no
        sooner, a step on the target for every other worker (with 16 of them and without this, 20 of 20 final runs were
        cut, 2 to 9 steps before their end)."""
        needed, others = self.needed(config), self.workers - 1
        step = self.costs.expect(self.problem.target, config, 1) if needed and others else None
        return needed + others * (step or 0.0)

    def hold(self, config: Config | None, in_flight: Iterable[TrialRun]) -> float:
        """`held_back` from now on, by trials in flight as well, which may have been asked for under another favourite:
        a worker that is free asks after every result, which is when the favourite may have changed."""
        for run in in_flight:
            run.limit = self.limit(run.trial, config)
        return self.held_back(config)

    def limit(self, trial: Trial, config: Config | None) -> float:
        """Of the study's spending, at which a trial is cut; one that would itself be the final run of this
        configuration has nothing held back from it."""
        is_final = trial.fidelity == self.problem.full and (
            config is None or config_key(trial.config) == config_key(config)
        )
        return self.budget - (0.0 if is_final else self.held_back(config))

    def choose(self, newest: Config, left: float) -> tuple[Config, bool]:
        """The configuration to train with what is left, and whether that passes over the `newest` recommendation.

        The last result can make a favourite of a configuration for which nothing was held back; then it is the one
        before, for which it was, unless that has since turned out to need even more.
        """
        needed, left = self.needed(newest), max(left, 0.0)  # a budget's last step goes beyond it
        if self.held_for is not None and left < needed > self.needed(self.held_for):
            return self.held_for, True
        return newest, False
