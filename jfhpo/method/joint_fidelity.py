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
paper, model size is an input of the surrogate, so that a few short runs on the target correct what the proxy gets
wrong, and learning rates are carried between sizes by width (docs/deviations.md says what was measured).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jfhpo.core.cost_model import CostModel
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Fidelity, Status, Trial, TrialResult
from jfhpo.method.acquisition import log_value_per_cost
from jfhpo.method.features import Features

if TYPE_CHECKING:
    from jfhpo.method.surrogate import Surrogate

LR_TRANSFERS = ("width", "none")
REFIT_GROWTH = 1.2
"""Growth of the data after which hyperparameters are fitted again. A fit costs as much as several proxy steps, and
between two fits a few more observations hardly move it."""


@dataclass
class JointFidelitySettings:
    proxy: bool = True
    """Run trials on the proxy as well as on the target; false: on the target only."""
    early_stopping: str = "robust"
    """Preset of stopping rules: none, paper or robust."""
    checkpoint_reuse: bool = True
    """Resume a configuration at a higher fidelity; false: every trial starts from the base model."""
    lr_transfer: str = "width"
    """How a learning rate is carried between model sizes: by width (lr ∝ 1/width) or none (as it is)."""
    initial: int = 8
    """Configurations tried on the first rung before the surrogate takes over: the recipe, then a Sobol sequence."""
    candidates: int = 256
    """New configurations drawn from the space for each proposal."""
    neighbours: int = 64
    """New configurations drawn near the best ones for each proposal."""


@dataclass(frozen=True)
class Candidate:
    config: Config
    """φ, its learning rate as on the target."""
    model: str
    steps: int
    paid: int
    """Steps that a checkpoint holds."""


