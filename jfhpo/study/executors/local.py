"""Trainers in long-lived worker processes on this machine.

A worker imports its engine once and runs trial after trial, one thread each. The study sends one request at a time
("the next step", "save", "evaluate") and so decides after every step whether there is another: budgets, stopping
rules and records need no cooperation from the trainer. A worker that dies or hangs costs its trial, never the study.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Cost
from jfhpo.study.executors import gpus
from jfhpo.study.executors.protocol import Reply, TrainerSpec, UnusableCheckpoint
from jfhpo.study.executors.scratch import Scratch
from jfhpo.study.report_checks import TrialFailed, check_overhead

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A worker's environment: two single-threaded trials beat one with two threads."""


class Worker:
    """One worker process. At most one request is under way."""

    def __init__(
        self, spec: TrainerSpec, timeout: float, environment: Mapping[str, str] | None = None, fresh: bool = False
    ):
        """`environment` comes on top of the study's; `fresh` workers have a process of its own for every trial."""
        self.spec, self.timeout, self.environment, self.fresh = spec, timeout, environment or {}, fresh
        self._launch()

    def _launch(self) -> None:
        self.used = False
        self.scratch = Scratch()
        self.connection, theirs = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jfhpo.study.executors.worker", str(theirs.fileno()), str(self.scratch.path)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ
            | ONE_THREAD
            | self.environment
            | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "TMPDIR": str(self.scratch.path)},
        )
        theirs.close()
        with contextlib.suppress(BrokenPipeError):  # gone already: `receive` says how it ended
            self.connection.send((self.spec.path, self.spec.arguments))

    def send(self, verb: str, *arguments: Any) -> None:
        if verb == "start":
            if self.fresh and self.used:
                self.restart()
            self.used = True
        self.verb, self.due = verb, time.monotonic() + self.timeout
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # gone: `receive` says how it ended
            self.connection.send((verb, arguments))

    def receive(self) -> Reply:
        """The answer to the request under way; raises `TrialFailed` or `UnusableCheckpoint`."""
        if not self.connection.poll(max(0.0, self.due - time.monotonic())):
            self.restart()
            raise TrialFailed(f"no answer within {self.timeout:g} s; the worker was ended")
        try:
            kind, value, overhead = self.connection.recv()
        except (EOFError, ConnectionResetError):
            code = self.process.wait()
            self.restart()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise TrialFailed(f"the worker died ({how})") from None
        return told(self.verb, kind, value, overhead)

    def call(self, verb: str, *arguments: Any) -> Reply:
        self.send(verb, *arguments)
        return self.receive()

    def restart(self) -> None:
        self.close()
        self._launch()

    def close(self) -> None:
        self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.scratch.remove()


def told(verb: str, kind: str, value: Any, overhead: Cost) -> Reply:
    """What a worker's answer to `verb` means; raises `TrialFailed` or `UnusableCheckpoint`, and `UsageError` for a full
    disk, which would fail every trial from now on, good ones first."""
    check_overhead(overhead)
    if kind == "disk":
        raise UsageError(f"the disk is full ({value}); free some space, then the same command continues")
    if kind == "checkpoint" and verb == "start":
        raise UnusableCheckpoint(value)
    if kind != "ok":
        raise TrialFailed(value, overhead)
    return Reply(value, overhead)


class LocalExecutor:
    """Hands out worker processes; its clock is the time of day."""

    def __init__(self, spec: TrainerSpec, timeout: float):
        self.spec, self.timeout = spec, timeout
        self.gpus = gpus.visible() if spec.gpus_each else []
        self.fresh = spec.in_worker and bool(self.gpus)
        self.made = 0

    def worker(self) -> Worker:
        place = gpus.of_worker(self.made, self.spec.gpus_each, self.gpus)
        self.made += 1
        return Worker(self.spec, self.timeout, place, self.fresh)

    def ready(self, workers: Sequence[Worker]) -> list[Worker]:
        """The workers whose answer, or end, is there, or whose time is up."""
        by_connection = {w.connection: w for w in workers}
        answered = wait(list(by_connection), max(0.0, min(w.due for w in workers) - time.monotonic()))
        late = [w for w in workers if w.due <= time.monotonic() and w.connection not in answered]
        return [by_connection[c] for c in answered] + late

    def now(self) -> float:
        return time.time()
