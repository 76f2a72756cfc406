"""What every method proposes: within the problem, from its seed alone, with any number of trials pending, to an end."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from jfhpo.core.problem import ModelSize
from jfhpo.core.seeds import training_seed
from jfhpo.core.space import SearchSpace, config_key
from jfhpo.core.trial import Trial
from tests.baselines.conformance.parts import assert_lies_in_the_problem, check, completed, make, parallel, refuses, run
from tests.method.synthetic import SMALL, World, problem


@check("its seed alone")
def test_the_same_seed_and_results_give_the_same_trials_whatever_the_global_random_state(name):
    def trials(global_seed: int) -> list[Trial]:
        random.seed(global_seed)
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        return run(name, World())[1]

    assert trials(1) == trials(2)
    assert random.random() == random.Random(2).random()
    assert np.random.random() == np.random.RandomState(2).random_sample()
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(2))


@check("its seed alone")
def test_trials_have_the_studys_training_seed(name):
    """One seed for every configuration: the same prompts and draws."""
    _, trials = run(name, World(), trials=3, seed=7)
    assert {trial.seed for trial in trials} == {training_seed(7)}


@check("the recipe first")
def test_the_first_point_is_the_recipe_where_the_problem_says_so(name):
    _, (first, *_) = run(name, World(), trials=1)
    recipe = problem().recipe
    assert {k: v for k, v in first.config.items() if k != "lr"} == {k: v for k, v in recipe.items() if k != "lr"}
    mapped = problem().map_lr(recipe, "l", first.fidelity.model)
    assert any(first.config["lr"] == pytest.approx(lr) for lr in (recipe["lr"], mapped["lr"])), "as it is, or by width"


# -- within the problem


@check("whole fidelities")
def test_trials_lie_in_the_problem_and_are_numbered_from_zero(name):
    optimizer, world = make(name), World()
    trials = [trial for what, trial in parallel(optimizer, world, workers=2, trials=7) if what == "ask" and trial]
    assert [trial.id for trial in trials] == list(range(len(trials)))
    for trial in trials:
        assert_lies_in_the_problem(optimizer.problem, trial)


@check("whole fidelities")
def test_a_trial_resumes_only_from_steps_that_its_configuration_was_trained_for(name):
    optimizer, reached = make(name), {}
    for what, event in parallel(optimizer, World(), workers=2, trials=8):
        if what == "tell":
            key = (config_key(event.trial.config), event.trial.fidelity.model)
            reached[key] = max(reached.get(key, 0), event.steps_done)
        elif event is not None and event.resume_from:
            assert event.resume_from <= reached.get((config_key(event.config), event.fidelity.model), 0)


SHAPES = {
    "the proxy is the target": {"proxy": "l"},
    "one rung": {"rungs": (24,)},
    "one step": {"max_steps": 1, "rungs": (1,)},
    "every step a rung": {"max_steps": 5, "rungs": (1, 2, 3, 4, 5)},
    "a third model": {"family": (ModelSize("xs", 9000, 24, 0.5), *problem().family), "extra_models": ("xs",)},
    "proxy and target alike": {"family": (SMALL, ModelSize("l", 50_000, 48, 1.0))},
    "seconds": {"cost_unit": "seconds"},
    "tokens": {"cost_unit": "tokens"},
    "no recipe first": {"recipe_first": False},
}


@check("problems of any shape")
@pytest.mark.parametrize("shape", SHAPES)
def test_problems_of_any_shape(name, shape, record_property):
    of = problem(**SHAPES[shape])
    if refuses(name, of):
        record_property("refused", True)
        return
    optimizer, world = make(name, of), World(of)
    assert dict(optimizer.recommend()) == dict(of.recipe), "before anything ran"
    trials = [trial for what, trial in parallel(optimizer, world, workers=2, trials=5) if what == "ask" and trial]
    assert trials
    for trial in trials:
        assert_lies_in_the_problem(of, trial)
    of.space.validate(optimizer.recommend())


# -- pending


@check("many pending")
def test_sixteen_may_be_asked_for_before_one_is_told(name):
    optimizer, world = make(name), World()
    trials = [trial for _ in range(16) if (trial := optimizer.ask()) is not None]
    assert trials and list(optimizer.pending.values()) == trials
    for trial in trials:
        assert_lies_in_the_problem(optimizer.problem, trial)
    for trial in reversed(trials):
        optimizer.tell(world.run(trial))
    assert optimizer.pending == {}
    optimizer.problem.space.validate(optimizer.recommend())


@check("many pending")
def test_several_may_be_pending_in_the_midst_of_a_search(name):
    optimizer, world = make(name), World()
    list(world.drive(optimizer, trials=4))
    trials = [trial for _ in range(3) if (trial := optimizer.ask()) is not None]
    runs = [(config_key(trial.config), trial.fidelity) for trial in trials]
    assert len(set(runs)) == len(runs), "no run is asked for again while it is pending"
    for trial in trials:
        optimizer.tell(world.run(trial))


# -- to an end


@check("an end, or none")
@pytest.mark.parametrize("workers", [1, 3])
def test_nothing_to_run_means_that_something_is_pending_or_that_it_is_done_for_good(name, workers):
    """In a space of two configurations, where there is little left to try."""
    space = SearchSpace({"lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]}})
    of = problem(space=space, recipe={"lr_scheduler": "constant"})
    optimizer, world, asked = make(name, of), World(of), 0
    for what, event in parallel(optimizer, world, workers, trials=20, end=completed):
        asked += what == "ask" and event is not None
        if what == "ask" and event is None and not optimizer.pending:
            assert asked, "a method that never asks"
            assert [optimizer.ask() for _ in range(3)] == [None] * 3
    assert optimizer.planned is None or asked == min(optimizer.planned, 20)
    of.space.validate(optimizer.recommend())
