"""What proposes trials. A method is one class with three verbs: propose, observe, recommend."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jfhpo.core.problem import Problem
from jfhpo.core.trial import COST_UNITS, Config, Fidelity, Status, Trial, TrialResult


class Optimizer(ABC):
    """Any number of trials may be pending (asked, not told). All randomness comes from `seed`; nothing touches
    global state, so the same seed and the same results give the same proposals: that is how a study resumes."""

    name: ClassVar[str]
    """What the user types: ``method=<name>``."""
    Settings: ClassVar[type]
    """A dataclass of the method's settings with their defaults; its fields are the valid ``method.<key>``."""
    early_stopping: str = "none"
    """Preset of `jfhpo.dynamics.early_stopping` that watches this method's trials."""
    planned: int | None = None
    """Trials that it will ask for, where that is known beforehand: progress is then counted by it."""
    checkpoint_reuse: bool = False
    """Whether the final run on the target may start from a shorter run of the same configuration there."""

    def __init__(self, problem: Problem, *, seed: int, settings: Any = None):
        self.problem = problem
        self.seed = seed
        self.settings = settings if settings is not None else self.Settings()
        self.pending: dict[int, Trial] = {}
        """Trials asked and not told."""
        self._asked = 0

    # -- what the study calls ----------------------------------------------------------------------------------

    def ask(self) -> Trial | None:
        """The next trial, or None: nothing to run until a pending trial is told (or ever, if none is pending)."""
        trial = self.propose()
        if trial is not None:
            self.problem.check_fidelity(trial.fidelity)
            self.pending[trial.id] = trial
            self._asked += 1
        return trial

    def tell(self, result: TrialResult) -> None:
        """Learn from a finished trial. Results may come in any order, failed and cut ones too.

        Raises:
            ValueError: for a trial that is not pending, a score or a cost that cannot be, or another trial under the
                same id. Nothing has been learned then.
        """
        self._check(result)
        del self.pending[result.trial.id]
        self.observe(result)

    def _check(self, result: TrialResult) -> None:
        trial = result.trial
        if trial.id not in self.pending:
            what = "was told already" if 0 <= trial.id < self._asked else "was never asked"
            raise ValueError(f"trial {trial.id} {what}; pending: {sorted(self.pending) or 'none'}")
        if trial != self.pending[trial.id]:
            raise ValueError(f"trial {trial.id} was asked as {self.pending[trial.id]}, told as {trial}")
        scores = [("score", result.score), *((f"validation at step {s}", y) for s, y in result.validations())]
        for name, score in scores:
            if score is not None and not math.isfinite(score):
                raise ValueError(f"trial {trial.id}: {name}={score} must be finite; a run without a score has FAILED")
        if not 0 <= result.resumed_from <= result.steps_done <= trial.fidelity.steps:
            raise ValueError(
                f"trial {trial.id}: steps {result.resumed_from} to {result.steps_done} lie outside 0 to "
                f"{trial.fidelity.steps}, its fidelity"
            )
        if len(result.curve) != result.steps_done:
            raise ValueError(f"trial {trial.id}: a curve of {len(result.curve)} steps for {result.steps_done} done")
        for unit in COST_UNITS:
            cost = result.cost.of(unit)
            if not 0 <= cost < math.inf:
                raise ValueError(f"trial {trial.id}: a cost of {cost:g} {unit} must be finite and not below 0")
        unit = self.problem.cost_unit
        if result.cost.of(unit) == 0 and result.steps_done > result.resumed_from and result.status is not Status.FAILED:
            raise ValueError(f"trial {trial.id}: a cost of 0 {unit} for steps that were trained must be above 0")

    def trial(
        self, config: Config, fidelity: Fidelity, resume_from: int = 0, validate_at: tuple[int, ...] = ()
    ) -> Trial:
        """A trial with the next id and the study's training seed."""
        return Trial(self._asked, dict(config), fidelity, self.seed, resume_from, validate_at)

    # -- what a method is --------------------------------------------------------------------------------------

    @abstractmethod
    def propose(self) -> Trial | None:
        """The next trial, made by `trial`, or None if there is nothing to run until a pending one is told."""

    @abstractmethod
    def observe(self, result: TrialResult) -> None:
        """Learn from a finished trial, which is no longer in `pending`."""

    @abstractmethod
    def recommend(self) -> Config:
        """The configuration to train on the target at full steps."""

    def summary(self) -> dict[str, Any]:
        """What the method wants to be read beside its result, e.g. the posterior at its recommendation."""
        return {}
