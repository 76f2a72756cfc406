"""Scores by any formula: what tests of baselines need beside `tests.method.synthetic`, whose space is fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import Problem
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Config, Cost, Status, StepRecord, Trial, TrialResult
from tests.method import synthetic

Formula = Callable[[Config, int], float | None]
"""(configuration, steps) -> score, or None for a failure."""


def problem(specs: dict[str, Any], recipe: Config, **changes: Any) -> Problem:
    return synthetic.problem(space=SearchSpace(specs), recipe=recipe, **changes)


def result(trial: Trial, score: float | None, status: Status = Status.COMPLETED, steps: int | None = None):
    """The trial's result after so many steps (all of them, if not said); without a score it failed."""
    if score is None and status is Status.COMPLETED:
        status = Status.FAILED
    done = trial.fidelity.steps if steps is None else steps
    cost = Cost(1.0, 1, 1.0)
    curve = tuple(StepRecord(s, 0.5, 0.0, 0.0, 1.0, 0.0, 9.0, 1e-3, 0.0, cost) for s in range(1, done + 1))
    whole = Cost(float(done), done, float(done))
    return TrialResult(trial, status, "", done, score, curve, whole, whole)


def drive(optimizer: Optimizer, formula: Formula, trials: int) -> list[Trial]:
    """Ask and tell, one trial at a time."""
    asked: list[Trial] = []
    while len(asked) < trials and (trial := optimizer.ask()) is not None:
        asked.append(trial)
        optimizer.tell(result(trial, formula(trial.config, trial.fidelity.steps)))
    return asked
