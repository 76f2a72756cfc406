"""SMAC: Hyperband's brackets in whole steps, the model's configurations in them, and nothing left behind."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
from itertools import islice, pairwise

import numpy as np
import pytest

pytest.importorskip("smac")
from smac.runhistory import StatusType

from baselines import smac_facade
from baselines.random_search import RandomSearch
from baselines.smac import Smac, SmacSettings
from jfhpo.core.errors import UsageError
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status
from tests.baselines.formula import drive, problem, result

MIXED = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "kl": {"type": "float", "low": 0.0, "high": 1.0},
    "n": {"type": "ordinal", "values": [4, 8, 16]},
    "scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
}
MIXED_START = {"lr": 3e-5, "kl": 0.9, "n": 4, "scheduler": "cosine"}
TWO_BY_TWO = {name: {"type": "categorical", "values": ["x", "y"]} for name in "ab"}


def mixed(**changes):
    return problem(MIXED, MIXED_START, **changes)


def make(of=None, seed=0, **settings):
    """From the problem's first rung on, unless said otherwise."""
    problem = of or mixed()
    return Smac(problem, seed=seed, settings=SmacSettings(**{"min_steps": problem.rungs[0]} | settings))


def peak(config, steps=24):
    """Best at lr = 10^−2.3, kl = 0.35, n = 16, constant: 1 at 24 steps."""
    off = (math.log10(config["lr"]) + 2.3) ** 2 / 8 + (config["kl"] - 0.35) ** 2
    value = 1.0 - off - 0.05 * (16 - config["n"]) / 12 - 0.05 * (config["scheduler"] == "cosine")
    return value - 0.1 * (1 - steps / 24)


# -- the brackets

BRACKETS_OF_27 = [(27, 1), (9, 3), (3, 9), (1, 27), (12, 3), (4, 9), (1, 27), (6, 9), (2, 27), (4, 27)]
"""(configurations, steps) of a round of Hyperband from 1 to 27 steps, η = 3: n = ⌈(s_max + 1) η^s / (s + 1)⌉."""


def test_the_brackets_are_those_of_hyperband():
    of = mixed(max_steps=27, rungs=(1, 9, 27))
    trials = drive(make(of, initial=70), peak, 69)
    assert [t.fidelity.steps for t in trials] == [steps for count, steps in BRACKETS_OF_27 for _ in range(count)]
    assert {t.fidelity.model for t in trials} == {"l"}
    new = [t for t in trials if t.resume_from == 0]
    assert len({config_key(t.config) for t in new}) == len(new) == 27 + 12 + 6 + 4


def test_the_best_third_is_promoted_and_resumes_from_where_it_was_left():
    of = mixed(max_steps=27, rungs=(1, 9, 27))
    trials = drive(make(of, initial=70), peak, 40)
    below = 0
    for (count, steps), (more, then) in pairwise(BRACKETS_OF_27[:4]):
        rung, promoted = trials[below : below + count], trials[below + count : below + count + more]
        best = sorted(rung, key=lambda t: -peak(t.config))[:more]
        assert {config_key(t.config) for t in promoted} == {config_key(t.config) for t in best}
        assert {(t.resume_from, t.fidelity.steps) for t in promoted} == {(steps, then)}
        below += count


def test_no_bracket_is_lost_to_rounding():
    """log(243) / log(3) is below 5 in floating point."""
    assert make(mixed(max_steps=243, rungs=(1, 243))).ask().fidelity.steps == 1


def test_steps_are_whole_and_the_last_are_the_problems():
    problem = mixed(max_steps=50, rungs=(12, 25, 50))
    trials = drive(make(problem), peak, 6)
    assert [t.fidelity.steps for t in trials] == [17, 17, 17, 50, 50, 50]  # 50 / 3 = 16.7
    assert make(problem, min_steps=0).ask().fidelity.steps == 6, "three rungs where nothing is said: 50 / 9 = 5.6"


