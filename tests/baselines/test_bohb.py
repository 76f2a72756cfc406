"""BOHB: when it has a model, of which fidelity, how it splits the results, and that it learns from them."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest

from baselines.bohb import BOHB, BOHBSettings
from baselines.hyperband import Hyperband
from jfhpo.core.errors import UsageError
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Config, Status, Trial
from tests.method.synthetic import World, problem

pytest.importorskip("optuna")

NINE = problem(max_steps=27, rungs=(3, 9, 27))
"""Brackets of 9, 3, 1 configurations; 5, 1; 3. With d = 4 a model needs N_min + 2 = 7 results."""


def bohb(of=NINE, seed=0, **settings) -> BOHB:
    return BOHB(of, seed=seed, settings=BOHBSettings(**settings))


def told(search: BOHB, world: World, scores: list[float | None]) -> list[Trial]:
    """The trials asked next, all told these scores; None: failed."""
    trials = [search.ask() for _ in scores]
    for trial, score in zip(trials, scores, strict=True):
        status = Status.FAILED if score is None else Status.COMPLETED
        search.tell(dataclasses.replace(world.run(trial), status=status, score=score))
    return trials


def taught(score, runs: int = 40, **settings) -> tuple[BOHB, list[Config]]:
    """After so many random configurations of one rung, each told `score(its configuration)`: with the next 40."""
    wide = problem(max_steps=27, rungs=(27,))
    search, world = bohb(wide, random_fraction=0.0, **settings), World(wide)
    rng = np.random.default_rng(5)
    search.draw = lambda: wide.space.sample(rng, 1)[0]
    for trial in [search.ask() for _ in range(runs)]:
        value = score(trial.config)
        status = Status.FAILED if value is None else Status.COMPLETED
        search.tell(dataclasses.replace(world.run(trial), status=status, score=value))
    del search.draw
    return search, [search.ask().config for _ in range(40)]


def log_lr(configs: list[Config]) -> np.ndarray:
    return np.array([math.log10(config["lr"]) for config in configs])


# -- the brackets are Hyperband's


def test_fidelities_and_resuming_are_hyperbands():
    a = [r.trial for r in World(NINE).drive(bohb(), trials=44)]
    b = [r.trial for r in World(NINE).drive(Hyperband(NINE, seed=0), trials=44)]
    assert [(t.fidelity, t.resume_from) for t in a] == [(t.fidelity, t.resume_from) for t in b]
    without = [r.trial for r in World(NINE).drive(bohb(checkpoint_reuse=False), trials=44)]
    assert [(t.config, t.fidelity) for t in without] == [(t.config, t.fidelity) for t in a]
    assert {t.resume_from for t in without} == {0}
    down = [r.trial for r in World(NINE).drive(bohb(rounding="down"), trials=17)]
    assert [t.fidelity.steps for t in down[13:]] == [9, 9, 9, 27]


# -- when there is a model, and of what


def test_the_model_is_of_the_most_steps_with_enough_results():
    search, world = bohb(), World(NINE)
    told(search, world, [0.1] * 6)
    assert search.model_steps() is None, "6 of 7"
    told(search, world, [0.2])
    assert search.model_steps() == 3
    for rung in (2, 3, 1, 3):  # the rest of 9 at 3 steps, 3 at 9, 1 at 27, 3 more at 9
        told(search, world, [0.3] * rung)
    assert search.model_steps() == 3, "6 of 7 at 9 steps"
    told(search, world, [0.3])
    assert search.model_steps() == 9


def test_failures_count_as_results_but_never_as_good_ones():
    search, world = bohb(), World(NINE)
    told(search, world, [None] * 3 + [0.1] * 4)
    assert search.model_steps() is None, "7 results, of which 4 could be good and 5 have to be"
    told(search, world, [0.1])
    assert (search.model_steps(), search.good(3)) == (3, 5)


def test_cut_trials_are_no_results():
    search, world = bohb(), World(NINE)
    for trial in [search.ask() for _ in range(9)]:
        search.tell(world.run(trial, cut_at=2))
    assert search.results_at == {3: [], 9: [], 27: []}


@pytest.mark.parametrize("count, good", [(7, 5), (33, 5), (39, 5), (40, 6), (100, 15), (1000, 150)])
def test_the_split_is_the_papers(count, good):
    search = bohb()
    search.results_at[9] = [({}, 0.5)] * count
    assert search.good(9) == good, "max(d + 1, 15 %), rounded down"


@pytest.mark.parametrize("completed, failed, good", [(8, 92, 8), (14, 86, 14), (15, 85, 15), (60, 40, 15)])
def test_the_split_leaves_failures_among_the_bad(completed, failed, good):
    search = bohb()
    search.results_at[9] = [({}, -math.inf)] * failed + [({}, 0.5)] * completed
    assert search.good(9) == good


def test_the_split_is_a_setting():
    search = bohb(min_points=2, top_percent=50)
    told(search, World(NINE), [0.1] * 4)
    assert (search.model_steps(), search.good(3)) == (3, 2)
    told(search, World(NINE), [0.1] * 5)
    assert search.good(3) == 4


# -- what the model proposes


def test_before_there_is_a_model_what_was_told_changes_nothing():
    proposals = []
    for scores in ([0.1, 0.2, 0.3], [0.9, 0.1, None]):
        search = bohb(random_fraction=0.0)
        told(search, World(NINE), scores)
        proposals.append([search.ask().config for _ in range(6)])
    assert proposals[0] == proposals[1]


def test_with_a_model_it_proposes_where_the_good_ones_lie():
    _, low = taught(lambda config: -abs(math.log10(config["lr"]) + 4.0))
    _, high = taught(lambda config: -abs(math.log10(config["lr"]) + 2.0))
    # The range is 1e-5 to 1e-1, in which 40 random draws have a mean of −3.0 with a standard error of 0.18.
    assert log_lr(low).mean() < -3.5
    assert log_lr(high).mean() > -2.5


def test_it_learns_a_categorical_too():
    _, configs = taught(lambda config: float(config["lr_scheduler"] == "cosine"))
    assert sum(config["lr_scheduler"] == "cosine" for config in configs) > 30


def test_where_trials_fail_it_proposes_less():
    """The upper half of the learning rates fails, and what completes scores alike."""
    edge = -3.0
    _, configs = taught(lambda config: None if math.log10(config["lr"]) > edge else 0.5)
    assert (log_lr(configs) > edge).mean() < 0.1


def test_a_third_is_drawn_at_random():
    """What `random_fraction=1` proposes is what the same trial is where the coin says so."""
    proposals = {}
    for fraction in (1 / 3, 1.0):
        search = bohb(random_fraction=fraction)
        told(search, World(NINE), [0.1 * i for i in range(7)])
        proposals[fraction] = [search.ask().config for _ in range(120)][2:]  # the first rung's last two too
    same = [a == b for a, b in zip(*proposals.values(), strict=True)]
    assert 0.2 < np.mean(same) < 0.47, "1/3 ± 3 standard errors"


def test_parallel_proposals_differ():
    _, configs = taught(lambda config: -abs(math.log10(config["lr"]) + 3.0))
    assert len({config["lr"] for config in configs}) == len(configs)


def test_the_next_proposal_is_a_function_of_seed_id_and_results():
    def next_config(seed: int, scores: list[float]) -> Config:
        search = bohb(seed=seed, random_fraction=0.0)
        told(search, World(NINE), scores)
        return search.ask().config

    rising, falling = [0.1 * i for i in range(8)], [0.1 * (8 - i) for i in range(8)]
    assert next_config(0, rising) == next_config(0, rising)
    assert next_config(0, rising) != next_config(0, falling)
    assert next_config(0, rising) != next_config(1, rising)


def test_integers_ordinals_and_a_single_hyperparameter_keep_their_types():
    space = {"rollout_n": {"type": "integer", "low": 2, "high": 64, "log": True}}
    single = problem(space=SearchSpace(space), recipe={"rollout_n": 8}, rungs=(27,), max_steps=27)
    search = bohb(single, random_fraction=0.0)
    for i, trial in enumerate([search.ask() for _ in range(10)]):
        result = World(NINE).run(dataclasses.replace(trial, config=NINE.recipe))
        search.tell(dataclasses.replace(result, trial=trial, score=0.1 * i))
    for config in [search.ask().config for _ in range(10)]:
        assert single.space.validate(config) == config and type(config["rollout_n"]) is int


def test_it_says_nothing_and_warns_of_nothing(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        list(World(NINE).drive(bohb(random_fraction=0.0), trials=12))
    assert capfd.readouterr() == ("", "")


# -- settings


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"random_fraction": 1.2}, r"method.random_fraction=1.2 must lie between 0 and 1"),
        ({"top_percent": 0}, "method.top_percent=0 must lie between 1 and 99"),
        ({"candidates": 0}, "method.candidates=0 must be at least 1"),
        ({"min_points": -1}, "method.min_points=-1 must be at least 0"),
        ({"rounding": "nearest"}, "unknown method.rounding 'nearest'"),
        ({"eta": 1}, "method.eta=1 must be at least 2"),
    ],
)
def test_bad_settings_are_refused_by_name(wrong, says):
    with pytest.raises(UsageError, match=says):
        bohb(**wrong)
