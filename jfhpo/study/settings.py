"""The settings of one study, whatever its problem and its method."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jfhpo.core.errors import UsageError
from jfhpo.core.problem import Problem


@dataclass(frozen=True)
class StudySettings:
    experiment: str
    scale: str
    seed: int
    budget: float
    """In the problem's `cost_unit`."""
    label: str = ""
    """What the study is called where that is not the method's name, e.g. an ablation's."""
    max_trials: int | None = None
    """Search trials at most, for every method alike; the final run comes on top. None: as many as the budget buys."""
    workers: int = 1
    checkpoint_every: int = 10
    """Steps between checkpoints of a running trial: what a killed study has to repeat at most."""
    step_timeout: float = 600.0
    """Seconds after which a worker that does not answer is ended and its trial failed."""
    test_k: int = 10
    """Samples per test prompt, each from its own evaluation seed."""
    test_seed: int = 90_210
    every_step: bool = False
    """Of a simulated study: whether its records hold the steps, too, at which nothing was validated."""

    def planned(self, by_method: int | None) -> int | None:
        """Trials that the search will ask for at most, where method or study limit them; None where neither does."""
        return min((n for n in (by_method, self.max_trials) if n is not None), default=None)

    def check(self, problem: Problem) -> None:
        """A `UsageError` for a value that makes no sense."""
        if not 0 < self.budget < math.inf:
            raise UsageError(f"budget={self.budget:g} must be above 0 {problem.cost_unit}, and finite")
        for name in ("workers", "checkpoint_every", "test_k"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)} must be at least 1")
        if self.max_trials is not None and self.max_trials < 1:
            raise UsageError(f"max_trials={self.max_trials} must be at least 1, or null for as many as the budget buys")
        if not self.step_timeout > 0:
            raise UsageError(f"step_timeout={self.step_timeout:g} must be above 0 seconds")
        if self.seed < 0:
            raise UsageError(f"seed={self.seed} must be 0 or more")
