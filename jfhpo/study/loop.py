"""The study: ask for trials, drive them step by step under one budget, tell, recommend, train the target, test.

Everything that happens is an event in ``records.jsonl`` before anything depends on it, so the same command again
continues where the last one died: proposals are asked for again and must repeat (an optimizer's randomness comes
from its seed), results are told again from the records, and the trial in flight goes on from its last checkpoint.

The budget covers the search, the optimizer's own time and the training of the recommended configuration on the
target; what that last run is expected to cost is held back from the search. The test evaluation is not charged: it is
the measurement. Budgets and stopping rules are looked at after every step of every trial.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jfhpo.core.cost_model import CostModel
from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import Problem
from jfhpo.core.seeds import training_seed
from jfhpo.core.space import config_key
from jfhpo.core.trainer import CheckpointError, Evaluation
from jfhpo.core.trial import Config, Cost, Status, StepRecord, Trial, TrialResult
from jfhpo.dynamics.early_stopping import rules
from jfhpo.study.checkpoints import Checkpoint, CheckpointKey, CheckpointRegistry
from jfhpo.study.executors.choice import executor, executor_name
from jfhpo.study.executors.protocol import Executor, TrainerSpec, UnusableCheckpoint, Worker
from jfhpo.study.history import History, rivals
from jfhpo.study.machine import machine
from jfhpo.study.memory_checkpoints import MemoryCheckpoints
from jfhpo.study.no_checkpoints import NoCheckpoints
from jfhpo.study.records import BriefRecorder, Recorder, read_records, read_summary, write_summary
from jfhpo.study.report_checks import TrialFailed, check_evaluation, check_step
from jfhpo.study.reserve import Reserve
from jfhpo.study.settings import StudySettings
from jfhpo.study.trial_run import TrialRun

Registry = CheckpointRegistry | NoCheckpoints | MemoryCheckpoints
MAX_FAILURES_IN_A_ROW = 25
"""Failures can be free of charge; a search in which everything fails has to end all the same."""


class Study:
    """Implements `jfhpo.study.trial_run.Host` for its trials."""

    def __init__(
        self,
        folder: Path,
        problem: Problem,
        optimizer: Optimizer,
        trainer: TrainerSpec,
        registry: Registry,
        settings: StudySettings,
        observers: Sequence[Callable[[dict[str, Any]], None]] = (),
    ):
        settings.check(problem)
        self.folder, self.problem, self.optimizer = folder, problem, optimizer
        self.trainer, self.registry, self.settings = trainer, registry, settings
        self.observers = observers
        self.rules = rules(optimizer.early_stopping, problem.max_steps)
        # The optimizer's seconds are this machine's, a simulated trainer's are not: adding them up would mean nothing.
        self.history = History(problem, charge_optimizer=not trainer.simulated)
        self.costs = CostModel(problem)
        self.reserve = Reserve(problem, self.history, self.costs, self._resumable, settings.budget, settings.workers)
        self.open: dict[int, TrialRun] = {}
        """Trials asked and not told."""

    def run(self) -> dict[str, Any]:
        """Run, or continue, to the end; returns what ``summary.json`` holds."""
        if self.trainer.simulated and (summary := read_summary(self.folder)) is not None:
            return summary  # its records are brief: they cannot be replayed
        self.executor = self._executor()
        self.recorder = self._recorder()
        past = [] if self.trainer.simulated else read_records(self.folder)
        self.workers: list[Worker] = []
        try:
            if not past:
                self.record("study", **self._description())
            self._replay(past)
            if not self.history.finished:
                self.workers = [self.executor.worker() for _ in range(self.settings.workers)]
                if self.history.recommended is None:
                    self._search()
                    self._recommend()
                if self.history.evaluation is None:
                    self._evaluate(self._final())
                self.record("finished")
            summary = self._description() | self.history.summary()
            write_summary(self.folder, summary)
            self.registry.release(self._scope)
            return summary
        finally:
            for worker in self.workers:
                worker.close()
            self.recorder.close()

    def _recorder(self) -> Recorder | BriefRecorder:
        return BriefRecorder(self.folder, self.settings.every_step) if self.trainer.simulated else Recorder(self.folder)

    def _executor(self) -> Executor:
        settings = self.settings
        return executor(settings.executor, settings.device, settings.step_timeout, self.trainer)

    # -- the phases --------------------------------------------------------------------------------------------

    def _search(self) -> None:
        """Keep every worker busy until the budget, less what the final run needs, is spent."""
        waiting = list(self.open.values())  # in flight when the study was killed
        busy: dict[Worker, TrialRun] = {}
        while True:
            for worker in self.workers:
                if worker in busy:
                    continue
                run = waiting.pop(0) if waiting else self._ask_next()
                if run is None:
                    break
                busy[worker] = run
                self._start(run, worker)
            if not busy:
                return
            for worker in self.executor.ready(list(busy)):
                if self._advance(busy[worker]):
                    del busy[worker]

    def _ask_next(self) -> TrialRun | None:
        """The next trial, or None when the budget, the optimizer or all hope is at an end."""
        if self.history.failures_in_a_row() >= MAX_FAILURES_IN_A_ROW:
            return None
        if self.settings.max_trials is not None and self.history.asked >= self.settings.max_trials:
            return None
        began = time.process_time()
        favourite = self._favourite()
        if self._left() <= self.reserve.hold(favourite, self.open.values()):
            return None
        run = self._ask(favourite)
        if run is not None:
            self._record_asked(run, self._charge(began), favourite)
        return run

    def _ask(self, favourite: Config | None) -> TrialRun | None:
        trial = self.optimizer.ask()
        if trial is None:
            return None
        self.reserve.held_for = favourite
        return self._open(trial, "search", self.reserve.limit(trial, favourite))

    def _open(self, trial: Trial, phase: str, limit: float) -> TrialRun:
        self.history.asked += 1
        watched = self.rules if phase == "search" else ()
        others = rivals(self.history.results, trial) if watched else ()
        self.open[trial.id] = TrialRun(trial, phase, limit, self.history.curve(trial), watched, others)
        return self.open[trial.id]

    def _record_asked(self, run: TrialRun, seconds: float, favourite: Config | None) -> None:
        """With what was spent by then, and what would have been recommended: how good that was can be seen later."""
        self.record(
            "asked",
            trial=run.trial.to_json(),
            phase=run.phase,
            optimizer_seconds=seconds,
            spent=vars(self.spent()),
            favourite=favourite and dict(favourite),
        )

    def _left(self) -> float:
        """Of the budget."""
        return self.settings.budget - self.spent().of(self.problem.cost_unit)

    def _favourite(self) -> Config | None:
        """What would be recommended now; None before the first result."""
        return self.optimizer.recommend() if self.history.results else None

    def _resumable(self, config: Config) -> int:
        """Steps on the target that the final run need not repeat: all known ones where checkpoints are reused, and in
        any case those of the same run when the budget cut it."""
        if self.optimizer.checkpoint_reuse:
            return self.history.steps_known(config, self.problem.target)
        return max((r.steps_done for r in self.history.runs(config, Status.CUT)), default=0)

    def _recommend(self) -> None:
        began = time.process_time()
        chosen, passed_over = self.reserve.choose(newest := self.optimizer.recommend(), self._left())
        self.history.recommended = dict(chosen)
        self.history.recommendation = self.optimizer.summary()
        self.record(
            "recommended",
            config=self.history.recommended,
            passed_over=dict(newest) if passed_over else None,
            summary=self.history.recommendation,
            optimizer_seconds=self._charge(began),
        )

    def _final(self) -> TrialResult:
        """The recommended configuration trained on the target: a search trial that did so, or one more run."""
        config = self.history.recommended
        if (done := self.history.final or self.history.full_run(config)) is not None:
            return done
        run = next(iter(self.open.values()), None)  # in flight when the study was killed
        if run is None:
            trial = Trial(
                id=self.history.asked,
                config=config,
                fidelity=self.problem.full,
                seed=training_seed(self.settings.seed),
                resume_from=self._resumable(config),
            )
            run = self._open(trial, "final", self.settings.budget)
            self._record_asked(run, 0.0, config)
        self._start(run, self.workers[0])
        ended = False
        while not ended:
            self.executor.ready([run.worker])  # the clock is then where its answer is
            ended = self._advance(run)
        return self.history.final

    def _evaluate(self, final: TrialResult) -> None:
        """Test the trained target, from its checkpoint, or trained again (bit for bit) where that is lost."""
        if final.status is Status.FAILED:
            return
        checkpoint = self.find_checkpoint(final.trial, final.steps_done)
        try:
            try:
                test = self._test(final, checkpoint)
            except UnusableCheckpoint:
                test = self._test(final, None)
        except TrialFailed as failure:  # it was trained already, so there is no other trial to fall back on
            why = f"the test evaluation failed ({failure})"
            raise UsageError(
                f"{self.folder}: {why}; the same command tries it again, and step_timeout= allows it more time"
            ) from failure
        self.registry.unpin(self._owner(final.trial))
        self.history.evaluation = test
        self.record("evaluated", evaluation=vars(test) | {"cost": vars(test.cost)})

    def _test(self, final: TrialResult, checkpoint: Checkpoint | None) -> Evaluation:
        worker, settings = self.workers[0], self.settings
        worker.call("start", final.trial, checkpoint.path if checkpoint else None)
        for done in range(checkpoint.step if checkpoint else 0, final.steps_done):
            check_step(worker.call("next").value, done + 1, self.problem.cost_unit)
        test = worker.call("evaluate", "test", settings.test_k, settings.test_seed).value
        check_evaluation(test, ("greedy", "mean_at_k", "standard_error"), final.steps_done)
        return test

    # -- driving one trial -------------------------------------------------------------------------------------

    def _start(self, run: TrialRun, worker: Worker) -> None:
        run.worker, run.program = worker, run.course(self, self.settings.checkpoint_every)
        verb, arguments = next(run.program)
        worker.send(verb, *arguments)

    def _advance(self, run: TrialRun) -> bool:
        """Hand the worker's answer to the trial and send its next request; true once the trial has its result."""
        try:
            try:
                answer = run.worker.receive()
            except UnusableCheckpoint as error:
                verb, arguments = run.program.throw(error)
            else:
                verb, arguments = run.program.send(answer)
        except StopIteration as end:
            result: TrialResult = end.value
        except TrialFailed as failure:
            run.cost += failure.overhead
            result = run.result(Status.FAILED, str(failure), None)
        else:
            run.worker.send(verb, *arguments)
            return False
        began = time.process_time()
        self._tell(run, result)
        self.record("told", phase=run.phase, result=result.to_json(), optimizer_seconds=self._charge(began))
        self.registry.gc()
        return True

    def _tell(self, run: TrialRun, result: TrialResult) -> None:
        del self.open[run.trial.id]
        self.registry.unpin(self._owner(run.trial))
        self.costs.observe(result)
        self.history.add(result, run.phase)
        if run.phase == "search":
            self.optimizer.tell(result)

    def _charge(self, began: float) -> float:
        """Charge the optimizer's CPU time since `began`."""
        seconds = time.process_time() - began
        self.history.optimizer_seconds += seconds
        return seconds

    # -- what a trial needs of its study -----------------------------------------------------------------------

    def spent(self) -> Cost:
        return self.history.spent(run.cost for run in self.open.values())

    def out_of_budget(self, run: TrialRun) -> bool:
        return self.spent().of(self.problem.cost_unit) >= run.limit

    def record(self, event: str, **fields: Any) -> None:
        entry = self.recorder.write(event, time=round(self.executor.now(), 3), **fields)
        for observe in self.observers:
            observe(entry)

    def find_checkpoint(self, trial: Trial, at_most: int) -> Checkpoint | None:
        """The longest good one, pinned until the trial is told so that nothing collects it meanwhile."""
        return self.registry.longest_prefix(self._key(trial), at_most, owner=self._owner(trial))

    def save_checkpoint(self, run: TrialRun, step: int) -> None:
        def write(path: Path) -> None:
            run.cost += run.worker.call("save", path).overhead

        try:
            self.registry.publish(self._key(run.trial), step, write, {"trial": run.trial.id})
        except CheckpointError as error:  # the trainer wrote nothing, or a link
            raise TrialFailed(str(error)) from error
        self.registry.gc()  # a large model's earlier steps would fill the disk before its trial ends

    @property
    def _label(self) -> str:
        return self.settings.label or self.optimizer.name

    @property
    def _scope(self) -> str:
        """Methods under comparison never share checkpoints: each study sees its own only."""
        settings = self.settings
        return "/".join((settings.experiment, self.problem.name, self._label, f"seed={settings.seed}"))

    def _owner(self, trial: Trial) -> str:
        return f"{self._scope}/trial-{trial.id}"

    def _key(self, trial: Trial) -> CheckpointKey:
        return CheckpointKey(
            scope=self._scope,
            config_key=config_key(trial.config),
            model=trial.fidelity.model,
            seed=trial.seed,
            task=self.problem.task,
            code_version=self.trainer.version,
        )

    def _description(self) -> dict[str, Any]:
        problem, settings = self.problem, self.settings
        return {
            "experiment": settings.experiment,
            "scale": settings.scale,
            "problem": problem.name,
            "task": problem.task,
            "method": self._label,
            "seed": settings.seed,
            "budget": {"amount": settings.budget, "unit": problem.cost_unit},
            "proxy": problem.proxy,
            "target": problem.target,
            "max_steps": problem.max_steps,
            "rungs": list(problem.rungs),
            "workers": settings.workers,
            "executor": executor_name(settings.executor, settings.device, self.trainer),
            "planned": settings.planned(self.optimizer.planned),
            "trainer": self.trainer.name,
            "simulation": dict(self.trainer.arguments) if self.trainer.simulated else None,
            "code_version": self.trainer.version,
            "machine": machine(),
        }

    # -- continuing --------------------------------------------------------------------------------------------

    def _replay(self, past: list[dict[str, Any]]) -> None:
        """Bring optimizer, history and costs to where the records end."""
        for event in past:
            self.history.optimizer_seconds += event.get("optimizer_seconds", 0.0)
            kind = event["event"]
            if kind == "asked":
                self._replay_asked(Trial.from_json(event["trial"]), event["phase"])
            elif kind == "started":
                self.open[event["trial"]].begin(event["resumed_from"])
            elif kind == "step":
                self.open[event["trial"]].add(StepRecord.from_json(event["record"]))
            elif kind == "told":
                run = self.open[event["result"]["trial"]]
                self._tell(run, run.told(event["result"]))
            elif kind == "recommended":
                self.history.recommended, self.history.recommendation = event["config"], event["summary"]
            elif kind == "evaluated":
                test = event["evaluation"]
                self.history.evaluation = Evaluation(**test | {"cost": Cost(**test["cost"])})
            elif kind == "finished":
                self.history.finished = True

    def _replay_asked(self, recorded: Trial, phase: str) -> None:
        if phase == "final":
            self._open(recorded, phase, self.settings.budget)
            return
        favourite = self._favourite()
        self.reserve.hold(favourite, self.open.values())
        again = self._ask(favourite)
        if again is None or again.trial != recorded:
            raise UsageError(
                f"{self.folder}: trial {recorded.id} of the records is not what method {self.optimizer.name} proposes "
                "now, so the code or a library changed since; finish it with that version or choose another out="
            )
