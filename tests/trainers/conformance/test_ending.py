"""How trials end: one that cannot run fails with its reason, and none leaves anything behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from jfhpo.core.trial import Cost, Status, Trial, TrialResult
from jfhpo.study.executors.local import LocalExecutor
from jfhpo.study.executors.simulated import SimulatedExecutor
from jfhpo.study.report_checks import TrialFailed
from jfhpo.study.trial_run import TrialRun
from tests.trainers.conformance.case import case
from tests.trainers.conformance.parts import check, children, make, spec, trial

TIMEOUT = 120.0


@pytest.fixture
def worker(name, temporary) -> Iterator:
    """As a study has them: a process, or the study's own for a simulated engine."""
    of = spec(name)
    hosted = (SimulatedExecutor(of) if of.simulated else LocalExecutor(of, TIMEOUT)).worker()
    yield hosted
    hosted.close()


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
        except TrialFailed as failure:
            course.cost += failure.overhead
            return course.result(Status.FAILED, str(failure), None)


@check("fails with a reason")
def test_what_cannot_run_fails_with_its_reason_and_the_worker_goes_on(name, worker):
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
    """Threads, child processes and open files of this process."""
    gc.collect()
    threads = sorted(thread.name for thread in threading.enumerate())
    return threads, children(), sorted(opened())


def opened() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue  # the listing's own


@check("leaves nothing")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_worker_that_is_ended_in_a_trial_leaves_nothing(name, temporary, worker, tmp_path, how):
    """By SIGTERM a study ends its workers; SIGKILL comes from elsewhere."""
    process = getattr(worker, "process", None)
    already = children() - {process.pid if process else 0}
    worker.call("start", trial(name, 2), None)
    worker.call("next")
    worker.call("save", tmp_path / "saved")
    if how == "SIGKILL" and process:
        process.kill()
        process.wait()
    worker.close()
    assert children() == already
    assert os.listdir(temporary) == []


@check("leaves nothing")
def test_a_process_killed_while_it_saves_leaves_no_temporary_file(name, elsewhere):
    assert os.listdir(elsewhere["home"] / "temporary") == []
