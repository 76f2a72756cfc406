"""Expected cost of training steps, learned from finished trials: the C(θ, φ, r) of the acquisition function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config, TrialResult

ROLLOUTS = "rollout_n"
OFFSETS = (4.0, 0.0, 1.0, 2.0, 8.0, 16.0, 32.0)
"""Candidates for the part of a step that does not grow with the rollouts, in rollouts; the first is the guess while
trials of one rollout count only were seen."""


@dataclass(frozen=True)
class _Fit:
    """What the trials seen so far say."""

    offset: float
    rates: dict[str, float]
    """Model -> s_θ."""
    fixed: float


class CostModel:
    """A trial costs a fixed part and its steps; a step of model θ with n rollouts per prompt costs s_θ · (a + n).

    The offset a is common to all sizes: the candidate that leaves the least absolute deviation in log space. The rate
    s_θ is the median over the finished trials of that size; a size that was never run takes the rate of the nearest
    one, scaled by what is known beforehand of a step of either.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        self.steps: dict[str, list[tuple[float, float]]] = {}
        """Model -> (rollouts, cost of a step) of each finished trial."""
        self.fixed: list[float] = []
        self._fit: _Fit | None = None

    def observe(self, result: TrialResult) -> None:
        unit, run = self.problem.cost_unit, result.curve[result.resumed_from :]
        paid = sum(record.cost.of(unit) for record in run)
        if paid > 0:
            seen = (rollouts(result.trial.config), paid / len(run))
            self.steps.setdefault(result.trial.fidelity.model, []).append(seen)
            self.fixed.append(max(result.cost.of(unit) - paid, 0.0))
            self._fit = None

    def expect(self, model: str, config: Config, steps: int) -> float | None:
        """Cost of a trial of `steps` further steps in the problem's unit; None before any trial was seen."""
        if not self.steps:
            return None
        if self._fit is None:
            offset = min(OFFSETS, key=self._deviation)
            self._fit = _Fit(offset, {m: self._rate(m, offset) for m in self.steps}, median(self.fixed))
        wanted = self._prior(model)
        known = min(self.steps, key=lambda name: abs(math.log(self._prior(name) / wanted)))
        rate = self._fit.rates[known] * wanted / self._prior(known)
        return self._fit.fixed + steps * rate * (self._fit.offset + rollouts(config))

    def _rate(self, model: str, offset: float) -> float:
        return median(cost / (offset + n) for n, cost in self.steps[model])

    def _deviation(self, offset: float) -> float:
        """Sum over all trials of |log observed − log modelled| cost of a step."""
        total = 0.0
        for model, seen in self.steps.items():
            rate = self._rate(model, offset)
            total += sum(abs(math.log(cost / rate / (offset + n))) for n, cost in seen)
        return total

    def _prior(self, model: str) -> float:
        """Cost of a step relative to other sizes, before any was timed: operations follow the parameters, seconds
        less than that (small matrices run slower), completion tokens not at all."""
        size = self.problem.model(model)
        return {"seconds": size.relative_cost, "flops": float(size.parameters), "tokens": 1.0}[self.problem.cost_unit]


def rollouts(config: Config) -> float:
    """Completions per prompt: what a step's cost grows with. 1 where the space does not have it."""
    return float(config.get(ROLLOUTS, 1))
