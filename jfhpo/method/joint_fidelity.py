"""JF-HPO: joint-fidelity hyperparameter optimization (arXiv 2606.03073), with model size as a true fidelity.

    until the budget is spent:
        fit a Gaussian process to every validation seen: f(φ, r, θ)
        choose the trial (φ, r, θ) with the greatest expected improvement on the target at full steps per unit of
            remaining cost, where steps that a checkpoint holds are already paid
        resume φ's checkpoint on θ if there is one, else start from the base model
        watch KL and reward at every step; stop early when a rule says so
        record validation accuracy and cost
    recommend the evaluated φ with the greatest posterior mean on the target at full steps

The paper's three mechanisms are three switches: `proxy`, `early_stopping`, `checkpoint_reuse`. Against the
paper (`jfhpo.method.paper` has it to the letter), model size is an input of the surrogate, so that a few short runs on
the target correct what the proxy gets wrong, and learning rates are carried between sizes by width
(docs/deviations.md says what was measured).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jfhpo.core.cost_model import CostModel
from jfhpo.core.errors import check_choices, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Fidelity, Trial, TrialResult
from jfhpo.method.features import Features
from jfhpo.method.learning import Learner
from jfhpo.method.observations import Candidate, Observations

if TYPE_CHECKING:
    from jfhpo.method.surrogate import Surrogate

LR_TRANSFERS = ("width", "none")
KERNELS = ("matern", "downsampling", "decay", "linear_truncated")
FAILURES = ("worst", "ignore")
STOPS = ("final", "as_seen")


@dataclass
class JointFidelitySettings:
    proxy: bool = True
    """Run trials on the proxy as well as on the target; false: on the target only."""
    early_stopping: str = "robust"
    """Preset of stopping rules: none, paper, robust or scaling_law."""
    checkpoint_reuse: bool = True
    """Resume a configuration at a higher fidelity; false: every trial starts from the base model."""
    lr_transfer: str = "width"
    """How a learning rate is carried between model sizes: by width (lr ∝ 1/width) or none (as it is)."""
    kernel: str = "matern"
    """Of the surrogate: matern, downsampling, decay or linear_truncated (`jfhpo.method.kernels`)."""
    failures: str = "worst"
    """What a failed trial teaches: the worst score seen (worst) or nothing but not to try it again (ignore)."""
    stops: str = "final"
    """What an early stop teaches: that the run would have stayed where it stopped (final) or only what was seen
    (as_seen)."""
    initial: int = 12
    """Configurations tried on the first rung before the surrogate takes over: the recipe, then a Sobol sequence. Of 4,
    6, 8, 12, 16 and 24, over a hundred studies replayed on last_digit, 12 to 24 were best (docs/replay.md)."""
    raw_samples: int = 256
    """Starting points for the search of a new configuration."""
    restarts: int = 4
    """The best of them, from which it climbs."""


@dataclass(frozen=True)
class Ranked:
    """A configuration and its posterior on the target at full steps."""

    config: Config
    mean: float
    sd: float


class JointFidelity(Optimizer):
    name: ClassVar[str] = "jfhpo"
    Settings: ClassVar[type] = JointFidelitySettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_choices(s, lr_transfer=LR_TRANSFERS, kernel=KERNELS, failures=FAILURES, stops=STOPS)
        check_counts(s, initial=1, raw_samples=1, restarts=1)
        self.early_stopping, self.checkpoint_reuse = s.early_stopping, s.checkpoint_reuse
        # Without the proxy, or where it is the target, everything happens on the target.
        self.models = tuple(dict.fromkeys((problem.proxy, problem.target) if s.proxy else (problem.target,)))
        self.rng = np.random.default_rng(seed)
        self.features = Features(problem)
        self.costs = CostModel(problem)
        self.seen = Observations(problem, stops_are_final=s.stops == "final")
        self.learner = Learner(self.features, s.kernel, s.failures)
        self.initial = deque(problem.initial_design(self.rng, s.initial))
        self.running: dict[int, Candidate] = {}
        """What is pending, in the surrogate's terms."""

    # -- proposing ---------------------------------------------------------------------------------------------

    def propose(self) -> Trial | None:
        if self.initial:
            return self._first_rung(self.initial.popleft())
        surrogate = self.learner.believing(list(self.running.values()))
        if surrogate is None:
            # Too few scores to learn from: wait for the pending ones, or where they failed try something else.
            return None if self.running else self._first_rung(self.problem.space.sample(self.rng, 1)[0])
        busy = {(config_key(c.config), c.model) for c in self.running.values()}
        candidates = self.seen.continuations(self.models, busy, self.settings.checkpoint_reuse)
        ranking = self._ranking(surrogate)
        if (new := self._new(surrogate, ranking)) is not None:
            candidates.append(new)
        return self._trial(self._most_valuable(surrogate, candidates, ranking[0].mean)) if candidates else None

    def _first_rung(self, config: Config) -> Trial:
        return self._trial(Candidate(config, self.models[0], self.problem.rungs[0], 0))

    def _new(self, surrogate: Surrogate, ranking: list[Ranked]) -> Candidate | None:
        """The configuration, not tried before, that is worth most per cost on the first rung of the proxy: the target
        is bought only for what the proxy has seen, or the corners of the space, where the surrogate knows least,
        would be explored at the target's price."""
        from jfhpo.method.proposal import Effort, best_new

        model, steps = self.models[0], self.problem.rungs[0]
        known = self.seen.tried.keys() | {config_key(c.config) for c in self.running.values()}
        config = best_new(
            surrogate,
            self.features,
            Fidelity(model, steps),
            best=ranking[0].mean,
            expect=lambda config: self.costs.expect(model, config, steps),
            near=[ranked.config for ranked in ranking[:3]],
            seed=int(self.rng.integers(2**31)),
            effort=Effort(self.settings.raw_samples, self.settings.restarts),
            tried=known,
        )
        return None if config is None or config_key(config) in known else Candidate(config, model, steps, 0)

    def _most_valuable(self, surrogate: Surrogate, candidates: list[Candidate], best: float) -> Candidate:
        """The candidate of the greatest α."""
        from jfhpo.method.proposal import most_valuable

        target = self._target_x([c.config for c in candidates])
        costs = [self.costs.expect(c.model, c.config, c.steps - c.paid) for c in candidates]
        return candidates[most_valuable(surrogate, target, self.learner.x(candidates), best, np.array(costs))]

    def _trial(self, candidate: Candidate) -> Trial:
        trial = self.trial(
            self._as_on(candidate.model, candidate.config),
            Fidelity(candidate.model, candidate.steps),
            resume_from=candidate.paid,
            validate_at=tuple(r for r in self.problem.rungs if candidate.paid < r < candidate.steps),
        )
        self.running[trial.id] = candidate
        return trial

    def _as_on(self, model: str, config: Config) -> Config:
        """φ with the learning rate that this model is to be trained with."""
        if self.settings.lr_transfer == "none":
            return dict(config)
        return self.problem.map_lr(config, self.problem.target, model)

    # -- observing ---------------------------------------------------------------------------------------------

    def observe(self, result: TrialResult) -> None:
        self.costs.observe(result)
        self.seen.add(self.running.pop(result.trial.id), result)
        if not self.initial:
            self.learner.learn(self.seen)

    # -- recommending ------------------------------------------------------------------------------------------

    def recommend(self) -> Config:
        """The evaluated configuration with the greatest posterior mean on the target at full steps; before there is a
        surrogate, the one with the best score so far."""
        if self.learner.surrogate is not None:
            return dict(self._ranking(self.learner.surrogate)[0].config)
        return dict(self.seen.best() or self.problem.recipe)

    def summary(self) -> dict[str, Any]:
        if self.learner.surrogate is None:
            return {}
        best = self._ranking(self.learner.surrogate)[0]
        return {
            "posterior_mean": best.mean,
            "posterior_sd": best.sd,
            "configurations": len(self.seen.tried),
            "observations": {m: sum(row.model == m for row in self.seen.rows) for m in self.models},
            "kernel": self.learner.surrogate.description(),
        }

    def _ranking(self, surrogate: Surrogate) -> list[Ranked]:
        """Every configuration with a score by its posterior on the target at full steps, best first."""
        configs = self.seen.scored()
        mean, sd = surrogate.predict(self._target_x(configs))
        return [Ranked(configs[i], float(mean[i]), float(sd[i])) for i in np.argsort(-mean, kind="stable")]

    def _target_x(self, configs: Sequence[Config]) -> np.ndarray:
        full = self.problem.full
        return self.features(configs, [full.steps] * len(configs), [full.model] * len(configs))
