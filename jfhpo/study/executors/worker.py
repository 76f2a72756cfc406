"""A worker process: ``python -m jfhpo.study.executors.worker FD SCRATCH`` hosts one trainer.

It answers one request at a time, and ends when the study closes the connection, or dies; the folder of its temporary
files ends with it.

It is started as a program of its own and not through `multiprocessing`, so that it imports its engine and nothing of
the study, and so that a study may be started from any script.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from jfhpo.core.trainer import CheckpointError, Trainer, TrainingFailed
from jfhpo.core.trial import StepRecord

DISK_IS_FULL = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing", "disk full: ")
"""What libraries, and a run of verl's, make of the error number."""


def make_trainer(path: str, arguments: dict[str, Any]) -> Trainer:
    """The trainer of ``package.module:Class``."""
    module, cls = path.split(":")
    return getattr(importlib.import_module(module), cls)(**arguments)


def serve(requests: Connection) -> None:
    """Make the trainer that the first message names, then answer until the study closes the connection.

    An answer is (kind, value, overhead); kind is ok, failed, checkpoint or disk.
    """
    trainer, steps = make_trainer(*requests.recv()), iter(())
    while True:
        try:
            verb, arguments = requests.recv()
        except EOFError:
            return
        kind, value = attempt(do, trainer, steps, verb, arguments)
        if kind == "ok":
            steps, value = value
        requests.send((kind, value, trainer.overhead()))


def attempt(work: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """``ok`` and what the work returned, or why it could not be done: ``failed``, ``checkpoint``, or where that is no
    fault of the trial's, ``disk``."""
    try:
        return "ok", work(*arguments)
    except TrainingFailed as error:
        return "disk" if is_of_the_disk(error) else "failed", str(error)
    except CheckpointError as error:
        return "disk" if is_of_the_disk(error) else "checkpoint", str(error)
    except MemoryError:
        return "failed", "out of memory"
    except Exception as error:  # the process boundary: whatever the engine raised becomes the trial's reason
        return "disk" if is_of_the_disk(error) else "failed", f"{type(error).__name__}: {error}"


def is_of_the_disk(error: BaseException | None) -> bool:
    """Whether a full disk or quota is behind an exception, as far as it, or one that it came from, says so."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(s in str(error) for s in DISK_IS_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def do(
    trainer: Trainer, steps: Iterator[StepRecord], verb: str, arguments: tuple[Any, ...]
) -> tuple[Iterator[StepRecord], Any]:
    """Carry out one verb; returns the iterator of steps from now on and the verb's value."""
    if verb == "start":
        return trainer.start(*arguments), None
    if verb == "next":
        return steps, next(steps, None)
    return steps, getattr(trainer, verb)(*arguments)


if __name__ == "__main__":
    atexit.register(shutil.rmtree, sys.argv[2], ignore_errors=True)  # the first to register is the last to run
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the study, which ends its workers
    serve(Connection(int(sys.argv[1])))
