"""Trainers in the study's own process, on a simulated clock: for engines that tell costs and take no time.

A request is carried out when it is sent, and its answer belongs to the moment at which a real worker would have given
it: the worker's time so far plus the seconds that the trainer told. `ready` hands out the earliest answer and moves the
clock there, so any number of workers run side by side in simulated time exactly, and the order of answers is a function
of the trainer alone: such a study repeats bit for bit with any number of workers. Ties go by the worker's number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jfhpo.core.trainer import CheckpointError, TrainingFailed
from jfhpo.core.trial import Cost, StepRecord
from jfhpo.study.executors.protocol import Reply, TrainerSpec, UnusableCheckpoint
from jfhpo.study.executors.worker import do, make_trainer
from jfhpo.study.report_checks import TrialFailed, check_overhead


class SimulatedExecutor:
    def __init__(self, spec: TrainerSpec):
        self.spec, self.clock, self.workers = spec, 0.0, 0

    def worker(self) -> SimulatedWorker:
        self.workers += 1
        return SimulatedWorker(self, self.workers)

    def ready(self, workers: Sequence[SimulatedWorker]) -> list[SimulatedWorker]:
        """The one that answers first; the clock is then at that moment."""
        first = min(workers, key=lambda w: (w.answers_at, w.number))
        self.clock = max(self.clock, first.answers_at)
        return [first]

    def now(self) -> float:
        return self.clock


class SimulatedWorker:
    def __init__(self, executor: SimulatedExecutor, number: int):
        self.executor, self.number = executor, number
        self.trainer = make_trainer(executor.spec.path, executor.spec.arguments)
        self.steps: Iterator[StepRecord] = iter(())
        self.answers_at = 0.0
        self.answer: Reply | Exception | None = None

    def send(self, verb: str, *arguments: Any) -> None:
        """Carries the request out; `receive` gives the answer, or raises what came of it."""
        try:
            self.steps, value = do(self.trainer, self.steps, verb, arguments)
            overhead = self.trainer.overhead()
            check_overhead(overhead)
            self.answer, took = Reply(value, overhead), overhead + getattr(value, "cost", Cost())
        except TrainingFailed as error:
            took = self.trainer.overhead()
            self.answer = TrialFailed(str(error), took)
        except CheckpointError as error:
            self.answer, took = UnusableCheckpoint(str(error)), Cost()
        except TrialFailed as error:
            self.answer, took = error, Cost()
        # It may still be at what it was asked before, if nobody waited for that on the clock: saving a checkpoint holds
        # up its own worker alone.
        self.answers_at = max(self.executor.clock, self.answers_at) + took.seconds

    def receive(self) -> Reply:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def call(self, verb: str, *arguments: Any) -> Reply:
        self.send(verb, *arguments)
        return self.receive()

    def close(self) -> None:
        """There is nothing to end."""
