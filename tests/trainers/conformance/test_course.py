"""The course of a trial: step after step, the same whenever it is run, and whatever else there is in the process."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from jfhpo.core.trial import COST_UNITS, StepRecord
from jfhpo.study.report_checks import check_step
from tests.trainers.conformance.parts import (
    END,
    RUNG,
    SEED,
    assert_same,
    check,
    looked_at,
    make,
    reference,
    scramble,
    told,
    trial,
    without,
)


@check("steps in turn")
def test_steps_come_in_turn_as_a_study_wants_them_and_end_at_the_fidelity(name, trainer):
    steps = trainer.start(trial(name))
    for due in range(1, END + 1):
        record = next(steps)
        for unit in COST_UNITS:
            check_step(record, due, unit)
        read_back = StepRecord.from_json(json.loads(json.dumps(record.to_json())))
        assert_same(name, read_back.to_json(), record.to_json())
    assert next(steps, None) is None


@check("validates as asked")
@pytest.mark.parametrize("asked", [(), (1, 4), (2, END, END + 30)])
def test_validation_is_at_the_steps_asked_for_and_at_the_last(name, trainer, asked):
    records = list(trainer.start(trial(name, validate_at=asked)))
    wanted = sorted({step for step in asked if step <= END} | {END})
    assert [record.step for record in records if record.val_accuracy is not None] == wanted
    score = trainer.evaluate("validation", 1, greedy=False).mean_at_k
    assert_same(name, records[-1].val_accuracy, score, "the model evaluated as it does, and its last .val_accuracy")


@check("repeats")
def test_a_trial_repeats_in_the_same_trainer_and_in_another(name, trainer):
    assert_same(name, told(name, trainer.start(trial(name))), reference(name).steps)
    other = trainer.start(trial(name, 2, seed=SEED + 1))
    next(other)
    assert_same(name, told(name, trainer.start(trial(name))), reference(name).steps, "after a trial left at a step")
    assert_same(name, looked_at(name, trainer), reference(name).evaluations)


@check("repeats")
def test_so_it_does_in_another_process_with_another_hash_seed(name, elsewhere):
    assert_same(name, elsewhere["repeated"].steps, reference(name).steps)
    assert_same(name, elsewhere["repeated"].evaluations, reference(name).evaluations)


@check("another seed")
def test_another_seed_is_another_run(name, trainer):
    other = told(name, trainer.start(trial(name, seed=SEED + 1)))
    assert without(other, "cost") != without(reference(name).steps, "cost")


@check("random state")
def test_random_numbers_of_the_process_neither_decide_nor_are_disturbed(name, trainer):
    """Python's, numpy's and torch's global streams belong to whoever drives the trainer."""
    scramble(1)
    expected = [float(random.random()), float(np.random.rand()), float(torch.rand(()))]
    scramble(2)
    steps, found = trainer.start(trial(name)), []
    for at in range(END):
        scramble(3 + at)
        found.append(next(steps))
    assert_same(name, told(name, found), reference(name).steps)
    scramble(1)
    steps = trainer.start(trial(name, 2))
    next(steps)
    trainer.evaluate("test", 1)
    next(steps)
    assert [float(random.random()), float(np.random.rand()), float(torch.rand(()))] == expected


@check("schedule")
def test_a_step_is_the_same_in_a_short_trial_and_in_a_long_one(name, trainer):
    """Learning rates above all: their schedule spans the problem's steps, never the trial's."""
    short = told(name, trainer.start(trial(name, RUNG)))
    assert_same(name, without(short, "measured"), without(reference(name).steps[:RUNG], "measured"))


@check("another seed")
def test_a_model_that_was_trained_is_another_model(name):
    """Or all that is compared here would be of a trainer that does nothing."""
    trainer = make(name)
    next(trainer.start(trial(name, 1)))
    assert without(looked_at(name, trainer), "cost") != without(reference(name).evaluations, "cost")
