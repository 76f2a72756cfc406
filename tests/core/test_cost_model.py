"""C(θ, φ, r): what a trial is expected to cost, learned from those that ran."""

from __future__ import annotations

import pytest

from jfhpo.core.cost_model import CostModel
from jfhpo.core.problem import ModelSize, Problem
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Cost, Fidelity, Status, StepRecord, Trial, TrialResult

NOTHING = Cost()


def problem(unit: str = "seconds") -> Problem:
    space = {"rollout_n": {"type": "ordinal", "values": [4, 8, 16]}}
    family = (ModelSize("xs", 1_000, 32, 1.0), ModelSize("p", 2_000, 48, 1.5), ModelSize("l", 40_000, 128, 12.0))
    return Problem("toy", "toy", SearchSpace(space), family, "xs", "l", 50, (10, 50), {"rollout_n": 4}, cost_unit=unit)


def ran(model: str, n: int | None, steps: int, a_step: Cost, overhead: Cost = NOTHING, resumed: int = 0) -> TrialResult:
    """A trial that ran from step `resumed` to `steps`; the steps before cost a hundred times as much."""
    before = Cost(100 * a_step.seconds, 100 * a_step.tokens, 100 * a_step.flops)
    curve = tuple(StepRecord(i + 1, 0.5, 0, 0, 0, 0, 0, 0, 0, before if i < resumed else a_step) for i in range(steps))
    cost = sum((r.cost for r in curve[resumed:]), overhead)
    config = {} if n is None else {"rollout_n": n}
    trial = Trial(0, config, Fidelity(model, steps), 0, resume_from=resumed)
    return TrialResult(trial, Status.COMPLETED, "", steps, 0.5, curve, cost, cost, resumed_from=resumed)


def test_nothing_is_expected_before_anything_ran():
    assert CostModel(problem()).expect("l", {"rollout_n": 4}, 10) is None


def test_cost_is_proportional_to_steps():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 10, Cost(2.0)))
    assert costs.expect("xs", {"rollout_n": 4}, 10) == pytest.approx(20.0)
    assert costs.expect("xs", {"rollout_n": 4}, 30) == pytest.approx(60.0)


@pytest.mark.parametrize("offset", [0, 1, 4, 16])
def test_how_a_step_grows_with_the_rollouts_is_learned(offset):
    """s · (a + n): part of a step does not grow with the rollouts. Two counts show how much."""
    costs = CostModel(problem())
    for n in (4, 16, 4, 16):
        costs.observe(ran("xs", n, 10, Cost(0.5 * (offset + n))))
    assert costs.expect("xs", {"rollout_n": 8}, 10) == pytest.approx(10 * 0.5 * (offset + 8))


def test_how_a_step_grows_is_the_same_for_every_size():
    costs = CostModel(problem())
    for n in (4, 16):
        costs.observe(ran("xs", n, 10, Cost(0.5 * (16 + n))))
    costs.observe(ran("l", 4, 10, Cost(5.0 * (16 + 4))))
    assert costs.expect("l", {"rollout_n": 16}, 10) == pytest.approx(10 * 5.0 * (16 + 16))


def test_more_rollouts_are_expected_to_cost_more_while_only_one_count_was_seen():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 10, Cost(2.0)))
    few, many = (costs.expect("xs", {"rollout_n": n}, 10) for n in (4, 16))
    assert few < many < 4 * few


def test_one_odd_trial_does_not_change_how_a_step_grows():
    costs = CostModel(problem())
    for n, odd in ((4, 1), (16, 1), (8, 1), (4, 1), (16, 7)):
        costs.observe(ran("xs", n, 10, Cost(odd * 0.5 * (4 + n))))
    assert costs.expect("xs", {"rollout_n": 8}, 10) == pytest.approx(10 * 0.5 * 12)


def test_the_fixed_part_is_paid_once_per_trial():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 10, Cost(2.0), overhead=Cost(7.0)))
    assert costs.expect("xs", {"rollout_n": 4}, 10) == pytest.approx(27.0)
    assert costs.expect("xs", {"rollout_n": 4}, 20) == pytest.approx(47.0)


def test_only_the_steps_that_were_run_count_in_a_resumed_trial():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 20, Cost(2.0), resumed=15))
    assert costs.expect("xs", {"rollout_n": 4}, 10) == pytest.approx(20.0)


def test_one_slow_trial_does_not_move_the_rate():
    costs = CostModel(problem())
    for seconds in (2.0, 2.0, 2000.0):
        costs.observe(ran("xs", 4, 10, Cost(seconds)))
    assert costs.expect("xs", {"rollout_n": 4}, 10) == pytest.approx(20.0)


@pytest.mark.parametrize(("steps", "a_step"), [(0, Cost(2.0)), (5, Cost(0.0, 100))])
def test_a_trial_that_took_no_step_or_no_time_teaches_nothing(steps, a_step):
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, steps, a_step, overhead=Cost(5.0)))
    assert costs.expect("xs", {"rollout_n": 4}, 10) is None


def test_a_size_that_never_ran_takes_the_rate_of_the_nearest_by_the_prior_ratio():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 10, Cost(2.0)))
    assert costs.expect("l", {"rollout_n": 4}, 10) == pytest.approx(12 * 20.0)
    costs.observe(ran("p", 4, 10, Cost(6.0)))  # nearer to l than xs is: 12 / 1.5 of its rate
    assert costs.expect("l", {"rollout_n": 4}, 10) == pytest.approx(8 * 60.0)


def test_the_nearest_size_may_be_the_smaller_one():
    costs = CostModel(problem())
    costs.observe(ran("l", 4, 10, Cost(99.0)))
    costs.observe(ran("xs", 4, 10, Cost(2.0)))
    assert costs.expect("p", {"rollout_n": 4}, 10) == pytest.approx(1.5 * 20.0)


def test_a_size_that_ran_is_priced_by_its_own_runs():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 10, Cost(2.0)))
    costs.observe(ran("l", 4, 10, Cost(5.0)))
    assert costs.expect("l", {"rollout_n": 4}, 10) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("unit", "a_step", "ratio"),
    [("seconds", 2.0, 12.0), ("flops", 3e9, 40.0), ("tokens", 500.0, 1.0)],
)
def test_each_budget_unit_is_read_from_the_records_and_scaled_by_its_own_prior(unit, a_step, ratio):
    """Between sizes that never ran: operations follow the parameters, seconds the family's own timings, tokens
    do not depend on the size."""
    costs = CostModel(problem(unit))
    costs.observe(ran("xs", 4, 10, Cost(2.0, 500, 3e9)))
    assert costs.expect("xs", {"rollout_n": 4}, 10) == pytest.approx(10 * a_step)
    assert costs.expect("l", {"rollout_n": 4}, 10) == pytest.approx(10 * a_step * ratio)


def test_a_space_without_rollouts_is_priced_by_steps_alone():
    costs = CostModel(problem())
    costs.observe(ran("xs", None, 10, Cost(2.0)))
    assert costs.expect("xs", {}, 5) == pytest.approx(10.0)


def test_an_overhead_that_was_measured_below_zero_is_not_credited():
    costs = CostModel(problem())
    costs.observe(ran("xs", 4, 10, Cost(2.0), overhead=Cost(-1.0)))
    assert costs.expect("xs", {"rollout_n": 4}, 10) == pytest.approx(20.0)
