"""What is held back for the final run, and what is trained when it was not enough."""

from __future__ import annotations

from dataclasses import fields

import pytest

from jfhpo.core.cost_model import CostModel
from jfhpo.core.trial import Cost, Fidelity, Status, StepRecord, Trial, TrialResult
from jfhpo.study.history import History
from jfhpo.study.reserve import MARGIN, UNSEEN_MARGIN, Reserve
from tests.study.study_parts import problem

A, B = {"lr": 1e-3}, {"lr": 2e-3}


class Told:
    """A reserve, its history and cost model, and the trials that both are told."""

    def __init__(self, reuse: bool = True):
        self.problem = problem()
        self.history, self.costs = History(self.problem), CostModel(self.problem)
        known = self.history.steps_known if reuse else lambda config, model: 0
        self.reserve = Reserve(self.problem, self.history, self.costs, lambda c: known(c, self.problem.target), 1e9)

    def trial(self, config: dict, steps: list[float], model: str = "large") -> None:
        """One from scratch whose steps cost so many FLOPs each."""
        trial = Trial(self.history.asked, config, Fidelity(model, len(steps)), seed=0)
        self.history.asked += 1
        curve = self.history.curve(trial)
        unseen = dict.fromkeys({f.name for f in fields(StepRecord)} - {"step", "cost", "val_accuracy", "measured"}, 0.0)
        curve += [StepRecord(step=i, cost=Cost(flops=flops), **unseen) for i, flops in enumerate(steps, 1)]
        cost = Cost(flops=sum(steps))
        result = TrialResult(trial, Status.COMPLETED, "", len(steps), 0.5, tuple(curve), cost, cost_from_scratch=cost)
        self.history.add(result, "search")
        self.costs.observe(result)


def test_nothing_is_held_back_before_a_favourite_and_for_one_that_was_trained_in_full():
    told = Told()
    told.trial(A, [10.0] * told.problem.max_steps)
    assert told.reserve.needed(None) == told.reserve.needed(A) == 0


def test_a_size_that_was_never_run_is_given_more_to_spare():
    told = Told()
    told.trial(A, [10.0] * 5, model="small")
    guessed = told.costs.expect("large", A, told.problem.max_steps)
    assert told.reserve.needed(A) == pytest.approx(UNSEEN_MARGIN * guessed)


@pytest.mark.parametrize(("reuse", "steps"), [(True, 10), (False, 20)])
def test_the_steps_that_a_checkpoint_holds_are_paid(reuse, steps):
    told = Told(reuse)
    told.trial(A, [10.0] * 10)
    assert told.problem.max_steps == 20
    assert told.reserve.needed(A) == pytest.approx(MARGIN * steps * 10)


def test_steps_that_became_dearer_are_expected_to_stay_so():
    """Completions grew: its later half cost 30 a step, the median trial 10."""
    told = Told()
    told.trial(A, [10.0] * 5 + [30.0] * 5)
    told.trial(B, [10.0] * 5)
    told.trial({"lr": 3e-3}, [10.0] * 5)
    assert told.reserve.needed(A) == pytest.approx(MARGIN * 10 * 30)
    assert told.reserve.needed(B) == pytest.approx(MARGIN * 15 * 10)


def test_what_is_left_goes_to_the_newest_favourite_if_it_pays_for_it_and_else_to_the_cheaper():
    told = Told()
    told.trial(A, [10.0] * 15)
    told.trial(B, [10.0] * 5)
    need = {"A": MARGIN * 50, "B": MARGIN * 150}
    told.reserve.held_for = A
    assert told.reserve.choose(B, need["B"]) == (B, False)
    assert told.reserve.choose(B, need["B"] - 1) == (A, True)
    assert told.reserve.choose(B, need["A"] - 1) == (A, True), "a little short: better than a third of a run"
    told.reserve.held_for = B
    assert told.reserve.choose(A, need["A"] - 1) == (A, False), "the one before needs more still"
    told.reserve.held_for = None
    assert told.reserve.choose(A, -1.0) == (A, False)


def test_every_other_worker_may_be_in_the_middle_of_a_step():
    told = Told()
    told.trial(A, [10.0] * 10)
    told.reserve.workers = 4
    assert told.reserve.held_back(A) == pytest.approx(MARGIN * 100 + 3 * 10)
    told.trial(B, [10.0] * 20)
    assert told.reserve.held_back(B) == told.reserve.held_back(None) == 0, "nothing is to be trained"
