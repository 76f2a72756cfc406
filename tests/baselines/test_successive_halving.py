"""The schedules of Hyperband, ASHA and BOHB against tables computed by hand, and what else they share."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.successive_halving import (
    Bracket,
    Brackets,
    Job,
    RandomDraws,
    Rung,
    check_halving,
    checked_rung_steps,
    hyperband_brackets,
    incumbent,
    ranked,
    rung_steps,
)
from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Fidelity, Status, Trial, TrialResult
from tests.method.synthetic import World, problem

# -- rungs and brackets


@pytest.mark.parametrize(
    "min_steps, max_steps, eta, steps",
    [
        (1, 81, 3, (1, 3, 9, 27, 81)),
        (1, 50, 3, (2, 6, 17, 50)),  # 50/27 = 1.85, 50/9 = 5.56, 50/3 = 16.67
        (12, 50, 3, (17, 50)),  # R = 50/12 = 4.2: one halving
        (12, 50, 2, (12, 25, 50)),  # 50/4 = 12.5 goes to the even 12
        (1, 7, 2, (2, 4, 7)),  # 1.75, 3.5, 7
        (1, 1, 3, (1,)),
        (1, 2, 3, (2,)),  # eta above R
        (1, 2, 2, (1, 2)),
        (5, 14, 3, (14,)),
        (5, 15, 3, (5, 15)),
        (1, 243, 3, (1, 3, 9, 27, 81, 243)),  # math.log(243, 3) is 4.999…
        (1, 1000, 10, (1, 10, 100, 1000)),  # math.log(1000, 10) is 2.999…
    ],
)
def test_rungs_are_the_most_steps_over_powers_of_eta_in_whole_steps(min_steps, max_steps, eta, steps):
    assert rung_steps(min_steps, max_steps, eta) == steps


@given(st.integers(1, 400), st.integers(1, 400), st.integers(2, 7))
def test_rungs_rise_from_the_fewest_steps_at_least_to_the_most_exactly(a, b, eta):
    low, high = min(a, b), max(a, b)
    steps = rung_steps(low, high, eta)
    assert steps[0] >= low and steps[-1] == high
    assert all(below < above for below, above in pairwise(steps))
    assert low * eta ** (len(steps) - 1) <= high < low * eta ** len(steps)


R81_UP = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],  # n = ⌈5 · 27/4⌉ = ⌈33.75⌉
    [(15, 9), (5, 27), (1, 81)],  # n = ⌈5 · 9/3⌉
    [(8, 27), (2, 81)],  # n = ⌈5 · 3/2⌉ = ⌈7.5⌉
    [(5, 81)],
]
R81_DOWN = [  # Li et al. 2018, Table 1
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]
R50_UP = [
    [(27, 2), (9, 6), (3, 17), (1, 50)],
    [(12, 6), (4, 17), (1, 50)],  # n = ⌈4 · 9/3⌉
    [(6, 17), (2, 50)],  # n = ⌈4 · 3/2⌉
    [(4, 50)],
]
R50_DOWN = [
    [(27, 2), (9, 6), (3, 17), (1, 50)],
    [(9, 6), (3, 17), (1, 50)],  # ⌊4/3⌋ · 9
    [(6, 17), (2, 50)],
    [(4, 50)],
]
R7_UP = [[(4, 2), (2, 4), (1, 7)], [(3, 4), (1, 7)], [(3, 7)]]
R7_DOWN = [[(4, 2), (2, 4), (1, 7)], [(2, 4), (1, 7)], [(3, 7)]]
ODD = {(1, 3): [[(1, 1)]], (2, 3): [[(1, 2)]], (2, 2): [[(2, 1), (1, 2)], [(2, 2)]], (5, 9): [[(1, 5)]]}
"""(R, eta) -> brackets, the same for either rounding."""


def table(max_steps: int, eta: int, rounding: str) -> list[list[tuple[int, int]]]:
    brackets = hyperband_brackets(rung_steps(1, max_steps, eta), eta, rounding)
    return [[(rung.configs, rung.steps) for rung in bracket] for bracket in brackets]


@pytest.mark.parametrize(
    "max_steps, eta, up, down",
    [(81, 3, R81_UP, R81_DOWN), (50, 3, R50_UP, R50_DOWN), (7, 2, R7_UP, R7_DOWN)]
    + [(most, eta, brackets, brackets) for (most, eta), brackets in ODD.items()],
)
def test_brackets_are_those_of_the_paper_by_hand(max_steps, eta, up, down):
    assert table(max_steps, eta, "up") == up
    assert table(max_steps, eta, "down") == down


@given(st.integers(1, 2000), st.integers(2, 6), st.sampled_from(["up", "down"]))
def test_each_rung_keeps_the_eta_th_part_and_none_is_empty(max_steps, eta, rounding):
    for bracket in hyperband_brackets(rung_steps(1, max_steps, eta), eta, rounding):
        assert bracket[-1].steps == max_steps
        assert all(rung.configs >= 1 for rung in bracket)
        assert all(above.configs == below.configs // eta for below, above in pairwise(bracket))


def test_the_fewest_steps_are_the_problems_first_rung_unless_set():
    assert checked_rung_steps(problem(), eta=2, min_steps=0) == (6, 12, 24)
    assert checked_rung_steps(problem(), eta=3, min_steps=0) == (3, 8, 24), "from 6 there would be two"
    assert checked_rung_steps(problem(), eta=28, min_steps=0) == (24,), "nothing to halve"
    assert checked_rung_steps(problem(), eta=2, min_steps=3) == (3, 6, 12, 24)
    with pytest.raises(UsageError, match=r"^method.min_steps=25 is above problem.max_steps=24; lower it$"):
        checked_rung_steps(problem(), eta=2, min_steps=25)


@dataclasses.dataclass
class Settings:
    eta: int = 3
    min_steps: int = 0
    model: str = "target"
    incumbent: str = "most_steps"


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"eta": 1}, "method.eta=1 must be at least 2"),
        ({"min_steps": -1}, "method.min_steps=-1 must be at least 0"),
        ({"model": "prox"}, "unknown method.model 'prox'"),
        ({"incumbent": "last"}, "unknown method.incumbent 'last'"),
    ],
)
def test_bad_settings_are_refused_by_name(wrong, says):
    with pytest.raises(UsageError, match=says):
        check_halving(Settings(**wrong))


# -- ranking and the incumbent


def result(trial_id: int, score: float | None, status: Status = Status.COMPLETED, steps: int = 6) -> TrialResult:
    """Of a configuration that is its trial's id; a trial that did not complete was asked for 24 steps."""
    asked = steps if status is Status.COMPLETED else 24
    trial = Trial(trial_id, {"id": trial_id}, Fidelity("l", asked), seed=0)
    ran = World().run(dataclasses.replace(trial, config=problem().recipe), cut_at=steps)
    return dataclasses.replace(ran, trial=trial, status=status, score=score)


