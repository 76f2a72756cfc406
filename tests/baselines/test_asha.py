"""ASHA's promotions against tables computed by hand."""

from __future__ import annotations

import dataclasses

import pytest

from baselines.asha import ASHA, ASHASettings
from jfhpo.core.errors import UsageError
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status, Trial
from tests.method.synthetic import World, observed, problem

NINE = problem(max_steps=27, rungs=(3, 9, 27))
"""Rungs 0, 1, 2 of 3, 9 and 27 steps with eta = 3."""


def asha(of=NINE, seed=0, **settings) -> ASHA:
    return ASHA(of, seed=seed, settings=ASHASettings(**settings))


def tell(search: ASHA, world: World, trial: Trial, score: float) -> None:
    search.tell(dataclasses.replace(world.run(trial), score=score))


# id: (whose configuration: a trial's id, or None for a new one; steps; score told)
ONE_WORKER = [
    (None, 3, 0.10),
    (None, 3, 0.20),
    (None, 3, 0.30),  # |rung 0| = 3: the best one, trial 2, may go on
    (2, 9, 0.35),
    (None, 3, 0.50),  # |rung 0| = 4: the best one is now trial 4
    (4, 9, 0.45),
    (None, 3, 0.05),  # |rung 0| = 5: trial 4 went on already
    (None, 3, 0.25),  # |rung 0| = 6: trials 4 and 2 went on already
    (None, 3, 0.40),  # |rung 0| = 7: trials 4 and 8, and 8 did not go on yet
    (8, 9, 0.60),  # |rung 1| = 3: trial 9, the same configuration, goes on, before anything in rung 0 is looked at
    (9, 27, 0.70),
    (None, 3, 0.28),  # |rung 0| = 8: trials 4 and 8 went on
    (None, 3, 0.01),  # |rung 0| = 9: trials 4, 8 and 2 went on
    (None, 3, 0.45),  # |rung 0| = 10: trials 4, 13 and 8
    (13, 9, 0.20),
]


def test_one_worker_gets_the_promotions_of_the_table():
    search, world, trials = asha(), World(NINE), []
    for source, steps, score in ONE_WORKER:
        trial = search.ask()
        known = [config_key(t.config) for t in trials]
        assert trial.fidelity.steps == steps, f"trial {trial.id}"
        if source is None:
            assert config_key(trial.config) not in known and trial.resume_from == 0, f"trial {trial.id}"
        else:
            assert trial.config == trials[source].config, f"trial {trial.id}"
            assert trial.resume_from == trials[source].fidelity.steps, f"trial {trial.id}"
        trials.append(trial)
        tell(search, world, trial, score)
    assert search.recommend() == trials[10].config, "the only one of 27 steps"


def test_eta_four_promotes_a_quarter():
    sixteen = problem(max_steps=16, rungs=(1, 4, 16))
    search, world = asha(sixteen, eta=4), World(sixteen)
    steps = []
    for i in range(10):
        trial = search.ask()
        steps.append(trial.fidelity.steps)
        tell(search, world, trial, 0.1 + 0.01 * i)
    # |rung 0| reaches 4 after trial 3; trial 5, the best so far, makes the one best of five; trial 7 that of six …
    assert steps == [1, 1, 1, 1, 4, 1, 4, 1, 4, 1]


def test_no_worker_waits_and_promotions_need_no_complete_rung():
    search, world = asha(), World(NINE)
    trials = [search.ask() for _ in range(6)]
    assert [t.fidelity.steps for t in trials] == [3] * 6, "nothing to promote: the bottom rung grows"
    for trial, score in zip(trials[3:], (0.2, 0.4, 0.3), strict=True):
        tell(search, world, trial, score)
    promoted = search.ask()
    assert (promoted.config, promoted.fidelity.steps, promoted.resume_from) == (trials[4].config, 9, 3)
    assert search.ask().resume_from == 0, "promoted once only, pending or not"


def test_of_several_promotable_ones_the_best_goes_first():
    search, world = asha(), World(NINE)
    trials = [search.ask() for _ in range(9)]
    for trial, score in zip(trials, (0.1, 0.9, 0.2, 0.7, 0.3, 0.8, 0.4, 0.5, 0.6), strict=True):
        tell(search, world, trial, score)
    assert [search.ask().config for _ in range(3)] == [trials[i].config for i in (1, 5, 3)]
    assert search.ask().fidelity.steps == 3


def test_failed_and_stopped_trials_count_in_their_rung_and_are_never_promoted():
    search, world = asha(), World(NINE, fails=lambda trial: trial.id in (0, 1))
    trials = [search.ask() for _ in range(9)]
    for trial in trials[:3]:
        search.tell(world.run(trial))
    assert search.ask().config == trials[2].config, "the best third of three, of which two failed"
    for trial in trials[3:]:
        result = world.run(trial, cut_at=2)
        search.tell(dataclasses.replace(result, status=Status.EARLY_STOPPED, score=0.99))
    assert search.ask().fidelity.steps == 3, "the best three of nine are one that went on and none else"


def test_cut_trials_do_not_count():
    search, world = asha(), World(NINE)
    trials = [search.ask() for _ in range(3)]
    search.tell(world.run(trials[0], cut_at=2))
    for trial in trials[1:]:
        search.tell(world.run(trial))
    assert search.ask().fidelity.steps == 3


def test_an_early_stopping_rate_leaves_out_the_shortest_rungs():
    assert asha().steps == (3, 9, 27)
    assert asha(early_stopping_rate=1).steps == (9, 27)
    assert asha(early_stopping_rate=2).steps == (27,)
    with pytest.raises(UsageError, match=r"early_stopping_rate=3 leaves no rung of \[3, 9, 27\] steps; at most 2$"):
        asha(early_stopping_rate=3)
    trials = [r.trial for r in World(NINE).drive(asha(early_stopping_rate=1), trials=4)]
    assert [(t.fidelity.steps, t.resume_from) for t in trials] == [(9, 0)] * 3 + [(27, 9)]


def test_without_reuse_promoted_configurations_start_from_the_base():
    with_, without = asha(), asha(checkpoint_reuse=False)
    a = [r.trial for r in World(NINE).drive(with_, trials=30)]
    b = [r.trial for r in World(NINE).drive(without, trials=30)]
    assert [(t.config, t.fidelity) for t in a] == [(t.config, t.fidelity) for t in b]
    assert {t.resume_from for t in a} == {0, 3, 9} and {t.resume_from for t in b} == {0}
    assert (with_.checkpoint_reuse, without.checkpoint_reuse) == (True, False)


def test_the_best_at_the_most_steps_is_recommended():
    search, world = asha(), World(NINE)
    list(world.drive(search, trials=60))
    full = [t for t in world.trials if t.fidelity.steps == 27]
    assert len(full) > 1
    assert search.recommend() == max(full, key=lambda t: observed(t.config, "l", 27, world.noise)).config


def test_on_the_proxy_every_trial_is():
    assert {r.trial.fidelity.model for r in World(NINE).drive(asha(model="proxy"), trials=8)} == {"p"}
