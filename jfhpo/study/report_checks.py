"""What a trainer may report. Anything else fails the trial, with the field, the value and the step as its reason.

A study judges configurations by these numbers, adds them up and hands them to a method, which refuses what cannot be.
So they are checked where they come in: a learning curve with a NaN in it is a failed trial, neither a good score nor
the end of the study.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from jfhpo.core.trainer import Evaluation
from jfhpo.core.trial import COST_UNITS, Cost, StepRecord

FINITE = ("reward_mean", "loss", "val_accuracy")
"""Fields of a step that decide something or say that the training broke. The others are diagnostics: a trainer that
does not measure one may report NaN."""
NUMBERS = tuple(f.name for f in dataclasses.fields(StepRecord) if f.name not in ("cost", "measured"))


class TrialFailed(RuntimeError):
    """The trial ended badly; the message is the reason to record."""

    def __init__(self, reason: str, overhead: Cost | None = None):
        super().__init__(reason)
        self.overhead = overhead or Cost()
        """Cost that no record carries."""


def check_step(record: Any, step: int, cost_unit: str) -> None:
    """Raise `TrialFailed` unless this is the record of `step`, and its numbers can be used.

    A cost of 0 in the budget's unit is refused too: with it no budget would ever be spent."""
    if record is None:
        raise TrialFailed(f"the trainer ended before step {step}, which the trial asks for")
    if not isinstance(record, StepRecord):
        raise TrialFailed(f"the trainer reported a {type(record).__name__} for step {step}; it must be a StepRecord")
    if flaw := _flaw_of_cost(record.cost):
        raise TrialFailed(f"{flaw} at step {step}")
    if record.cost.of(cost_unit) == 0:
        raise TrialFailed(f"cost.{cost_unit}=0 at step {step}; a step must cost something in the budget's unit")
    if record.step != step:
        raise TrialFailed(f"step={record.step} was reported where step {step} was due", record.cost)
    for name in NUMBERS:
        value = getattr(record, name)
        absent = name == "val_accuracy" and value is None
        if not absent and (flaw := _flaw(value, finite=name in FINITE)):
            raise TrialFailed(f"{name}={value!r} at step {step} {flaw}", record.cost)
    for name, value in record.measured.items():
        if flaw := _flaw(value, finite=True):
            raise TrialFailed(f"measured.{name}={value!r} at step {step} {flaw}", record.cost)


def check_evaluation(evaluation: Any, fields: Iterable[str], step: int) -> None:
    """Raise `TrialFailed` unless this is an evaluation whose `fields` are finite, and its cost one that can be."""
    if not isinstance(evaluation, Evaluation):
        kind = type(evaluation).__name__
        raise TrialFailed(f"the trainer reported a {kind} for its evaluation at step {step}; it must be an Evaluation")
    if flaw := _flaw_of_cost(evaluation.cost):
        raise TrialFailed(f"{flaw} in the evaluation at step {step}")
    for name in fields:
        value = getattr(evaluation, name)
        if flaw := _flaw(value, finite=True):
            raise TrialFailed(f"{name}={value!r} in the evaluation at step {step} {flaw}", evaluation.cost)


def check_overhead(overhead: Any) -> None:
    """Raise `TrialFailed` for a cost, of no particular step, that cannot be."""
    if flaw := _flaw_of_cost(overhead):
        raise TrialFailed(f"{flaw} in the trainer's overhead")


def _flaw(value: Any, finite: bool) -> str | None:
    if not isinstance(value, int | float):  # a tensor or None: it could not even be written down
        return "is not a plain number"
    return "is not finite" if finite and not math.isfinite(value) else None


def _flaw_of_cost(cost: Any) -> str | None:
    if not isinstance(cost, Cost):
        return f"cost={cost!r} is no Cost"
    for unit in COST_UNITS:
        value = getattr(cost, unit)
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            return f"cost.{unit}={value!r} is not a finite number from 0 on"
    return None
