"""SMAC3 (Lindauer et al. 2022, JMLR 23(54)): Bayesian optimization with a random forest in Hyperband's brackets.

The multi-fidelity facade of the authors' library: configurations come from the maximum of expected improvement under a
random forest, one in five at random, and enter Hyperband (Li et al. 2018), whose fidelity is training steps on the
target. The forest is fitted to the highest number of steps that has enough trials. Promoted configurations resume from
their checkpoint.

Not implemented: several training seeds a configuration (SMAC's ``deterministic=False``), several objectives, priors.
Training on smaller models is not either: SMAC knows one fidelity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from baselines.incumbent import Incumbent
from jfhpo.core.errors import check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.optional import optional
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Fidelity, Status, Trial, TrialResult

WORST_COST = 1.0
"""Of a failed trial; SMAC minimises 1 − accuracy."""


@dataclass
class SmacSettings:
    eta: int = 3
    """Hyperband's: one configuration in eta is promoted, to eta times the steps."""
    initial: int = 10
    """Configurations tried before the model takes over: the recipe, then random ones."""
    retrain_after: int = 8
    """New configurations between two fits of the random forest."""
    min_trials: int = 1
    """Trials at some number of steps from which on the forest is fitted to them, and to no shorter ones."""
    checkpoint_reuse: bool = True
    """Resume a promoted configuration; false: every trial starts from the base model."""


class Smac(Optimizer):
    name: ClassVar[str] = "smac"
    Settings: ClassVar[type] = SmacSettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_counts(s, eta=2, initial=1, retrain_after=1, min_trials=1)
        optional("smac", "baselines", "method=smac")
        from baselines.smac_facade import facade

        self.checkpoint_reuse = s.checkpoint_reuse
        random = problem.space.sample(np.random.default_rng(seed), s.initial)
        initial = ([dict(problem.recipe)] if problem.recipe_first else []) + random
        self.smac = facade(
            problem.space.configspace,
            initial[: s.initial],
            seed=seed,
            budgets=(problem.rungs[0], problem.max_steps),
            eta=s.eta,
            retrain_after=s.retrain_after,
            min_trials=s.min_trials,
        )
        self.infos: dict[int, Any] = {}
        """Pending trials as SMAC knows them (`smac.runhistory.TrialInfo`)."""
        self.reached: dict[str, set[int]] = {}
        """Steps that runs ended at, by configuration."""
        self.incumbent = Incumbent(problem.recipe)

    def propose(self) -> Trial | None:
        info = self.smac.ask()
        if info is None:
            return None
        plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in dict(info.config).items()}
        config = self.problem.space.validate(plain)
        steps = round(info.budget)
        # A small space's configurations come again in another bracket, at fewer steps than they have had.
        below = [s for s in self.reached.get(config_key(config), ()) if s < steps]
        paid = max(below, default=0) if self.checkpoint_reuse else 0
        trial = self.trial(config, Fidelity(self.problem.target, steps), resume_from=paid)
        self.infos[trial.id] = info
        return trial

    def observe(self, result: TrialResult) -> None:
        """A trial that the budget cut is no judgement: it stays a running one for SMAC."""
        from smac.runhistory import StatusType, TrialValue

        self.incumbent.observe(result)
        info, key = self.infos.pop(result.trial.id), config_key(result.trial.config)
        if result.status is Status.FAILED:
            self.smac.tell(info, TrialValue(WORST_COST, status=StatusType.CRASHED), save=False)
            return
        self.reached.setdefault(key, set()).add(result.steps_done)
        if result.status is not Status.CUT:
            self.smac.tell(info, TrialValue(1.0 - result.score, status=StatusType.SUCCESS), save=False)

    def recommend(self) -> Config:
        """The best validation score at the most steps that any run completed."""
        return dict(self.incumbent.config)
