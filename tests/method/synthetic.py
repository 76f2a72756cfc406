"""A world of learning curves by formula (`jfhpo.trainers.curves.formula`) that drives a method without a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import Problem
from jfhpo.core.space import SearchSpace, config_key
from jfhpo.core.trial import Config, Cost, Status, StepRecord, Trial, TrialResult
from jfhpo.dynamics.early_stopping import judge, rules
from jfhpo.trainers.curves.formula import LARGE, SMALL, Landscape, step_cost

LANDSCAPE = Landscape()
BEST_LR, BEST_KL = LANDSCAPE.best_lr, LANDSCAPE.best_kl  # on the target, of width 128


def problem(**changes: Any) -> Problem:
    fields: dict[str, Any] = {
        "name": "curves",
        "task": "curves",
        "space": SearchSpace(
            {
                "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
                "kl_loss_coef": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
                "rollout_n": {"type": "ordinal", "values": [4, 8, 16]},
                "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
            }
        ),
        "family": (SMALL, LARGE),
        "proxy": "p",
        "target": "l",
        "max_steps": 24,
        "rungs": (6, 12, 24),
        "recipe": {"lr": 3e-5, "kl_loss_coef": 1e-3, "rollout_n": 4, "lr_scheduler": "constant"},
        "cost_unit": "flops",
    }
    return Problem(**fields | changes)


OPTIMUM: Config = {"lr": BEST_LR, "kl_loss_coef": BEST_KL, "rollout_n": 16, "lr_scheduler": "constant"}


accuracy, record = LANDSCAPE.accuracy, LANDSCAPE.record
observed = LANDSCAPE.observed


FULL_COST = 24 * step_cost({"rollout_n": 8}, "l").flops
"""FLOPs of a full run on the target with 8 rollouts."""


@dataclass
class World:
    """Runs trials, keeps their "checkpoints" and says what was spent."""

    problem: Problem = field(default_factory=problem)
    noise: float = 0.01
    landscape: Landscape = LANDSCAPE
    fails: Callable[[Trial], bool] = lambda trial: False
    rules: str = "none"
    reached: dict[tuple[str, str], int] = field(default_factory=dict)
    validated: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    """Steps at which a configuration was validated on a model: a resumed curve brings them again."""
    spent: Cost = field(default_factory=Cost)
    trials: list[Trial] = field(default_factory=list)

    def run(self, trial: Trial, cut_at: int | None = None) -> TrialResult:
        """The trial's result; at `cut_at` steps the budget ends."""
        self.trials.append(trial)
        key = (config_key(trial.config), trial.fidelity.model)
        resumed = min(trial.resume_from, self.reached.get(key, 0))
        status, reason, steps = Status.COMPLETED, "", trial.fidelity.steps
        if cut_at is not None and cut_at < steps:
            status, steps = Status.CUT, cut_at
        validated = self.validated.setdefault(key, set())
        validated |= {*trial.validate_at, trial.fidelity.steps}
        curve: list[StepRecord] = []
        for step in range(1, steps + 1):
            score = self.observe(trial, step) if step in validated else None
            curve.append(self.landscape.record(trial.config, trial.fidelity.model, step, score))
            if resumed < step < steps and (stop := judge(rules(self.rules), curve)):
                status, reason = Status.EARLY_STOPPED, str(stop)
                break
        if self.fails(trial):
            status, reason = Status.FAILED, "out of memory"
        score = self.observe(trial, len(curve)) if curve and status is not Status.FAILED else None
        if status is Status.CUT and not (curve and curve[-1].val_accuracy is not None):
            score = None
        if status in (Status.COMPLETED, Status.CUT):
            self.reached[key] = max(self.reached.get(key, 0), len(curve))
        cost = sum((r.cost for r in curve[resumed:]), Cost())
        self.spent += cost
        whole = sum((r.cost for r in curve), Cost())
        return TrialResult(trial, status, reason, len(curve), score, tuple(curve), cost, whole, resumed)

    def observe(self, trial: Trial, step: int) -> float:
        return self.landscape.observed(trial.config, trial.fidelity.model, step, self.noise)

    def drive(self, optimizer: Optimizer, budget: float = math.inf, trials: int = 10**6) -> Iterator[TrialResult]:
        """Ask, run and tell, one trial at a time, until FLOPs or trials are used up."""
        count = 0
        while count < trials and self.spent.flops < budget and (trial := optimizer.ask()) is not None:
            result = self.run(trial)
            optimizer.tell(result)
            count += 1
            yield result


def outcome(optimizer: Optimizer) -> float:
    """True accuracy of the recommendation, trained in full on the target."""
    return accuracy(optimizer.recommend(), "l", optimizer.problem.max_steps)
