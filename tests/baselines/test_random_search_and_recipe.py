"""The two simplest rows of the paper's table."""

from __future__ import annotations

import dataclasses

from baselines.random_search import RandomSearch
from baselines.recipe import Recipe
from jfhpo.core.seeds import training_seed
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status
from tests.method.synthetic import World, observed, problem

# -- random search


def test_every_draw_is_trained_in_full_on_the_target_and_from_scratch():
    world = World()
    list(world.drive(RandomSearch(problem(), seed=0), trials=8))
    assert {t.fidelity for t in world.trials} == {problem().full}
    assert {(t.resume_from, t.validate_at) for t in world.trials} == {(0, ())}
    assert len({config_key(t.config) for t in world.trials}) == 8


def test_the_recipe_is_its_first_point_only_where_the_problem_says_so():
    assert RandomSearch(problem(), seed=0).ask().config == problem().recipe
    without = problem(recipe_first=False)
    assert RandomSearch(without, seed=0).ask().config != without.recipe


def test_seeds_draw_different_configurations():
    draws = []
    for seed in (0, 1):
        search = RandomSearch(problem(), seed=seed)
        draws.append([search.ask().config for _ in range(4)][1:])
    assert draws[0] != draws[1]


def test_what_was_told_does_not_change_what_is_drawn():
    told, untold = RandomSearch(problem(), seed=0), RandomSearch(problem(), seed=0)
    trials = [r.trial for r in World().drive(told, trials=5)]
    assert [untold.ask() for _ in range(5)] == trials


def test_the_best_completed_run_is_recommended():
    world = World()
    search = RandomSearch(problem(), seed=0)
    list(world.drive(search, trials=8))
    best = max(world.trials, key=lambda t: observed(t.config, "l", 24, world.noise))
    assert search.recommend() == best.config


def test_neither_failed_nor_cut_runs_count_however_good():
    search, world = RandomSearch(problem(), seed=0), World()
    for status, score in ((Status.COMPLETED, 0.2), (Status.CUT, 0.9), (Status.FAILED, None), (Status.COMPLETED, 0.3)):
        result = dataclasses.replace(world.run(search.ask()), status=status, score=score)
        search.tell(result)
    assert search.recommend() == world.trials[3].config


def test_nothing_is_stopped_early_and_nothing_is_resumed():
    search = RandomSearch(problem(), seed=0)
    assert (search.early_stopping, search.checkpoint_reuse) == ("none", False)


# -- the recipe


def test_the_recipe_is_trained_once_in_full_on_the_target():
    world = World()
    assert [r.status for r in world.drive(Recipe(problem(), seed=4), trials=3)] == [Status.COMPLETED]
    (trial,) = world.trials
    assert (trial.config, trial.fidelity, trial.seed) == (problem().recipe, problem().full, training_seed(4))


def test_the_recipe_is_recommended_whatever_came_of_it():
    recipe = Recipe(problem(recipe_first=False), seed=0)
    world = World(fails=lambda trial: True)
    list(world.drive(recipe, trials=3))
    assert recipe.recommend() == problem().recipe
    assert recipe.ask() is None