def test_only_completed_trials_are_ranked_best_first_and_ties_by_age():
    results = [
        result(4, 0.5),
        result(1, None, Status.FAILED),
        result(0, 0.9, Status.EARLY_STOPPED),
        result(2, 0.5),
        result(5, 0.8, Status.CUT),
        result(3, 0.7),
    ]
    assert [r.trial.id for r in ranked(results)] == [3, 2, 4]


@pytest.mark.parametrize(
    "results, most, any_",
    [
        ([result(0, 0.9, steps=6), result(1, 0.5, steps=12), result(2, 0.6, steps=12)], 2, 0),
        ([result(1, 0.5), result(0, 0.5)], 0, 0),
        ([result(0, 0.3), result(1, 0.9, Status.EARLY_STOPPED, 20), result(2, 0.8, Status.CUT, 23)], 0, 0),
        ([result(0, 0.4, Status.EARLY_STOPPED, 9), result(1, 0.6, Status.EARLY_STOPPED, 8)], 0, 0),
        ([result(1, None, Status.FAILED), result(0, None, Status.FAILED)], 0, 0),
        ([result(0, None, Status.FAILED), result(1, 0.1, Status.CUT)], 1, 1),
    ],
    ids=["steps first", "ties", "only completed", "furthest stop", "all failed", "better than failed"],
)
def test_the_incumbent(results, most, any_):
    assert incumbent(results, "most_steps", problem()) == {"id": most}
    assert incumbent(results, "any_steps", problem()) == {"id": any_}


