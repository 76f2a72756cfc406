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

from baselines.successive_halving import incumbent, least_steps
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
    min_steps: int = 0
    """The fewest steps a configuration may be judged by; 0: few enough for three rungs."""
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
        check_counts(s, eta=2, min_steps=0, initial=1, retrain_after=1, min_trials=1)
        optional("smac", "baselines", "method=smac")
        from baselines.smac_facade import as_drawn, facade

        self.checkpoint_reuse = s.checkpoint_reuse
        random = problem.space.sample(np.random.default_rng(seed), s.initial)
        initial = ([problem.recipe] if problem.recipe_first else []) + random
        self.smac = facade(
            problem.space.configspace,
            initial[: s.initial],
            seed=seed,
            budgets=(least_steps(problem, s.eta, s.min_steps), problem.max_steps),
            eta=s.eta,
            retrain_after=s.retrain_after,
            min_trials=s.min_trials,
        )
        self.recipe_as_drawn = self._plain(as_drawn(problem.space.configspace, problem.recipe))
        self.infos: dict[int, Any] = {}
        """Pending trials as SMAC knows them (`smac.runhistory.TrialInfo`)."""
        self.reached: dict[str, int] = {}
        """Steps trained, by configuration."""
        self.results: list[TrialResult] = []
        self.stand_ins: dict[str, Config] = {}
        """Of a finite space: what SMAC named -> what was run."""

    def propose(self) -> Trial | None:
        info = self.smac.ask()
        if info is None:
            return None
        config = self._plain(info.config)
        if config == self.recipe_as_drawn:
            config = dict(self.problem.recipe)  # to the last digit
        config = self._listed(config)
        fidelity = Fidelity(self.problem.target, round(info.budget))
        reached = self.reached.get(config_key(config), 0)  # more than is asked for, where a small space repeats itself
        resume = self.checkpoint_reuse and reached < fidelity.steps
        trial = self.trial(config, fidelity, resume_from=reached if resume else 0)
        self.infos[trial.id] = info
        return trial

    def _listed(self, config: Config) -> Config:
        """In a finite space the listed configuration that stands for this one whenever SMAC names it; each stands for
        one while they last."""
        if self.problem.space.listed is None:
            return config
        key = config_key(config)
        if key not in self.stand_ins:
            taken = {config_key(c) for c in self.stand_ins.values()}
            self.stand_ins[key] = self.problem.space.nearest(config, besides=taken)
        return self.stand_ins[key]

    def _plain(self, configuration: Any) -> dict[str, Any]:
        values = dict(configuration)
        return self.problem.space.validate(
            {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        )

    def observe(self, result: TrialResult) -> None:
        """A trial that the budget cut is no judgement: it stays a running one for SMAC."""
        from smac.runhistory import StatusType, TrialValue

        self.results.append(result)
        info, key = self.infos.pop(result.trial.id), config_key(result.trial.config)
        if result.status is Status.FAILED:
            self.smac.tell(info, TrialValue(WORST_COST, status=StatusType.CRASHED), save=False)
            return
        self.reached[key] = max(self.reached.get(key, 0), result.steps_done)
        if result.status is not Status.CUT:
            self.smac.tell(info, TrialValue(1.0 - result.score, status=StatusType.SUCCESS), save=False)

    def recommend(self) -> Config:
        """The best validation score at the most steps that any run completed."""
        return dict(incumbent(self.results, "most_steps", self.problem))
