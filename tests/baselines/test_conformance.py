"""What every method promises, JF-HPO and baselines alike; a new file in ``baselines/`` is tested here by itself."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Status, Trial
from jfhpo.dynamics.early_stopping import PRESETS
from jfhpo.study.methods import method, methods
from tests.method.synthetic import World, problem

METHODS = sorted(methods())
pytestmark = pytest.mark.parametrize("name", METHODS)
FEW = {"initial": 3, "configs": 3, "candidates": 16, "neighbours": 4}
"""Settings that keep a method quick, for those that have them."""


@pytest.fixture(autouse=True)
def coarse_fits(monkeypatch):
    monkeypatch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", 5)


def make(name: str, seed: int = 0, of: Any = None) -> Optimizer:
    cls = method(name)
    few = {f.name: FEW[f.name] for f in dataclasses.fields(cls.Settings) if f.name in FEW}
    return cls(of or problem(), seed=seed, settings=cls.Settings(**few))


def run(name: str, world: World, trials: int = 6, **kwargs: Any) -> tuple[Optimizer, list[Trial]]:
    optimizer = make(name, **kwargs)
    return optimizer, [result.trial for result in world.drive(optimizer, trials=trials)]


def test_it_says_what_the_study_needs_to_know(name):
    optimizer = method(name)(problem(), seed=3)
    assert (optimizer.name, optimizer.seed) == (name, 3)
    assert optimizer.early_stopping in PRESETS
    assert isinstance(optimizer.checkpoint_reuse, bool)
    assert dataclasses.is_dataclass(optimizer.Settings)
    assert optimizer.summary() == {}


def test_trials_are_numbered_from_zero_and_lie_within_the_problem(name):
    optimizer, trials = run(name, World())
    assert trials
    assert [t.id for t in trials] == list(range(len(trials)))
    for trial in trials:
        optimizer.problem.check_fidelity(trial.fidelity)
        assert 0 <= trial.resume_from < trial.fidelity.steps
        assert set(trial.config) == set(optimizer.problem.space.names)
    assert {t.seed for t in trials} == {0}, "one seed for every configuration: the same prompts and draws"


def test_the_same_seed_and_results_give_the_same_trials_whatever_the_global_random_state(name):
    def trials(global_seed: int) -> list[Trial]:
        random.seed(global_seed)
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        return run(name, World())[1]

    assert trials(1) == trials(2)
    assert random.random() == random.Random(2).random()
    assert np.random.random() == np.random.RandomState(2).random_sample()


def test_the_first_point_is_the_recipe_where_the_problem_says_so(name):
    _, (first, *_) = run(name, World(), trials=1)
    recipe = problem().recipe
    assert {k: v for k, v in first.config.items() if k != "lr"} == {k: v for k, v in recipe.items() if k != "lr"}
    mapped = problem().map_lr(recipe, "l", first.fidelity.model)
    assert any(first.config["lr"] == pytest.approx(lr) for lr in (recipe["lr"], mapped["lr"])), "as it is, or by width"


def test_any_number_of_trials_may_be_pending_and_told_in_any_order(name):
    optimizer, world = make(name), World()
    for _ in range(3):
        trials = [trial for _ in range(3) if (trial := optimizer.ask()) is not None]
        for trial in reversed(trials):
            optimizer.tell(world.run(trial))
    optimizer.problem.space.validate(optimizer.recommend())


def test_before_anything_ran_it_recommends_a_configuration_of_the_space(name):
    optimizer = make(name)
    optimizer.problem.space.validate(optimizer.recommend())


@pytest.mark.parametrize("status", list(Status))
def test_a_search_in_which_every_trial_ends_alike_still_recommends(name, status):
    world = World(fails=lambda trial: status is Status.FAILED)
    optimizer = make(name)
    for _ in range(5):
        trial = optimizer.ask()
        if trial is None:
            break
        result = world.run(trial, cut_at=3 if status is Status.CUT else None)
        if status is Status.EARLY_STOPPED:
            result = dataclasses.replace(result, status=status, reason="zero_reward at step 6")
        assert result.status is status
        optimizer.tell(result)
    optimizer.problem.space.validate(optimizer.recommend())


def test_a_failed_trial_is_not_recommended_over_one_that_ran(name):
    optimizer, trials = run(name, World(fails=lambda trial: trial.id == 0))
    if len(trials) > 1:
        assert optimizer.recommend()["kl_loss_coef"] != trials[0].config["kl_loss_coef"]


def test_a_search_that_failed_throughout_so_far_goes_on(name):
    """The study ends a search in which everything fails; a method must not give up by itself."""
    healthy, sick = run(name, World())[1], run(name, World(fails=lambda trial: True))[1]
    assert len(sick) == len(healthy)


def test_an_unknown_name_is_refused_with_the_valid_ones(name):
    with pytest.raises(
        UsageError, match=rf"unknown method '{name}x' \(did you mean '{name}'\?\).*{', '.join(METHODS)}"
    ):
        method(name + "x")