class JointFidelity(Optimizer):
    name: ClassVar[str] = "jfhpo"
    Settings: ClassVar[type] = JointFidelitySettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        if s.lr_transfer not in LR_TRANSFERS:
            raise unknown("method.lr_transfer", s.lr_transfer, LR_TRANSFERS)
        for name, low in (("initial", 1), ("candidates", 1), ("neighbours", 0)):
            if getattr(s, name) < low:
                raise UsageError(f"method.{name}={getattr(s, name)} must be at least {low}")
        self.early_stopping, self.checkpoint_reuse = s.early_stopping, s.checkpoint_reuse
        # Without the proxy, or where it is the target, everything happens on the target.
        self.models = tuple(dict.fromkeys((problem.proxy, problem.target) if s.proxy else (problem.target,)))
        self.rng = np.random.default_rng(seed)
        self.features = Features(problem)
        self.costs = CostModel(problem)
        first = [dict(problem.recipe)] if problem.recipe_first else []
        drawn = problem.space.spread(self.rng, s.initial)
        self.initial = deque((first + drawn)[: s.initial])
        self.running: dict[int, Candidate] = {}
        self.tried: dict[str, Config] = {}
        """Configurations with at least one observation, by key, in order of trying."""
        self.reached: dict[tuple[str, str], int] = {}
        """Steps trained of (configuration, model)."""
        self.closed: set[tuple[str, str]] = set()
        """(configuration, model) that was stopped: not to be continued there."""
        self.failed: set[str] = set()
        """Configurations that failed on some model: not to be tried on any other."""
        self.rows: list[tuple[Config, int, str, float | None]] = []
        """(φ, r, θ, y) of every observation; y is None for a failure."""
        self.observed: set[tuple[str, str, int]] = set()
        """(configuration, model, steps) of the rows, so that a resumed curve is not told twice."""
        self._surrogate: Surrogate | None = None
        self._fitted_to = 0
        """Observations that the surrogate's hyperparameters were last fitted to."""

    # -- ask ---------------------------------------------------------------------------------------------------

    def propose(self) -> Trial | None:
        if self.initial:
            return self._first_rung(self.initial.popleft())
        if self._surrogate is None:
            # Too few scores to learn from: wait for the pending ones, or where they failed try something else.
            return None if self.running else self._first_rung(self.problem.space.sample(self.rng, 1)[0])
        surrogate = self._surrogate
        if self.running:
            surrogate = surrogate.believing(self._x(list(self.running.values())))
        candidates = self._candidates(surrogate)
        if not candidates:
            return None
        return self._trial(candidates[int(np.argmax(self._values(surrogate, candidates)))])

    def _first_rung(self, config: Config) -> Trial:
        return self._trial(Candidate(config, self.models[0], self.problem.rungs[0], 0))

    def _candidates(self, surrogate: Surrogate) -> list[Candidate]:
        """Every evaluated configuration on each model at its next rung, and new configurations at the first rung of
        the proxy: the target is bought only for what the proxy has seen, or the corners of the space, where the
        surrogate knows least, would be explored at the target's price."""
        rungs = self.problem.rungs
        busy = {(config_key(c.config), c.model) for c in self.running.values()}
        out = []
        for key, config in self.tried.items():
            for model in self.models:
                if key in self.failed or (key, model) in self.closed or (key, model) in busy:
                    continue
                paid = self.reached.get((key, model), 0)
                following = next((r for r in rungs if r > paid), None)
                if following is not None:
                    out.append(Candidate(config, model, following, paid if self.settings.checkpoint_reuse else 0))
        return out + [Candidate(config, self.models[0], rungs[0], 0) for config in self._new_configs(surrogate)]

    def _new_configs(self, surrogate: Surrogate) -> list[Config]:
        """Fresh draws from the space and around the three best configurations."""
        s, space = self.settings, self.problem.space
        drawn = space.sample(self.rng, s.candidates)
        best = [config for config, _, _ in self._ranking(surrogate)[:3]]
        drawn += [space.neighbour(best[i % len(best)], self.rng, (0.05, 0.15)[i % 2]) for i in range(s.neighbours)]
        known = self.tried.keys() | {config_key(c.config) for c in self.running.values()}
        return [c for c in drawn if config_key(c) not in known]

    def _values(self, surrogate: Surrogate, candidates: list[Candidate]) -> np.ndarray:
        """log α of each candidate."""
        target = self._target_x([c.config for c in candidates])
        seen = surrogate.relate(target, self._x(candidates))
        best = self._ranking(surrogate)[0][1]
        costs = [self.costs.expect(c.model, c.config, c.steps - c.paid) for c in candidates]
        return log_value_per_cost(seen.target_mean, seen.target_sd, seen.correlation, best, np.array(costs))

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

    # -- tell --------------------------------------------------------------------------------------------------

    def observe(self, result: TrialResult) -> None:
        candidate = self.running.pop(result.trial.id)
        config, model, key = candidate.config, candidate.model, config_key(candidate.config)
        self.costs.observe(result)
        if result.status is Status.FAILED:
            self.failed.add(key)
            self.tried.setdefault(key, config)
            self.rows.append((config, candidate.steps, model, None))
        else:
            self._observe(result, config, model, key)
        if not self.initial:
            self._learn()

    def _observe(self, result: TrialResult, config: Config, model: str, key: str) -> None:
        """Every validation of the curve that was not told before, and what an early stop means."""
        self.reached[key, model] = max(self.reached.get((key, model), 0), result.steps_done)
        seen = dict(result.validations())
        if result.score is not None:
            seen[result.steps_done] = result.score
        if result.status is Status.EARLY_STOPPED:
            # The rule's judgement, told to the surrogate: this curve would not have risen again.
            self.closed.add((key, model))
            seen[self.problem.max_steps] = result.score
        if seen:
            self.tried.setdefault(key, config)
        new = [step for step in seen if (key, model, step) not in self.observed]
        self.observed |= {(key, model, step) for step in new}
        self.rows += [(config, step, model, seen[step]) for step in new]

    # -- recommend ---------------------------------------------------------------------------------------------

    def recommend(self) -> Config:
        """The evaluated configuration with the greatest posterior mean on the target at full steps; before there is a
        surrogate, the one with the best score so far."""
        if self._surrogate is not None:
            return dict(self._ranking(self._surrogate)[0][0])
        scored = [(y, -i) for i, (*_, y) in enumerate(self.rows) if y is not None]
        return dict(self.rows[-max(scored)[1]][0]) if scored else self.problem.recipe

    def summary(self) -> dict[str, Any]:
        if self._surrogate is None:
            return {}
        _, mean, sd = self._ranking(self._surrogate)[0]
        return {
            "posterior_mean": mean,
            "posterior_sd": sd,
            "configurations": len(self.tried),
            "observations": {m: sum(model == m for _, _, model, _ in self.rows) for m in self.models},
            "length_scales": self._surrogate.length_scales(),
        }

    # -- the surrogate -----------------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Condition the surrogate on everything told so far, once there are two scores.

        Hyperparameters are fitted again whenever the data grew by a fifth, from where they stood. This happens when a
        result is told and at no other time, so that looking (`recommend`, `summary`) changes nothing.
        """
        # BoTorch takes seconds to import: not before there is something to fit, and never for the other methods.
        from jfhpo.method.surrogate import Surrogate

        scores = [y for *_, y in self.rows if y is not None]
        if len(scores) < 2:
            return
        # A failure counts as the worst score seen: never good, and no cliff that would bend the whole surface.
        y = np.array([min(scores) if score is None else score for *_, score in self.rows])
        configs, steps, models, _ = zip(*self.rows, strict=True)
        before = self._surrogate and self._surrogate.state()
        fit = len(self.rows) >= REFIT_GROWTH * self._fitted_to
        self._surrogate = Surrogate(self.features(configs, steps, models), y, before, fit=fit)
        if fit:
            self._fitted_to = len(self.rows)

    def _ranking(self, surrogate: Surrogate) -> list[tuple[Config, float, float]]:
        """(φ, posterior mean, standard deviation) on the target at full steps, best first, of every configuration with
        a score; one that failed on some model only where there is no other."""
        scored = {config_key(config) for config, *_, y in self.rows if y is not None}
        configs = [self.tried[key] for key in self.tried if key in (scored - self.failed or scored)]
        mean, sd = surrogate.predict(self._target_x(configs))
        order = np.argsort(-mean, kind="stable")
        return [(configs[i], float(mean[i]), float(sd[i])) for i in order]

    def _target_x(self, configs: list[Config]) -> np.ndarray:
        full = self.problem.full
        return self.features(configs, [full.steps] * len(configs), [full.model] * len(configs))

    def _x(self, candidates: list[Candidate]) -> np.ndarray:
        return self.features(
            [c.config for c in candidates], [c.steps for c in candidates], [c.model for c in candidates]
        )
