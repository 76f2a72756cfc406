"""How trials end: one that cannot run fails with its reason, and none leaves anything behind."""

from __future__ import annotations

import functools
import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from types import SimpleNamespace
from typing import Any

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Cost, Status, Trial, TrialResult
from jfhpo.study.executors.local import LocalExecutor
from jfhpo.study.executors.simulated import SimulatedExecutor
from jfhpo.study.report_checks import TrialFailed
from jfhpo.study.trial_run import TrialRun
from tests.trainers.conformance.case import AFTER, case
from tests.trainers.conformance.parts import check, children, make, spec, trial

TIMEOUT = 600.0


@dataclass
class Hosted:
    """A worker as a study has it: a process, or the study's own for a simulated engine."""

    worker: Any
    temporary: Path
    """The folder for temporary files of the study, and so of its workers."""

    @property
    def process(self) -> Popen | None:
        return getattr(self.worker, "process", None)

    def assert_leaves_nothing(self, name: str) -> None:
        """Once it is closed, of its processes and of what they wrote to the temporary folder."""
        if self.process is not None:
            mine, scratch = {self.process.pid, *children(self.process.pid)}, self.worker.scratch.path
            assert scratch.is_dir()
            self.worker.close()
            assert_gone(name, mine)
            assert not scratch.exists()
        assert os.listdir(self.temporary) == []


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[Callable[[str], Hosted]]:
    """Starts a worker for an engine."""
    started = []

    def start(name: str) -> Hosted:
        of, folder = spec(name), tmp_path_factory.mktemp(f"{name}-temporary")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(folder))
            worker = (SimulatedExecutor(of) if of.simulated else LocalExecutor(of, TIMEOUT)).worker()
        started.append(Hosted(worker, folder))
        return started[-1]

    yield start
    for hosted in started:
        hosted.worker.close()


@pytest.fixture(scope="module")
def shared(host) -> Callable[[str], Hosted]:
    """The worker that the tests of an engine share: its libraries take seconds to import."""
    return functools.cache(host)


def assert_gone(name: str, processes: set[int]) -> None:
    """Now, or where an engine's own processes have to notice first, soon."""
    until = time.monotonic() + (AFTER if case(name).processes else 0.0)
    while (alive := [pid for pid in processes if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    assert alive == []


HOST = SimpleNamespace(
    problem=SimpleNamespace(cost_unit="flops"),
    find_checkpoint=lambda trial, at_most: None,
    save_checkpoint=lambda run, step: None,
    record=lambda event, **fields: None,
    out_of_budget=lambda run: False,
    spent=Cost,
)
"""A study without budget, rules, records and checkpoints."""


def run(worker, of: Trial) -> TrialResult:
    """The trial as a study runs it."""
    course = TrialRun(of, "search", limit=float("inf"), curve=[])
    program = course.course(HOST, save_every=1000)
    request = next(program)
    while True:
        verb, arguments = request
        try:
            request = program.send(worker.call(verb, *arguments))
        except StopIteration as end:
            return end.value
        except UsageError as refused:  # the study's own process, which ends with this line: nothing is scored
            return course.result(Status.FAILED, str(refused), None)
        except TrialFailed as failure:
            course.cost += failure.overhead
            return course.result(Status.FAILED, str(failure), None)


@check("fails with a reason")
def test_what_cannot_run_fails_with_its_reason_and_the_worker_goes_on(name, shared):
    worker = shared(name).worker
    diverged = run(worker, trial(name, **case(name).breaks))
    assert (diverged.status, diverged.score) == (Status.FAILED, None)
    assert diverged.reason.strip()
    unknown = run(worker, trial(name, model="no_such_model"))
    assert (unknown.status, unknown.score) == (Status.FAILED, None)
    assert "no_such_model" in unknown.reason
    whole = run(worker, trial(name, 1, validate_at=()))
    assert whole.status is Status.COMPLETED and whole.score is not None


@check("leaves nothing")
def test_a_trial_that_nobody_goes_on_with_leaves_no_thread_process_or_file(name, temporary, tmp_path):
    def a_trial(number: int) -> None:
        trainer = make(name)
        steps = trainer.start(trial(name))
        next(steps)
        trainer.save(tmp_path / f"saved-{number}")
        trainer.evaluate("test", 1)
        next(steps)

    a_trial(0)  # libraries keep what they open once
    before = holds()
    a_trial(1)
    assert holds() == before
    assert os.listdir(temporary) == []


def holds() -> tuple[list[str], set[int], list[str]]:
    """Threads, processes that were started and open files of this process."""
    gc.collect()
    threads = sorted(thread.name for thread in threading.enumerate())
    return threads, children(os.getpid()), sorted(opened())


def opened() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue  # the listing's own


@check("leaves nothing")
def test_a_worker_that_is_ended_in_a_trial_leaves_nothing(name, shared, tmp_path):
    """By SIGTERM, as a study ends its workers."""
    hosted = shared(name)
    begin(hosted.worker, trial(name, 2), tmp_path)
    hosted.assert_leaves_nothing(name)


@check("leaves nothing")
def test_a_worker_that_is_killed_in_a_trial_costs_the_trial_and_leaves_nothing(name, host, tmp_path):
    """By SIGKILL, from elsewhere; there is another worker at once, and then that is ended, too."""
    hosted = host(name)
    if hosted.process is None:
        return
    begin(hosted.worker, trial(name, 2), tmp_path)
    first = hosted.process
    below = children(first.pid)
    first.kill()
    with pytest.raises(TrialFailed, match="signal 9"):
        hosted.worker.call("next")
    assert hosted.process is not first and os.listdir(hosted.temporary) == []
    assert_gone(name, below)
    hosted.assert_leaves_nothing(name)


def begin(worker, of: Trial, folder: Path) -> None:
    """The first step of a trial, saved."""
    worker.call("start", of, None)
    worker.call("next")
    worker.call("save", folder / "saved")


@check("leaves nothing")
def test_a_process_killed_while_it_saves_leaves_no_temporary_file(name, elsewhere):
    assert os.listdir(elsewhere["home"] / "temporary") == []