def test_before_any_result_the_recipe_is_the_incumbent():
    assert incumbent([], "most_steps", problem()) == problem().recipe


# -- draws


def test_the_recipe_is_drawn_first_where_the_problem_says_so_and_the_rest_by_seed():
    draws = RandomDraws(problem(), seed=1)
    drawn = [draws.next() for _ in range(3)]
    without = RandomDraws(problem(recipe_first=False), seed=1)
    assert drawn[0] == problem().recipe
    assert [without.next(), without.next()] == drawn[1:]
    assert RandomDraws(problem(recipe_first=False), seed=2).next() != drawn[1]


# -- one bracket, and several

THREE = (Rung(4, 6), Rung(2, 12), Rung(1, 24))


def start(bracket: Bracket, count: int) -> list[Job]:
    return [bracket.start() for _ in range(count)]


def test_a_rung_starts_with_the_best_of_the_one_below_once_all_of_that_is_told():
    bracket = Bracket(THREE)
    assert [(j.config, j.steps, j.trained) for j in start(bracket, 4)] == [(None, 6, 0)] * 4
    for trial_id, score in ((3, 0.1), (1, 0.4), (0, 0.3)):
        assert not bracket.waiting
        bracket.observe(result(trial_id, score))
    assert not bracket.waiting, "one is still running"
    bracket.observe(result(2, 0.2))
    assert [(j.config, j.steps, j.trained) for j in start(bracket, 2)] == [({"id": 1}, 12, 6), ({"id": 0}, 12, 6)]
    bracket.observe(result(0, 0.6))
    bracket.observe(result(1, 0.5))
    assert [(j.config, j.steps, j.trained) for j in start(bracket, 1)] == [({"id": 0}, 24, 12)]
    assert not bracket.over
    bracket.observe(result(0, 0.7))
    assert bracket.over and not bracket.waiting


def test_a_rung_does_not_start_while_one_of_the_below_was_not_even_asked():
    bracket = Bracket(THREE)
    start(bracket, 2)
    bracket.observe(result(0, 0.1))
    bracket.observe(result(1, 0.1))
    assert list(bracket.waiting) == [None, None]


def test_failed_and_stopped_trials_are_not_promoted_even_where_places_are_left():
    bracket = Bracket(THREE)
    start(bracket, 4)
    bracket.observe(result(0, 0.9, Status.EARLY_STOPPED, 5))
    bracket.observe(result(1, None, Status.FAILED))
    bracket.observe(result(2, 0.1))
    bracket.observe(result(3, None, Status.FAILED))
    assert list(bracket.waiting) == [{"id": 2}]


def test_a_bracket_of_which_nothing_completed_is_over():
    bracket = Bracket(THREE)
    start(bracket, 4)
    for trial_id in range(4):
        bracket.observe(result(trial_id, None, Status.FAILED))
    assert bracket.over


def test_brackets_follow_each_other_again_and_again_and_the_fewest_steps_go_first():
    brackets = Brackets([(Rung(2, 6), Rung(1, 24)), (Rung(1, 24),)])
    jobs = [brackets.next_job() for _ in range(4)]
    for trial_id, job in enumerate(jobs):
        brackets.started(trial_id, job)
    assert [job.steps for job in jobs] == [6, 6, 24, 6], "the second bracket, and the first again, while rung 0 runs"
    brackets.observe(result(1, 0.2))
    brackets.observe(result(0, 0.1))
    short, promoted = brackets.next_job(), brackets.next_job()
    assert (short.config, short.steps, short.bracket) == (None, 6, jobs[3].bracket)
    assert (promoted.config, promoted.steps, promoted.bracket) == ({"id": 1}, 24, jobs[0].bracket)
    brackets.started(4, promoted)
    brackets.observe(result(4, 0.3))
    brackets.observe(result(2, 0.3))
    assert brackets.open == [jobs[3].bracket], "those that are over are gone"


def test_of_equal_steps_the_oldest_bracket_goes_first():
    brackets = Brackets([(Rung(1, 6), Rung(1, 12)), (Rung(2, 12),)])
    brackets.started(0, brackets.next_job())
    brackets.started(1, brackets.next_job())
    brackets.observe(result(0, 0.1))
    assert [brackets.next_job().config for _ in range(2)] == [{"id": 0}, None]
