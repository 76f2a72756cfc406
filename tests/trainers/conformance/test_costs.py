"""What a trial costs: finite, above zero, told once, and the sum of its parts."""

from __future__ import annotations

import math
import os
import time

import pytest

from jfhpo.core.trial import COST_UNITS, Cost
from tests.trainers.conformance.case import case
from tests.trainers.conformance.parts import END, RUNG, about, check, make, reference, spec, total, trial

AS_MUCH_AGAIN = 0.05
"""Seconds that clocks may differ by."""


@check("costs")
def test_every_step_costs_something_in_every_unit(name, trainer):
    for record in trainer.start(trial(name)):
        for unit in COST_UNITS:
            assert math.isfinite(record.cost.of(unit)) and record.cost.of(unit) > 0, unit


@check("costs")
@pytest.mark.parametrize("unit", ["tokens", "flops"])
def test_a_validated_step_costs_its_validation_too(name, trainer, unit):
    plain = next(trainer.start(trial(name, END, validate_at=()))).cost.of(unit)
    validated = next(trainer.start(trial(name, END, validate_at=(1,)))).cost.of(unit)
    validation = trainer.evaluate("validation", 1, greedy=False).cost.of(unit)
    assert validation >= 0
    assert validated == about(name, plain + validation, unit)


@check("costs")
@pytest.mark.parametrize("unit", ["tokens", "flops"])
def test_a_trial_in_two_parts_costs_what_it_costs_in_one(name, checkpoint, unit):
    first, later = make(name), make(name)
    parts = [r.cost for r in first.start(trial(name, RUNG))] + [r.cost for r in later.start(trial(name), checkpoint)]
    whole = sum(row["cost"][unit] for row in reference(name).steps)
    extra = first.overhead() + later.overhead()
    assert total(parts).of(unit) == about(name, whole, unit, END)
    assert extra.of(unit) == 0


@check("costs")
def test_no_second_is_told_twice(name, trainer, tmp_path):
    """All seconds told together, of steps, of evaluations and of what is between, are no more than passed (on every
    core, where an engine has processes of its own)."""
    trainer.overhead()
    began = time.perf_counter()
    costs = []
    for record in trainer.start(trial(name)):
        costs.append(record.cost)
        trainer.save(tmp_path / f"at-{record.step}")
        costs.append(trainer.evaluate("validation", 1).cost)
        costs.append(trainer.overhead())
    passed = time.perf_counter() - began
    cores = os.cpu_count() if case(name).processes else 1
    if not spec(name).simulated:
        assert 0 < total(costs).seconds <= cores * passed + AS_MUCH_AGAIN


@check("overhead")
def test_overhead_is_told_once(name, trainer, tmp_path):
    def told() -> Cost:
        cost = trainer.overhead()
        assert all(math.isfinite(cost.of(unit)) and cost.of(unit) >= 0 for unit in COST_UNITS)
        assert trainer.overhead() == Cost(), "a second time"
        return cost

    told()
    steps = trainer.start(trial(name))
    loading = told()
    next(steps)
    assert told() == Cost(), "the record carries the step"
    trainer.save(tmp_path / "at-1")
    saving = told()
    if not spec(name).simulated:
        assert loading.seconds > 0 and saving.seconds > 0
