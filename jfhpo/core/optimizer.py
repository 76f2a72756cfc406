"""What proposes trials. A method is one class with three verbs: propose, observe, recommend."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jfhpo.core.errors import UsageError
from jfhpo.core.problem import Problem
from jfhpo.core.seeds import training_seed
from jfhpo.core.trial import COST_UNITS, Config, Fidelity, Status, Trial, TrialResult


@dataclass
class NoSettings:
    """There is nothing to set."""


class Optimizer(ABC):
    """Any number of trials may be pending (asked, not told). All randomness comes from `seed`; nothing touches
    global state, so the same seed and the same results give the same proposals: that is how a study resumes."""

    name: ClassVar[str]
    """What the user types: ``method=<name>``."""
    Settings: ClassVar[type] = NoSettings
    """A dataclass of the method's settings with their defaults; its fields are the valid ``method.<key>``."""
    learns: ClassVar[bool] = True
    """Whether results change what it proposes; false for random search and the like."""
    early_stopping: str = "none"
    """Preset of `jfhpo.dynamics.early_stopping` that watches this method's trials."""
    planned: int | None = None
    """Trials that it will ask for, where that is known beforehand: progress is then counted by it."""
    checkpoint_reuse: bool = False
    """Whether the final run on the target may start from a shorter run of the same configuration there."""

    def __init__(self, problem: Problem, *, seed: int, settings: Any = None):
        if reason := self.unsupported(problem):
            raise UsageError(f"method={self.name} cannot run on problem={problem.name}: {reason}")
        self.problem = problem
        self.seed = seed
        self.settings = settings if settings is not None else self.Settings()
        self.pending: dict[int, Trial] = {}
        """Trials asked and not told."""
        self._asked = 0

    @classmethod
    def unsupported(cls, problem: Problem) -> str | None:
        """Why this method cannot run on the problem and what to use instead; None where it can. Refused when built."""
        return None

    # -- what the study calls ----------------------------------------------------------------------------------

    def ask(self) -> Trial | None:
        """The next trial, or None: nothing to run until a pending trial is told (or ever, if none is pending).

        Raises:
            ValueError: where the method proposed a fidelity outside the problem, or an id out of turn.
        """
        trial = self.propose()
        if trial is not None:
            self.problem.check_fidelity(trial.fidelity)
            if trial.id != self._asked:
                raise ValueError(
                    f"method {self.name} proposed trial {trial.id} where {self._asked} is next; use trial()"
                )
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
        self.problem.check_fidelity(trial.fidelity)
        if trial != self.pending[trial.id]:
            raise ValueError(f"trial {trial.id} was asked as {self.pending[trial.id]}, told as {trial}")
        if flaw := flaw_of(result, self.problem.cost_unit):
            raise ValueError(f"trial {trial.id}: {flaw}")

    def trial(
        self, config: Config, fidelity: Fidelity, resume_from: int = 0, validate_at: tuple[int, ...] = ()
    ) -> Trial:
        """A trial with the next id and the study's training seed (`training_seed`), which is not the method's."""
        return Trial(self._asked, dict(config), fidelity, training_seed(self.seed), resume_from, validate_at)

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


def flaw_of(result: TrialResult, cost_unit: str) -> str | None:
    """Why this result cannot be, naming the field and its value; None if it can. Costs are also to be above 0 in the
    budget's unit where steps were trained: the value of a trial is divided by its cost."""
    status, done, asked = result.status, result.steps_done, result.trial.fidelity.steps
    scores = [("score", result.score), *((f"validation at step {s}", y) for s, y in result.validations())]
    for name, score in scores:
        if score is not None and not math.isfinite(score):
            return f"{name}={score} must be finite; a run without a score has FAILED"
    if status is Status.FAILED and result.score is not None:
        return f"score={result.score}; a failed trial has none"
    if status in (Status.COMPLETED, Status.EARLY_STOPPED) and result.score is None:
        return f"score=None; a {status.value.replace('_', '-')} trial has one"
    if not 0 <= result.resumed_from <= done <= asked:
        return f"steps {result.resumed_from} to {done} lie outside 0 to {asked}, its fidelity"
    if status is Status.COMPLETED and done < asked:
        return f"completed after {done} of {asked} steps; it was cut, stopped early or has failed"
    if len(result.curve) != done:
        return f"a curve of {len(result.curve)} steps for {done} done"
    if [r.step for r in result.curve] != list(range(1, done + 1)):
        return f"a curve of steps {', '.join(str(r.step) for r in result.curve)}; they must count from 1 on"
    steps = [(f"step {r.step}: a cost", r.cost) for r in result.curve]
    for name, cost in [("a cost", result.cost), ("a cost from scratch", result.cost_from_scratch), *steps]:
        for unit in COST_UNITS:
            if not 0 <= cost.of(unit) < math.inf:
                return f"{name} of {cost.of(unit):g} {unit} must be finite and not below 0"
    if result.cost.of(cost_unit) == 0 and done > result.resumed_from and status is not Status.FAILED:
        return f"a cost of 0 {cost_unit} for steps that were trained must be above 0"
    return None