def test_without_checkpoint_reuse_every_trial_starts_from_the_base():
    optimizer = make(checkpoint_reuse=False)
    assert {t.resume_from for t in drive(optimizer, peak, 8)} == {0}
    assert not optimizer.checkpoint_reuse
    assert make().checkpoint_reuse


# -- the model


def test_it_comes_nearer_to_the_best_than_random_search_in_as_many_full_runs():
    of = mixed(rungs=(24,))

    def best(made):
        return np.mean([max(peak(t.config) for t in drive(made(of, seed=seed), peak, 40)) for seed in range(4)])

    assert 1 - best(make) < 0.6 * (1 - best(RandomSearch))


def test_the_first_point_is_the_recipe_to_the_last_digit_and_then_come_random_ones():
    recipe = {**MIXED_START, "lr": 2.8000000000000003e-05}
    first, *others = drive(make(problem(MIXED, recipe)), peak, 5)
    assert first.config == recipe
    assert len({config_key(t.config) for t in others if t.resume_from == 0} - {config_key(recipe)}) == 3, (
        "and a promotion"
    )
    assert make(mixed(recipe_first=False)).ask().config != MIXED_START
    assert make(seed=1).ask().config == make(seed=2).ask().config
    assert drive(make(seed=1), peak, 2)[1].config != drive(make(seed=2), peak, 2)[1].config


def test_the_cheaper_forest_is_smacs_own(monkeypatch):
    cheap = drive(make(initial=3, retrain_after=2), peak, 7)
    monkeypatch.setattr(smac_facade, "_frugal", lambda model: model)
    assert drive(make(initial=3, retrain_after=2), peak, 7) == cheap


