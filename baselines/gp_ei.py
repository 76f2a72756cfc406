"""Bayesian optimisation with a Gaussian process and expected improvement (Jones, Schonlau and Welch 1998; in its
logarithm, Ament et al. 2023, arXiv 2310.20708), on full runs of the target: JF-HPO without its fidelities.

The GP has a Matérn-5/2 kernel with a length scale for each hyperparameter (categoricals: equal or not) and learned
noise. EI is climbed by L-BFGS over numbers and by search along each list, from the best of 2048 points, 8 more and the
incumbent. A pending configuration is believed to score what the best one did (the constant liar of Ginsbourger, Le
Riche and Carraro 2010). This is Optuna's `GPSampler`.

Not implemented: fidelities, costs, checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from baselines.full_runs import FullRuns
from baselines.optuna_space import FAILURES, OptunaSpace, quiet, seed_of
from jfhpo.core.errors import check_choices, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, Trial, TrialResult

if TYPE_CHECKING:
    import optuna

RANDOM_ATTEMPTS = 10
"""Uniform draws where EI is greatest at a configuration that was tried, before one is repeated."""


@dataclass
class GPEISettings:
    initial: int = 5
    """Configurations of the initial design, and results before the GP proposes: the recipe where that is everyone's
    first point, then a scrambled Sobol sequence. Optuna's 10 is a whole search here."""
    failures: str = "worst"
    """What a failed trial teaches: the worst score seen (worst) or nothing but not to try it again (ignore)."""


class GPEI(Optimizer):
    name: ClassVar[str] = "gp_ei"
    Settings: ClassVar[type] = GPEISettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        check_counts(self.settings, initial=1)
        check_choices(self.settings, failures=FAILURES)
        self.design = problem.initial_design(np.random.default_rng(seed), self.settings.initial)
        self.space = OptunaSpace(problem.space, inactive="filled")
        self.runs = FullRuns()

    def propose(self) -> Trial:
        if self._asked < len(self.design):
            config = self.design[self._asked]
        else:
            pending = [trial.config for trial in self.pending.values()]
            samplers = map(self._sampler, range(1 + RANDOM_ATTEMPTS))
            config = self.space.propose(samplers, self.runs.told(), pending, self.settings.failures)
        return self.trial(config, self.problem.full)

    def _sampler(self, attempt: int) -> optuna.samplers.BaseSampler:
        """The GP once, as its optimum hardly depends on the seed; then uniform draws."""
        from optuna.samplers import GPSampler, RandomSampler

        seed = seed_of(self.seed, self._asked, attempt)
        if attempt > 0:
            return RandomSampler(seed=seed)
        with quiet():
            return GPSampler(n_startup_trials=self.settings.initial, warn_independent_sampling=False, seed=seed)

    def observe(self, result: TrialResult) -> None:
        self.runs.add(result)

    def recommend(self) -> Config:
        """The best validation score among completed runs; before there is one, the recipe."""
        return self.runs.best() or self.problem.recipe
