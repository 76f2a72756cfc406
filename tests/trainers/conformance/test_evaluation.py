"""Evaluation: the same however often it is asked for, and nothing that training would notice."""

from __future__ import annotations

import math

from tests.trainers.conformance.case import case
from tests.trainers.conformance.parts import (
    ASKED,
    assert_same,
    check,
    looked_at,
    reference,
    scramble,
    spec,
    told,
    trial,
)


@check("evaluation")
def test_looking_at_both_splits_after_every_step_changes_nothing_and_repeats(name, trainer):
    found = []
    for record in trainer.start(trial(name)):
        found.append(record)
        scramble(record.step)
        once = looked_at(name, trainer)
        scramble(record.step + 100)
        assert_same(name, looked_at(name, trainer), once, f"step {record.step}")
    assert_same(name, told(name, found), reference(name).steps)


@check("evaluation")
def test_what_was_asked_for_is_answered_with_numbers_that_can_be(name, trainer):
    next(trainer.start(trial(name, 1)))
    for split, k, seed in ASKED:
        found = trainer.evaluate(split, k, seed)
        assert found.split == split and (found.k == k or spec(name).simulated)  # or what was recorded
        assert found.prompts > 0
        assert math.isfinite(found.mean_at_k)
        for share in (found.mean_at_k, found.greedy, found.standard_error):
            assert math.isnan(share) or 0 <= share <= 1
        assert math.isnan(trainer.evaluate(split, k, seed, greedy=False).greedy) or found.greedy == found.mean_at_k


@check("disjoint splits")
def test_no_prompt_is_in_two_splits(name, trainer, record_property):
    prompts = case(name).prompts
    if isinstance(prompts, str):
        record_property("refused", True)
        return
    splits = {split: {str(prompt) for prompt in rows} for split, rows in prompts(trainer).items()}
    assert {"train", "validation", "test"} <= splits.keys() and all(splits.values())
    assert sum(map(len, splits.values())) == len(set().union(*splits.values()))
