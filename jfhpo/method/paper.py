"""JF-HPO to the letter (arXiv 2606.03073): the proxy only, the paper's α, its stopping rules, its hand-over.

    until the budget is spent:
        fit a Gaussian process to performance over (φ, r), and a model of cost
        choose (φ, r) by α(φ, r) = E[max(f(θ', φ, r) − f*, 0)] / E[C(θ', φ, r)], with f* the incumbent's performance at
            r_max and θ' the proxy
        resume φ's checkpoint if one with fewer steps is registered, else start from scratch on the proxy
        stop early when KL grows by more than 15 % per step for 5 steps, or the reward drops by more than 10 %
        record the proxy's validation performance and cost
    train the best φ on the target, as it is

Where the paper is silent this file chooses, and each choice is a setting (docs/deviations.md). Known to fail: a
learning rate that suits the proxy may break the target; `jfhpo.method.joint_fidelity` is the answer to that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import Any, ClassVar

import numpy as np

from jfhpo.core.cost_model import CostModel
from jfhpo.core.errors import check_choices, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Fidelity, Trial, TrialResult
from jfhpo.method.features import Features
from jfhpo.method.joint_fidelity import FAILURES, KERNELS, STOPS
from jfhpo.method.learning import Learner
from jfhpo.method.observations import Candidate, Observations

INCUMBENTS = ("posterior", "observed")
INITIAL_STEPS = ("spread", "first_rung")


@dataclass
class PaperSettings:
    proxy: bool = True
    """Run trials on the proxy; false: the same algorithm on the target."""
    early_stopping: str = "paper"
    """Preset of stopping rules: none, paper, robust or scaling_law."""
    checkpoint_reuse: bool = True
    """Resume a configuration at a higher fidelity; false: every trial starts from the base model."""
    kernel: str = "matern"
    """Of the surrogate: matern, downsampling, decay or linear_truncated (`jfhpo.method.kernels`)."""
    incumbent: str = "posterior"
    """φ⁺ and f*: the evaluated configuration of the greatest posterior mean at r_max (posterior), or of the best score
    seen at the most steps that any reached (observed)."""
    failures: str = "worst"
    """What a failed trial teaches: the worst score seen (worst) or nothing but not to try it again (ignore)."""
    stops: str = "as_seen"
    """What an early stop teaches: only what was seen (as_seen), or that the run would have stayed there (final)."""
    initial: int = 8
    """Configurations tried before the surrogate takes over: the recipe, then a Sobol sequence."""
    initial_steps: str = "spread"
    """For how many steps: each of the rungs in turn (spread), or the first (first_rung). With the first only, nothing
    says that longer runs score higher, and the search stays there."""
    raw_samples: int = 256
    """Starting points for the search of a new (φ, r)."""
    restarts: int = 4
    """The best of them, from which it climbs."""


class PaperJointFidelity(Optimizer):
    name: ClassVar[str] = "jfhpo_paper"
    Settings: ClassVar[type] = PaperSettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_choices(
            s, kernel=KERNELS, incumbent=INCUMBENTS, failures=FAILURES, stops=STOPS, initial_steps=INITIAL_STEPS
        )
        check_counts(s, initial=1, raw_samples=1, restarts=1)
        self.early_stopping, self.checkpoint_reuse = s.early_stopping, s.checkpoint_reuse
        self.model = problem.proxy if s.proxy else problem.target
        self.rng = np.random.default_rng(seed)
        self.features = Features(problem, sizes=False)
        self.costs = CostModel(problem)
        self.seen = Observations(problem, stops_are_final=s.stops == "final")
        self.learner = Learner(self.features, s.kernel, s.failures)
        rungs = problem.rungs if s.initial_steps == "spread" else problem.rungs[:1]
        design = zip(problem.initial_design(self.rng, s.initial), cycle(rungs), strict=False)
        self.initial = deque(Candidate(config, self.model, steps, 0) for config, steps in design)
        self.running: dict[int, Candidate] = {}
        """What is pending, with the steps its checkpoint holds."""

    # -- proposing ---------------------------------------------------------------------------------------------

    def propose(self) -> Trial | None:
        if self.initial:
            return self._trial(self.initial.popleft())
        surrogate = self.learner.believing(list(self.running.values()))
        if surrogate is None:
            if self.running:
                return None
            config = self.problem.space.sample(self.rng, 1)[0]
            return self._trial(Candidate(config, self.model, self.problem.rungs[0], 0))
        from jfhpo.method.proposal import Effort, best_new_at_any_step, paper_values

        best = self._best(surrogate)[1]
        busy = {(config_key(c.config), c.model) for c in self.running.values()}
        candidates = self.seen.continuations((self.model,), busy, self.settings.checkpoint_reuse, every_rung=True)
        known = self.seen.tried.keys() | {key for key, _ in busy}
        new = best_new_at_any_step(
            surrogate,
            self.features,
            self.problem.rungs,
            best,
            expect=lambda config, steps: self.costs.expect(self.model, config, steps),
            near=[self._best(surrogate)[0]],
            seed=int(self.rng.integers(2**31)),
            effort=Effort(self.settings.raw_samples, self.settings.restarts),
            tried=known,
        )
        if new is not None and config_key(new[0]) not in known:
            config, steps = new
            candidates.append(Candidate(config, self.model, steps, 0))
        if not candidates:
            return None
        costs = [self.costs.expect(c.model, c.config, c.steps - c.paid) for c in candidates]
        alpha = paper_values(surrogate, self.learner.x(candidates), best, np.array(costs))
        return self._trial(candidates[int(np.argmax(alpha))])

    def _trial(self, candidate: Candidate) -> Trial:
        trial = self.trial(
            candidate.config,
            Fidelity(candidate.model, candidate.steps),
            resume_from=candidate.paid,
            validate_at=tuple(r for r in self.problem.rungs if candidate.paid < r < candidate.steps),
        )
        self.running[trial.id] = candidate
        return trial

    # -- observing and recommending ----------------------------------------------------------------------------

    def observe(self, result: TrialResult) -> None:
        self.costs.observe(result)
        self.seen.add(self.running.pop(result.trial.id), result)
        if not self.initial:
            self.learner.learn(self.seen)

    def recommend(self) -> Config:
        """The incumbent φ⁺, to be trained on the target as it is."""
        if self.learner.surrogate is not None:
            return dict(self._best(self.learner.surrogate)[0])
        return dict(self.seen.best() or self.problem.recipe)

    def summary(self) -> dict[str, Any]:
        if self.learner.surrogate is None:
            return {}
        _, mean, sd = self._best(self.learner.surrogate)
        return {
            "incumbent_mean": mean,
            "incumbent_sd": sd,
            "configurations": len(self.seen.tried),
            "observations": len(self.seen.rows),
            "kernel": self.learner.surrogate.description(),
        }

    def _best(self, surrogate) -> tuple[Config, float, float]:
        """φ⁺ with mean (which is f*) and standard deviation of its performance at r_max on the model of the trials."""
        configs = self.seen.scored()
        if self.settings.incumbent == "observed":
            best = self.seen.best_at_most_steps(configs)
            sd = surrogate.predict(self._full_x([best.config]))[1]
            return best.config, float(best.y), float(sd[0])
        mean, sd = surrogate.predict(self._full_x(configs))
        at = int(np.argmax(mean))
        return configs[at], float(mean[at]), float(sd[at])

    def _full_x(self, configs: list[Config]) -> np.ndarray:
        return self.features(configs, [self.problem.max_steps] * len(configs), [self.model] * len(configs))
