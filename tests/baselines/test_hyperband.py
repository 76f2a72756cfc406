"""Hyperband on learning curves by formula: its schedule, its promotions, resuming, several workers."""

from __future__ import annotations

import dataclasses
from itertools import islice

import pytest

from baselines.hyperband import Hyperband, HyperbandSettings
from jfhpo.core.space import config_key
from jfhpo.core.trial import Fidelity, Status
from tests.method.synthetic import World, observed, problem

NINE = problem(max_steps=27, rungs=(3, 9, 27))
"""R = 9 units of 3 steps; with eta = 3: n = 9, ⌈3 · 3/2⌉ = 5, 3."""
CYCLE = [(3, 0)] * 9 + [(9, 3)] * 3 + [(27, 9)] + [(9, 0)] * 5 + [(27, 9)] + [(27, 0)] * 3
"""(steps, resume_from) of the trials of one round of brackets, one at a time."""


def hyperband(of=NINE, seed=0, **settings) -> Hyperband:
    return Hyperband(of, seed=seed, settings=HyperbandSettings(**settings))


def test_one_trial_at_a_time_it_runs_the_brackets_one_after_another_and_starts_again():
    trials = [r.trial for r in World(NINE).drive(hyperband(), trials=2 * len(CYCLE))]
    assert [(t.fidelity.steps, t.resume_from) for t in trials] == CYCLE * 2
    assert {t.fidelity.model for t in trials} == {"l"}


def test_without_reuse_the_same_trials_start_from_the_base():
    trials = [r.trial for r in World(NINE).drive(hyperband(checkpoint_reuse=False), trials=len(CYCLE))]
    assert [(t.fidelity.steps, t.resume_from) for t in trials] == [(steps, 0) for steps, _ in CYCLE]
    resumed = [r.trial for r in World(NINE).drive(hyperband(), trials=len(CYCLE))]
    assert [t.config for t in trials] == [t.config for t in resumed], "the same search at another price"


def test_reuse_pays_for_each_step_of_a_configuration_once():
    results = list(World(NINE).drive(hyperband(), trials=13))
    trained = {}
    for r in results:
        assert r.resumed_from == r.trial.resume_from
        trained.setdefault(config_key(r.trial.config), []).append(r.steps_done - r.resumed_from)
    assert sorted(map(sum, trained.values())) == [3] * 6 + [9] * 2 + [27]


def test_the_best_third_of_a_rung_goes_on():
    world = World(NINE)
    results = list(world.drive(hyperband(), trials=13))
    for low, high, next_high in ((0, 9, 12), (9, 12, 13)):
        rung = sorted(results[low:high], key=lambda r: -r.score)
        assert [r.trial.config for r in results[high:next_high]] == [r.trial.config for r in rung[: next_high - high]]


def test_rounded_down_it_has_the_brackets_of_table_1():
    trials = [r.trial for r in World(NINE).drive(hyperband(rounding="down"), trials=13 + 3 + 1 + 3)]
    assert [t.fidelity.steps for t in trials[13:]] == [9, 9, 9, 27, 27, 27, 27]


def test_every_bracket_is_of_new_configurations_and_the_first_is_the_recipe():
    trials = [r.trial for r in World(NINE).drive(hyperband(), trials=len(CYCLE))]
    new = [config_key(t.config) for t in trials if t.resume_from == 0]
    assert len(set(new)) == len(new) == 9 + 5 + 3
    assert trials[0].config == NINE.recipe


def test_the_configurations_depend_on_the_seed_alone():
    def new(seed, world):
        trials = [r.trial for r in world.drive(hyperband(seed=seed), trials=len(CYCLE))]
        return [t.config for t in trials if t.resume_from == 0]

    assert new(0, World(NINE)) == new(0, World(NINE, noise=0.3))
    assert new(0, World(NINE))[1:] != new(1, World(NINE))[1:]


