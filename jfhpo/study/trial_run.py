"""One trial under way, written as a coroutine: it yields requests for its trainer and is sent the answers.

The study holds the thread; a trial holds only what belongs to it. That way any number of trials advance together and
the course of one still reads top to bottom.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jfhpo.core.problem import Problem
from jfhpo.core.trial import Cost, Status, StepRecord, Trial, TrialResult
from jfhpo.dynamics.early_stopping import Rivals, Rule, judge
from jfhpo.study.checkpoints import Checkpoint
from jfhpo.study.executors.protocol import Reply, UnusableCheckpoint, Worker
from jfhpo.study.report_checks import TrialFailed, check_evaluation, check_step

Request = tuple[str, tuple[Any, ...]]
"""A verb of the `Trainer` protocol (``next`` takes a step) and its arguments."""
NOTHING = Cost()
Course = Generator[Request, Reply, TrialResult]


class Host(Protocol):
    """What a trial needs of its study."""

    problem: Problem

    def find_checkpoint(self, trial: Trial, at_most: int) -> Checkpoint | None: ...
    def save_checkpoint(self, run: TrialRun, step: int) -> None: ...
    def record(self, event: str, **fields: Any) -> None: ...
    def out_of_budget(self, run: TrialRun) -> bool: ...
    def spent(self) -> Cost: ...


@dataclass
class TrialRun:
    trial: Trial
    phase: str
    """``search``, or ``final`` for the recommended configuration on the target."""
    limit: float
    """The study's total spending at which this trial is cut."""
    curve: list[StepRecord]
    """All steps known of this configuration and model; grows."""
    rules: tuple[Rule, ...] = ()
    rivals: Rivals = ()
    """What was told before this trial was asked for: a set that the records' order alone decides, so that the rules
    judge the same after a kill, and with any number of workers."""
    cost: Cost = NOTHING
    """Of what was really run and not repeated after a kill."""
    resumed_from: int = 0
    started: bool = False
    """Whether it was started before: true at the start of its course only if the study was killed during it, and
    then its own recorded steps may be resumed."""
    worker: Worker | None = None
    program: Course | None = None

    def begin(self, step: int) -> None:
        """Training starts at `step`: what is known beyond it will be run again, and is void."""
        # After a kill the checkpoint it had resumed may be gone: then it pays for those steps after all.
        self.resumed_from, self.started = min(step, self.resumed_from) if self.started else step, True
        del self.curve[step:]
        self.cost = sum((r.cost for r in self.curve[self.resumed_from :]), Cost())

    def add(self, record: StepRecord) -> None:
        self.curve.append(record)
        self.cost += record.cost

    def course(self, host: Host, save_every: int) -> Course:
        """Run the trial to its fidelity, to a stopping rule's verdict or to the end of the budget; raises
        `TrialFailed` where the trainer reports what cannot be."""
        trial, end = self.trial, self.trial.fidelity.steps
        usable = len(self.curve) if self.started else trial.resume_from
        checkpoint = host.find_checkpoint(trial, usable) if usable else None
        try:
            reply = yield "start", (trial, checkpoint.path if checkpoint else None)
        except UnusableCheckpoint:
            checkpoint = None
            reply = yield "start", (trial, None)
        saved = step = checkpoint.step if checkpoint else 0
        self.begin(step)
        self.cost += reply.overhead
        host.record("started", trial=trial.id, phase=self.phase, resumed_from=step)

        status, reason = Status.COMPLETED, ""
        while step < end:
            if host.out_of_budget(self):
                status, reason = Status.CUT, "the study's budget was spent"
                break
            reply = yield "next", ()
            self.cost += reply.overhead
            check_step(reply.value, step + 1, host.problem.cost_unit)
            self.add(reply.value)
            step = reply.value.step
            host.record("step", trial=trial.id, record=reply.value.to_json(), spent=vars(host.spent()))
            if step < end and (stop := judge(self.rules, self.curve, self.rivals)) is not None:
                status, reason = Status.EARLY_STOPPED, str(stop)
                break
            if step < end and step % save_every == 0:
                host.save_checkpoint(self, step)
                saved = step

        score = self.curve[-1].val_accuracy if self.curve else None
        if status is Status.EARLY_STOPPED and score is None:
            reply = yield "evaluate", ("validation", 1, 0, False)
            self.cost += reply.overhead
            check_evaluation(reply.value, ("mean_at_k",), step)
            score = reply.value.mean_at_k
            self.cost += reply.value.cost
        if status is Status.COMPLETED and score is None:
            raise TrialFailed(f"val_accuracy=None at step {step}, the trial's last; the trainer has to validate there")
        if status is not Status.EARLY_STOPPED and step > saved:
            host.save_checkpoint(self, step)
        return self.result(status, reason, score)

    def result(self, status: Status, reason: str, score: float | None) -> TrialResult:
        before = sum((r.cost for r in self.curve[: self.resumed_from]), Cost())
        return TrialResult(
            trial=self.trial,
            status=status,
            reason=reason,
            steps_done=len(self.curve),
            score=score,
            curve=tuple(self.curve),
            cost=self.cost,
            cost_from_scratch=before + self.cost,
            resumed_from=self.resumed_from,
        )

    def told(self, event: Mapping[str, Any]) -> TrialResult:
        """The result as the records have it, curve and all."""
        self.cost = Cost(**event["cost"])
        return self.result(Status(event["status"]), event["reason"], event["score"])
