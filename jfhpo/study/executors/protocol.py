"""What a study and an executor say to each other: `TrainerSpec`, `Reply`, and what a worker and its executor can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jfhpo.core.trial import Cost


@dataclass(frozen=True)
class TrainerSpec:
    """How to make a trainer in another process."""

    name: str
    path: str
    """``package.module:Class``, imported where trials run: the study's own process needs no engine."""
    arguments: dict[str, Any]
    version: str
    """Hash of the code and settings that decide what a trial turns out to be: part of every checkpoint's key."""
    simulated: bool = False
    """Whether costs are told and no time passes."""
    packed: str = ""
    """``package.module:Class`` of the `jfhpo.core.trainer.PackedTrainer` that trains many such trials at once, made
    with the same arguments and a ``device``; empty where there is none."""
    gpus_each: int = 0
    """GPUs that each worker has to itself, on a machine with so many; 0: it sees all there are."""
    in_worker: bool = False
    """Whether a GPU is used by the worker's own process, which then ends with its trial: libraries leave memory behind
    (vLLM's engine), and variables that the next one would read, and after a fault on the device nothing works."""


@dataclass(frozen=True)
class Reply:
    """What came back for one request."""

    value: Any
    """The record, the evaluation, or None; None also for "next" once the fidelity is reached."""
    overhead: Cost
    """Cost that no record carries."""


class UnusableCheckpoint(RuntimeError):
    """The trainer refused the checkpoint that it was to start from; the trial can start from the base model."""


class Worker(Protocol):
    """Hosts one trainer. At most one request is under way."""

    def send(self, verb: str, *arguments: Any) -> None: ...

    def receive(self) -> Reply:
        """The answer to the request under way; raises `TrialFailed` or `UnusableCheckpoint`."""

    def call(self, verb: str, *arguments: Any) -> Reply:
        """`send` and `receive`."""

    def close(self) -> None: ...


class Executor(Protocol):
    """Where a study's trials run."""

    def worker(self) -> Worker: ...

    def ready(self, workers: Sequence[Worker]) -> list[Worker]:
        """Waits for an answer of any of these busy workers; those whose answer is there."""

    def now(self) -> float:
        """Seconds on the executor's clock."""
