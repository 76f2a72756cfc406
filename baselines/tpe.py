"""The tree-structured Parzen estimator (TPE; Bergstra, Bardenet, Bengio and Kégl 2011, "Algorithms for
Hyper-Parameter Optimization"; components as in Watanabe 2023, arXiv 2304.11127), on full runs of the target.

The best ⌈n/10⌉ of n results, at most 25, make a density l(φ) and the others a density g(φ), each a mixture of kernels
about its configurations and a prior; of 24 draws from l the one of the greatest l(φ)/g(φ) is next, which is where the
expected improvement is greatest (Bergstra et al. 2011, eq. 6). This is Optuna's `TPESampler`.

Not implemented: pruning. Every run is a full one, and each pending one counts among the bad (constant liar).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.full_runs import FullRuns
from baselines.optuna_space import FAILURES, OptunaSpace, quiet, seed_of
from jfhpo.core.errors import check_choices, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, Trial, TrialResult

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 10
"""Proposals of the estimator, and then uniform draws, before a configuration is repeated."""


@dataclass
class TPESettings:
    initial: int = 5
    """Results before the estimator proposes; until then configurations are drawn at random, after the recipe where
    that is everyone's first point. Optuna's 10 is a whole search here."""
    candidates: int = 24
    """Draws from l(φ) for each proposal, as in Optuna and hyperopt."""
    multivariate: bool = False
    """Joint kernels over all hyperparameters (Falkner et al. 2018; Watanabe 2023 advises them for long searches), as
    against one estimator for each (Bergstra et al. 2011)."""
    constant_liar: bool = True
    """Whether pending configurations count among the bad ones, so that parallel proposals keep apart."""
    failures: str = "worst"
    """What a failed trial teaches: the worst score seen (worst) or nothing but not to try it again (ignore)."""


class TPE(Optimizer):
    name: ClassVar[str] = "tpe"
    Settings: ClassVar[type] = TPESettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        check_counts(self.settings, initial=1, candidates=1)
        check_choices(self.settings, failures=FAILURES)
        self.space = OptunaSpace(problem.space)
        self.runs = FullRuns()

    def propose(self) -> Trial:
        if not self._asked and self.problem.recipe_first:
            config = dict(self.problem.recipe)
        else:
            pending = [trial.config for trial in self.pending.values()]
            samplers = map(self._sampler, range(2 * ATTEMPTS))
            config = self.space.propose(samplers, self.runs.told(), pending, self.settings.failures)
        return self.trial(config, self.problem.full)

    def _sampler(self, attempt: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        s, seed = self.settings, seed_of(self.seed, self._asked, attempt)
        if attempt >= ATTEMPTS:
            return RandomSampler(seed=seed)
        with quiet():
            return TPESampler(
                n_startup_trials=s.initial,
                n_ei_candidates=s.candidates,
                multivariate=s.multivariate,
                group=s.multivariate,
                constant_liar=s.constant_liar,
                seed=seed,
            )

    def observe(self, result: TrialResult) -> None:
        self.runs.add(result)

    def recommend(self) -> Config:
        """The best validation score among completed runs; before there is one, the recipe."""
        return self.runs.best() or self.problem.recipe
