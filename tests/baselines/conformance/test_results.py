"""What every method makes of results: in any order, good and bad ones, and what it recommends after them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jfhpo.core.trial import Status
from tests.baselines.conformance.parts import ENDINGS, assert_runs, check, completed, future, make, mixed, parallel, run
from tests.method.synthetic import World, problem


@check("any order")
@pytest.mark.parametrize("seed", range(2))
def test_results_may_come_in_any_order(name, seed):
    optimizer, world, order = make(name), World(), np.random.default_rng(seed)
    for _ in range(3):
        trials = [trial for _ in range(3) if (trial := optimizer.ask()) is not None]
        for i in order.permutation(len(trials)):
            optimizer.tell(mixed(world, trials[i]))
    assert optimizer.pending == {}
    optimizer.problem.space.validate(optimizer.recommend())


@check("any ending")
@pytest.mark.parametrize("end", dict.fromkeys(ENDINGS), ids=lambda end: end.__name__)
def test_a_search_in_which_every_trial_ends_alike_still_recommends(name, end):
    optimizer, world = make(name), World()
    results = [event for what, event in parallel(optimizer, world, 1, trials=5, end=end) if what == "tell"]
    assert results
    optimizer.problem.space.validate(optimizer.recommend())


@check("any ending")
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_in_which_trials_end_in_every_way_goes_on(name, workers):
    def told(end) -> int:
        return sum(what == "tell" for what, _ in parallel(make(name), World(), workers, trials=6, end=end))

    assert told(mixed) == told(completed)


@check("any ending")
def test_a_search_that_failed_throughout_so_far_goes_on(name):
    """The study ends a search in which everything fails; a method must not give up by itself."""
    healthy, sick = run(name, World())[1], run(name, World(fails=lambda trial: True))[1]
    assert len(sick) == len(healthy)


# -- the recommendation


@check("recommends what ran")
@pytest.mark.parametrize("recipe_first", [True, False])
def test_before_anything_ran_it_recommends_the_recipe(name, recipe_first):
    optimizer = make(name, problem(recipe_first=recipe_first))
    assert optimizer.recommend() == optimizer.problem.recipe
    optimizer.ask()
    assert optimizer.recommend() == optimizer.problem.recipe


@check("recommends what ran")
def test_it_recommends_a_configuration_that_has_a_score_whatever_else_happened(name):
    optimizer, scored, any_completed = make(name), [], False
    for what, result in parallel(optimizer, World(), workers=1, trials=8):
        if what == "tell":
            scored += [result.trial] if result.score is not None else []
            any_completed = any_completed or result.status is Status.COMPLETED
        if any_completed:
            assert_runs(optimizer.problem, optimizer.recommend(), scored)


@check("recommends what ran")
def test_a_failed_trial_is_not_recommended_over_one_that_ran(name):
    optimizer, trials = run(name, World(fails=lambda trial: trial.id == 0))
    if len(trials) > 1:
        assert optimizer.recommend()["kl_loss_coef"] != trials[0].config["kl_loss_coef"]


@check("recommends what ran")
def test_looking_changes_nothing(name):
    (optimizer, world), (watched, of_watched) = ((make(name), World()) for _ in range(2))
    for _ in range(5):
        watched.recommend()
        watched.summary()
        trial, same = optimizer.ask(), watched.ask()
        assert trial == same
        if trial is None:
            break
        optimizer.tell(world.run(trial))
        watched.tell(of_watched.run(same))
    assert dataclasses.astuple(world.spent) == dataclasses.astuple(of_watched.spent)
    assert future(optimizer, world) == future(watched, of_watched)