def test_a_new_process_with_another_hash_seed_proposes_the_same():
    """SMAC's local search starts from a set of configurations."""
    program = (
        "from tests.baselines.test_smac import *\n"
        "print(*[config_key(t.config) for t in drive(make(initial=3, retrain_after=2), peak, 10)])"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 10


def test_settings_reach_the_model():
    def configs(**settings):
        return [t.config for t in drive(make(initial=3, **settings), peak, 12)]

    usual = configs()
    assert configs(retrain_after=1) != usual
    assert configs(min_trials=4) != usual
    assert [t.fidelity.steps for t in drive(make(eta=2), peak, 8)] == [6, 6, 6, 6, 12, 12, 24, 12]


# -- results


def test_many_pending_are_told_in_any_order_and_none_is_asked_twice():
    optimizer = make()
    trials = [optimizer.ask() for _ in range(25)]
    assert len({(config_key(t.config), t.fidelity) for t in trials}) == 25
    for trial in reversed(trials):
        optimizer.tell(result(trial, peak(trial.config, trial.fidelity.steps)))
    promoted = [t for t in islice(iter(optimizer.ask, None), 10) if t.resume_from]
    assert promoted
    best_of_the_first_bracket = max(trials[:3], key=lambda t: peak(t.config))
    assert config_key(best_of_the_first_bracket.config) in {config_key(t.config) for t in promoted}


def test_what_smac_is_told():
    optimizer, told = make(), []
    endings = [(Status.COMPLETED, 0.75), (Status.FAILED, None), (Status.EARLY_STOPPED, 0.25), (Status.CUT, 0.5)]
    for status, score in endings:
        trial = optimizer.ask()
        info = optimizer.infos[trial.id]
        optimizer.tell(result(trial, score, status, trial.fidelity.steps if status is Status.COMPLETED else 4))
        (entry,) = [
            value
            for key, value in optimizer.smac.runhistory.items()
            if (key.config_id, key.budget) == (info.config.config_id, info.budget)
        ]
        told.append((entry.status, entry.cost))
    assert told[:3] == [(StatusType.SUCCESS, 0.25), (StatusType.CRASHED, 1.0), (StatusType.SUCCESS, 0.75)]
    assert told[3][0] is StatusType.RUNNING, "no judgement"
    assert optimizer.recommend() == MIXED_START


def test_a_failed_configuration_is_never_promoted():
    optimizer = make(initial=30)
    trials = drive(optimizer, lambda config, steps: None if config["n"] == 4 else peak(config, steps), 30)
    promoted = [t for t in trials if t.resume_from]
    assert promoted
    assert {t.config["n"] for t in promoted} <= {8, 16}


def test_the_recommendation_is_the_best_at_the_most_steps():
    optimizer = make()
    scores = iter([0.1, 0.9, 0.2, 0.8])  # three short runs, and the second of them promoted
    trials = drive(optimizer, lambda config, steps: next(scores), 4)
    assert optimizer.recommend() == trials[1].config
    trials += drive(optimizer, lambda config, steps: 0.85, 1)  # a full run of the next bracket
    assert (trials[4].fidelity.steps, optimizer.recommend()) == (24, trials[4].config)


# -- where there is little left


def test_a_space_of_four_is_searched_until_a_bracket_cannot_be_filled():
    optimizer = make(problem(TWO_BY_TWO, {"a": "x", "b": "x"}), initial=2)
    trials = drive(optimizer, lambda config, steps: 0.5 + 0.2 * (config["a"] == "y"), 40)
    assert len({(config_key(t.config), t.fidelity) for t in trials}) == len(trials) <= 8
    assert len({config_key(t.config) for t in trials}) >= 3
    assert [optimizer.ask() for _ in range(3)] == [None] * 3
    assert optimizer.recommend()["a"] == "y"


def test_asking_for_more_than_there_is_ends_and_promotions_still_come():
    optimizer = make(problem(TWO_BY_TWO, {"a": "x", "b": "x"}), initial=2)
    trials = list(islice(iter(optimizer.ask, None), 40))
    assert len({(config_key(t.config), t.fidelity) for t in trials}) == len(trials) <= 8
    short = [t for t in trials if t.fidelity.steps == 8]
    untold = [t for t in trials if t.fidelity.steps == 24]
    assert short and untold
    for trial in short:
        optimizer.tell(result(trial, 0.5))
    while (trial := optimizer.ask()) is not None:
        assert (config_key(trial.config), trial.fidelity) not in {(config_key(t.config), t.fidelity) for t in trials}
        trials.append(trial)
        optimizer.tell(result(trial, 0.6))
    for trial in untold:
        optimizer.tell(result(trial, 0.7))
    assert optimizer.recommend() in [t.config for t in untold]


# -- what it leaves alone


def test_no_file_thread_or_word_is_left(tmp_path, monkeypatch, capfd):
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir(), temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    threads, root = threading.enumerate(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    drive(make(initial=3), peak, 10)
    assert (os.listdir(here), os.listdir(temporary)) == ([], [])
    assert threading.enumerate() == threads
    assert (root.handlers, root.level) == (handlers, level)
    assert capfd.readouterr() == ("", "")


def test_the_problems_own_space_is_not_reseeded():
    of = mixed()
    of.space.configspace.seed(5)
    expected = mixed().space.configspace
    expected.seed(5)
    optimizer = make(of)
    state = of.space.configspace.random.get_state()[1].copy()
    drive(optimizer, peak, 3)
    assert (of.space.configspace.random.get_state()[1] == state).all()


def test_whoever_wants_to_hear_smac_does(monkeypatch):
    logger = logging.getLogger("smac")
    monkeypatch.setattr(logger, "level", logging.INFO)
    make()
    assert logger.level == logging.INFO


@pytest.mark.parametrize("setting, least", [("eta", 2), ("initial", 1), ("retrain_after", 1), ("min_trials", 1)])
def test_bad_settings_are_refused_by_name(setting, least):
    with pytest.raises(UsageError, match=rf"method\.{setting}={least - 1} must be at least {least}"):
        make(**{setting: least - 1})
