"""Trials, steps and costs survive the records unchanged; costs add up."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jfhpo.core.trial import COST_UNITS, Cost, Fidelity, Status, StepRecord, Trial, TrialResult

WHOLE = st.integers(0, 10**9)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text('ab_=é"', max_size=6)
COSTS = st.builds(Cost, FINITE, WHOLE, FINITE)
TRIALS = st.builds(
    Trial,
    id=WHOLE,
    config=st.dictionaries(TEXT, st.one_of(FINITE, WHOLE, st.booleans(), TEXT), max_size=3),
    fidelity=st.builds(Fidelity, TEXT, WHOLE),
    seed=WHOLE,
    resume_from=WHOLE,
    validate_at=st.lists(WHOLE, max_size=3).map(tuple),
)
FLOAT_FIELDS = [f.name for f in dataclasses.fields(StepRecord) if f.name not in ("step", "cost", "val_accuracy")]
STEPS = st.builds(
    StepRecord,
    step=WHOLE,
    cost=COSTS,
    val_accuracy=st.none() | FINITE,
    **dict.fromkeys(FLOAT_FIELDS, FINITE),
)


@settings(max_examples=40, deadline=None)
@given(trial=TRIALS)
def test_a_trial_comes_back_from_the_records_as_it_was(trial):
    again = Trial.from_json(json.loads(json.dumps(trial.to_json())))
    assert again == trial
    assert isinstance(again.validate_at, tuple)


@settings(max_examples=40, deadline=None)
@given(record=STEPS)
def test_a_step_comes_back_from_the_records_as_it_was(record):
    assert StepRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_an_unknown_field_in_the_records_is_not_swallowed():
    data = Trial(0, {}, Fidelity("p", 1), 0).to_json()
    with pytest.raises(TypeError, match="surprise"):
        Trial.from_json(data | {"surprise": 1})


def test_costs_add_and_subtract_unit_by_unit():
    total = Cost(1.5, 10, 4e12) + Cost(0.5, 5, 1e12)
    assert total == Cost(2.0, 15, 5e12)
    assert total - Cost(0.5, 5, 1e12) == Cost(1.5, 10, 4e12)
    assert sum([Cost(1, 2, 3)] * 3, Cost()) == Cost(3, 6, 9)


def test_a_cost_is_read_in_each_budget_unit():
    assert COST_UNITS == ("seconds", "tokens", "flops")
    assert [Cost(1.5, 10, 4e12).of(unit) for unit in COST_UNITS] == [1.5, 10.0, 4e12]


def step(at: int, validation: float | None = None) -> StepRecord:
    return StepRecord(at, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, Cost(1.0), validation)


def test_a_result_lists_only_the_validations_that_took_place():
    trial = Trial(3, {"lr": 1e-3}, Fidelity("p", 3), 0)
    curve = (step(1), step(2, 0.0), step(3, 0.25))
    result = TrialResult(trial, Status.COMPLETED, "", 3, 0.25, curve, Cost(3.0), Cost(3.0))
    assert result.validations() == [(2, 0.0), (3, 0.25)]
    told = json.loads(json.dumps(result.to_json()))
    assert (told["trial"], told["status"], told["score"], told["cost"]["seconds"]) == (3, "completed", 0.25, 3.0)
    assert Status(told["status"]) is Status.COMPLETED
