"""BOHB (Falkner, Klein and Hutter 2018, ICML, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale"):
Hyperband's brackets (`baselines.hyperband`), whose new configurations a kernel density estimator proposes.

    to draw a configuration (Algorithm 2), D_b being the results at b steps:
        with probability ρ: at random
        b = the most steps with |D_b| ≥ N_min + 2; if there are none: at random
        split D_b into the best N_l = max(N_min, q |D_b|) and the others (eq. 3)
        l(φ), g(φ) = kernel densities of the two
        return the one of N_s draws from l whose l(φ) / g(φ) is greatest

ρ = 1/3, q = 15 %, N_s = 64 and N_min = d + 1, d the number of hyperparameters, are the paper's. The densities are those
of Optuna's `TPESampler` (multivariate), fitted anew for each proposal. They differ from the paper's in this:

- Bandwidths are 0.2 n^(−1 / (d + 4)) of a hyperparameter's range, at least 1 / min(100, n + 2) of it, where the paper
  takes them from the data by Scott's rule, at least 10⁻³ of the range. Draws from l are not widened by b_w = 3.
- Each density has one more kernel, as wide as the space and of one configuration's weight.
- g is of the configurations that are not in l, where the paper takes the N_min worst ones if those are fewer.
- Of a conditional hyperparameter only configurations in which it is active count; the paper's code imputes the others.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from baselines.optuna_space import OptunaSpace, quiet, seed_of
from baselines.successive_halving import (
    ROUNDINGS,
    Brackets,
    check_halving,
    checked_rung_steps,
    hyperband_brackets,
    incumbent,
)
from jfhpo.core.errors import UsageError, check_choices, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Fidelity, Status, Trial, TrialResult

if TYPE_CHECKING:
    from optuna.samplers import TPESampler


@dataclass
class BOHBSettings:
    eta: int = 3
    """η: the best 1/η of a rung are promoted, to η times as many steps."""
    min_steps: int = 0
    """The fewest steps a configuration may be judged by; 0: few enough for three rungs."""
    rounding: str = "up"
    """Of a bracket's configurations: up (the paper's Algorithm 1) or down (its authors' code)."""
    random_fraction: float = 1 / 3
    """ρ: the share of new configurations that are drawn at random."""
    top_percent: int = 15
    """q: the share of results that count as good, in per cent."""
    min_points: int = 0
    """N_min: the fewest good results; the model needs two more. 0: d + 1."""
    candidates: int = 64
    """N_s: draws from l(φ) for each proposal."""
    checkpoint_reuse: bool = True
    """Promoted configurations resume from their checkpoints; false: they start again from the base model."""
    model: str = "target"
    """What the trials train: the target, or the proxy, whose best configuration the target is given as it is."""
    incumbent: str = "most_steps"
    """What is recommended: the best score at the most steps, or the best at any (any_steps)."""


class BOHB(Optimizer):
    name: ClassVar[str] = "bohb"
    Settings: ClassVar[type] = BOHBSettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_halving(s)
        check_choices(s, rounding=ROUNDINGS)
        check_counts(s, min_points=0, candidates=1)
        if not 0 <= s.random_fraction <= 1:
            raise UsageError(f"method.random_fraction={s.random_fraction} must lie between 0 and 1")
        if not 0 < s.top_percent < 100:
            raise UsageError(f"method.top_percent={s.top_percent} must lie between 1 and 99")
        self.checkpoint_reuse = s.checkpoint_reuse
        self.model = getattr(problem, s.model)
        steps = checked_rung_steps(problem, s.eta, s.min_steps)
        self.brackets = Brackets(hyperband_brackets(steps, s.eta, s.rounding))
        self.space = OptunaSpace(problem.space)
        self.min_points = s.min_points or len(problem.space.names) + 1
        self.told: list[TrialResult] = []
        self.drawn: set[str] = set()
        self.results_at: dict[int, list[tuple[Config, float]]] = {b: [] for b in steps}
        """D_b: steps -> configurations with their scores, −∞ for a failed or early-stopped one."""

    def propose(self) -> Trial:
        job = self.brackets.next_job()
        config = self.draw() if job.config is None else job.config
        self.drawn.add(config_key(config))
        resume_from = job.trained if self.settings.checkpoint_reuse else 0
        trial = self.trial(config, Fidelity(self.model, job.steps), resume_from)
        self.brackets.started(trial.id, job)
        return trial

    # -- Algorithm 2 -------------------------------------------------------------------------------------------

    def draw(self) -> Config:
        """A new configuration, a function of the seed, the trial's id and what was told. Pending configurations do not
        count, as in the paper: draws differ by their seeds."""
        if self._asked == 0 and self.problem.recipe_first:
            return self.problem.recipe
        rng = np.random.default_rng((self.seed, self._asked))
        b = self.model_steps()
        if rng.random() < self.settings.random_fraction or b is None:
            return self.problem.space.draw(rng, self.drawn)
        suggested = self.space.suggest(self.space.study(self._sampler(self.good(b)), self.results_at[b]))
        return self.problem.space.nearest(suggested, besides=self.drawn)

    def model_steps(self) -> int | None:
        """b: the most steps at which there are N_min + 2 results, N_min of them completed; None if there are none."""
        enough = [
            steps
            for steps, results in self.results_at.items()
            if len(results) >= self.min_points + 2 and self._completed(steps) >= self.min_points
        ]
        return max(enough, default=None)

    def good(self, steps: int) -> int:
        """N_l = max(N_min, ⌊q |D_b|⌋) (eq. 3), but never more than completed: a failure is not a good result."""
        wanted = max(self.min_points, self.settings.top_percent * len(self.results_at[steps]) // 100)
        return min(wanted, self._completed(steps))

    def _completed(self, steps: int) -> int:
        return sum(math.isfinite(score) for _, score in self.results_at[steps])

    def _sampler(self, good: int) -> TPESampler:
        from optuna.samplers import TPESampler

        with quiet(), warnings.catch_warnings():
            # Optuna 4.9 wants its own split and weights used; the paper's are what makes this BOHB.
            warnings.simplefilter("ignore", FutureWarning)
            return TPESampler(
                n_startup_trials=0,
                n_ei_candidates=self.settings.candidates,
                gamma=lambda count: good,
                weights=np.ones,
                multivariate=True,
                group=True,
                seed=seed_of(self.seed, self._asked),
            )

    # -- learning ----------------------------------------------------------------------------------------------

    def observe(self, result: TrialResult) -> None:
        self.told.append(result)
        self.brackets.observe(result)
        if result.status is not Status.CUT:
            score = result.score if result.status is Status.COMPLETED else -math.inf  # as in the authors' code
            self.results_at[result.trial.fidelity.steps].append((result.trial.config, score))

    def recommend(self) -> Config:
        return incumbent(self.told, self.settings.incumbent, self.problem)