def test_a_worker_that_would_wait_begins_the_next_bracket_and_promotions_go_before_its_rest():
    search, world = hyperband(), World(NINE)
    rung = [search.ask() for _ in range(9)]
    early = [search.ask() for _ in range(2)]
    assert [t.fidelity.steps for t in rung + early] == [3] * 9 + [9] * 2
    for trial in rung[:8]:
        search.tell(world.run(trial))
    assert search.ask().config not in [t.config for t in rung], "the rung is not complete"
    search.tell(world.run(rung[8]))
    promoted = [search.ask() for _ in range(3)]
    assert [(t.fidelity.steps, t.resume_from) for t in promoted] == [(9, 3)] * 3
    assert {config_key(t.config) for t in promoted} <= {config_key(t.config) for t in rung}
    assert search.ask().resume_from == 0, "then the rest of the second bracket"


def test_the_order_in_which_a_rung_is_told_does_not_matter():
    def promoted(order):
        search, world = hyperband(), World(NINE)
        rung = [search.ask() for _ in range(9)]
        for i in order:
            search.tell(world.run(rung[i]))
        return [search.ask().config for _ in range(3)]

    assert promoted(range(9)) == promoted(reversed(range(9))) == promoted((4, 2, 8, 0, 6, 1, 3, 7, 5))


def test_of_a_rung_that_mostly_failed_only_the_completed_go_on():
    search, world = hyperband(), World(NINE, fails=lambda trial: trial.id not in (2, 7))
    list(world.drive(search, trials=9))
    promoted = [search.ask(), search.ask()]
    assert {config_key(t.config) for t in promoted} == {config_key(world.trials[i].config) for i in (2, 7)}
    assert search.ask().resume_from == 0, "the place that is left is not filled with a failed one"


def test_an_early_stop_with_a_good_score_does_not_go_on():
    search, world = hyperband(), World(NINE)
    for trial in [search.ask() for _ in range(9)]:
        result = world.run(trial, cut_at=2 if trial.id == 4 else None)
        if trial.id == 4:
            result = dataclasses.replace(result, status=Status.EARLY_STOPPED, score=0.99)
        search.tell(result)
    assert world.trials[4].config not in [search.ask().config for _ in range(3)]


def test_the_best_at_the_most_steps_is_recommended():
    world = World(NINE)
    search = hyperband()
    list(world.drive(search, trials=9))
    best = max(world.trials, key=lambda t: observed(t.config, "l", 3, world.noise))
    assert search.recommend() == best.config, "at the most steps so far"
    list(world.drive(search, trials=len(CYCLE) - 9))
    full = [t for t in world.trials if t.fidelity.steps == 27]
    assert search.recommend() == max(full, key=lambda t: observed(t.config, "l", 27, world.noise)).config


def test_incumbent_any_steps_recommends_the_best_score_of_all():
    search, world = hyperband(incumbent="any_steps"), World(NINE)
    for i, trial in enumerate(search.ask() for _ in range(9)):
        search.tell(dataclasses.replace(world.run(trial), score=0.9 - 0.01 * i))
    search.tell(dataclasses.replace(world.run(search.ask()), score=0.2))
    assert search.recommend() == world.trials[0].config


def test_on_the_proxy_it_hands_its_best_configuration_over_as_it_is():
    search, world = hyperband(model="proxy"), World(NINE)
    trials = [r.trial for r in islice(world.drive(search), 13)]
    assert {t.fidelity.model for t in trials} == {"p"}
    assert trials[0].config == NINE.recipe
    assert search.recommend() == trials[12].config


def test_where_eta_is_above_the_steps_it_is_random_search():
    search = hyperband(eta=28, min_steps=1)
    assert {r.trial.fidelity for r in World(NINE).drive(search, trials=5)} == {Fidelity("l", 27)}


@pytest.mark.parametrize("reuse", [True, False])
def test_the_final_run_starts_from_a_shorter_one_where_checkpoints_are_reused(reuse):
    assert hyperband(checkpoint_reuse=reuse).checkpoint_reuse is reuse
