"""Hosts a `PackedTrainer` in a worker process: what its slots were asked is carried out batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jfhpo.core.trainer import PackedTrainer, TrainingFailed
from jfhpo.core.trial import Cost
from jfhpo.study.executors.worker import attempt, make_trainer

Asked = tuple[int, str, tuple[Any, ...]]
"""Slot, verb and arguments."""
Answer = tuple[str, Any, Cost]
"""Kind, value and overhead, as `jfhpo.study.executors.worker` answers."""
Attempt = Callable[..., tuple[str, Any]]


class PackHost:
    """Stands where a worker process has its trainer, and answers batches."""

    def __init__(self, path: str, arguments: dict[str, Any]):
        self.trainer: PackedTrainer = make_trainer(path, arguments)

    def batch(self, asked: Sequence[Asked]) -> list[Answer]:
        """Carry out one request each of some slots."""
        return carry_out(self.trainer, asked, attempt)

    def overhead(self) -> Cost:
        """Nothing beside what slots are told."""
        return Cost()


def carry_out(trainer: PackedTrainer, asked: Sequence[Asked], attempt: Attempt) -> list[Answer]:
    """The answers to one request each of some slots: all their steps are taken at once, and all equal evaluations.
    `attempt` calls a method and says which exceptions are an answer."""
    found: dict[int, tuple[str, Any]] = {}
    together: dict[tuple[str, tuple[Any, ...]], list[int]] = {}
    for slot, verb, arguments in asked:
        if verb in ("next", "evaluate"):
            together.setdefault((verb, arguments), []).append(slot)
        else:
            found[slot] = attempt(getattr(trainer, verb), slot, *arguments)
    for (verb, arguments), slots in together.items():
        kind, value = attempt(trainer.advance if verb == "next" else trainer.evaluate, slots, *arguments)
        found |= {slot: (kind, value[slot] if kind == "ok" else value) for slot in slots}
    return [(*_alone(*found[slot]), trainer.overhead(slot)) for slot, _, _ in asked]


def _alone(kind: str, value: Any) -> tuple[str, Any]:
    """A trial that failed in a step which others took well."""
    return ("failed", str(value)) if isinstance(value, TrainingFailed) else (kind, value)
