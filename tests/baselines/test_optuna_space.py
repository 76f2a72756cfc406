"""Search spaces in Optuna's words: by hand, round trips over random spaces, conditions, and studies made anew."""

from __future__ import annotations

import random
import time
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from baselines.optuna_space import OptunaSpace, quiet, seed_of
from jfhpo.core.space import SearchSpace

SPECS = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
    "grad_clip": {"type": "float", "low": 0.5, "high": 4.5},
    "warmup": {"type": "integer", "low": 0, "high": 9},
    "rank": {"type": "integer", "low": 1, "high": 64, "log": True},
    "rollout_n": {"type": "ordinal", "values": [4, 8, 16]},
    "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
}
POINT = {"lr": 1e-3, "grad_clip": 2.5, "warmup": 5, "rank": 8, "rollout_n": 16, "lr_scheduler": "cosine"}


def conditional() -> SearchSpace:
    """Two levels of conditions, the deepest hyperparameter declared first."""
    return SearchSpace(
        {
            "kl_horizon": {"type": "integer", "low": 1, "high": 9, "when": {"kl_type": "adaptive"}},
            "kl_loss_coef": {"type": "float", "low": 1e-3, "high": 1e-1, "log": True, "when": {"use_kl": True}},
            "kl_type": {"type": "categorical", "values": ["fixed", "adaptive"], "when": {"use_kl": True}},
            "use_kl": {"type": "categorical", "values": [False, True]},
            "lr": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        }
    )


ACTIVE = {
    (False, None): {"use_kl", "lr"},
    (True, "fixed"): {"use_kl", "lr", "kl_loss_coef", "kl_type"},
    (True, "adaptive"): {"use_kl", "lr", "kl_loss_coef", "kl_type", "kl_horizon"},
}
"""(use_kl, kl_type) -> the hyperparameters that are active then."""


def branch(config: dict[str, Any]) -> tuple[bool, str | None]:
    return config["use_kl"], config.get("kl_type")


def tpe(seed: int = 0, **options: Any) -> TPESampler:
    with quiet():
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=3, **options)


# -- distributions and parameters


def test_every_kind_of_hyperparameter_has_its_distribution():
    assert OptunaSpace(SearchSpace(SPECS)).distributions == {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "grad_clip": FloatDistribution(0.5, 4.5),
        "warmup": IntDistribution(0, 9),
        "rank": IntDistribution(1, 64, log=True),
        "rollout_n": IntDistribution(0, 2),
        "lr_scheduler": CategoricalDistribution(["constant", "cosine"]),
    }


def test_an_ordinal_is_its_index_and_everything_else_itself():
    params = OptunaSpace(SearchSpace(SPECS)).params(POINT)
    assert params == POINT | {"rollout_n": 2}


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [("lr", 3e-2, 1e-2), ("lr", 1e-9, 1e-5), ("grad_clip", 9, 4.5), ("warmup", 12, 9), ("rank", 0, 1)],
)
def test_a_number_beyond_its_range_is_the_nearest_end_of_it(name, value, end):
    space = OptunaSpace(SearchSpace(SPECS))
    params = space.params(POINT | {name: value})
    assert params[name] == end
    (trial,) = space.study(RandomSampler(seed=0), [(POINT | {name: value}, 0.5)]).trials
    assert trial.params == params


names = st.sampled_from(["a", "b", "c", "d", "e"])
words = st.lists(st.sampled_from(["x", "y", "z", True, False, 2, 0.5]), min_size=1, max_size=4, unique=True)
numbers = st.lists(st.integers(-9, 9) | st.floats(-9, 9).map(lambda x: x + 0.25), min_size=1, max_size=4, unique=True)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, Any]:
    kind, log = draw(st.sampled_from(["float", "integer"])), draw(st.booleans())
    low = draw(st.integers(1 if log else -50, 50)) if kind == "integer" else draw(st.floats(1e-6 if log else -50, 50))
    high = low + draw(st.integers(1, 100) if kind == "integer" else st.floats(1e-3, 100))
    return {"type": kind, "low": low, "high": high, "log": log}


specs = st.dictionaries(
    names,
    ranges()
    | words.map(lambda values: {"type": "categorical", "values": values})
    | numbers.map(lambda values: {"type": "ordinal", "values": values}),
    min_size=1,
)


@settings(max_examples=60, deadline=None)
@given(specs, st.integers(0, 99))
def test_configurations_survive_the_way_there_and_back_in_any_space(specs, seed):
    plain = SearchSpace(specs)
    space = OptunaSpace(plain)
    for config in plain.sample(np.random.default_rng(seed), 3):
        back = space.config(space.params(config))
        assert back == config
        assert list(back) == list(config)
        assert [type(value) for value in back.values()] == [type(value) for value in config.values()]


@settings(max_examples=25, deadline=None)
@given(specs, st.integers(0, 99), st.booleans())
def test_what_is_suggested_lies_in_the_space_whatever_that_is(specs, seed, by_model):
    plain = SearchSpace(specs)
    told = [(config, float(i)) for i, config in enumerate(plain.sample(np.random.default_rng(seed), 5))]
    space = OptunaSpace(plain)
    config = space.suggest(space.study(tpe(seed) if by_model else RandomSampler(seed=seed), told))
    assert plain.validate(config) == config


# -- conditions


def test_parents_come_before_the_hyperparameters_that_depend_on_them():
    order = list(OptunaSpace(conditional()).distributions)
    assert order.index("use_kl") < order.index("kl_type") < order.index("kl_horizon")
    assert order.index("use_kl") < order.index("kl_loss_coef")


def test_only_what_is_active_is_told_suggested_and_read_back():
    space = OptunaSpace(conditional())
    everything = {"kl_horizon": 3, "kl_loss_coef": 0.01, "kl_type": "adaptive", "use_kl": True, "lr": 1e-3}
    assert space.config(everything) == everything
    assert space.config(everything | {"kl_type": "fixed"}) == {
        "kl_loss_coef": 0.01,
        "kl_type": "fixed",
        "use_kl": True,
        "lr": 1e-3,
    }
    assert space.config(everything | {"use_kl": False}) == {"use_kl": False, "lr": 1e-3}
    assert space.params({"use_kl": False, "lr": 1e-3}) == {"use_kl": False, "lr": 1e-3}


def drawn(space: OptunaSpace, count: int) -> list[dict[str, Any]]:
    return [space.suggest(space.study(RandomSampler(seed=seed), [])) for seed in range(count)]


@pytest.mark.parametrize(
    "sampler",
    [
        lambda seed: RandomSampler(seed=seed),
        tpe,
        lambda seed: tpe(seed, constant_liar=True),
        lambda seed: TPESampler(seed=seed, n_startup_trials=3),
    ],
    ids=["random", "tpe", "tpe with a liar", "tpe of independent estimators"],
)
def test_suggestions_in_a_conditional_space_hold_what_is_active_and_no_more(sampler):
    space = OptunaSpace(conditional())
    configs = drawn(space, 24)
    for best in ACTIVE:  # scores that lead a model into each branch
        told = [(config, 0.01 * i + (branch(config) == best)) for i, config in enumerate(configs[:20])]
        seen = []
        for seed in range(12):
            config = space.suggest(space.study(sampler(seed), told, configs[20:]))
            assert set(config) == ACTIVE[branch(config)]
            seen.append(branch(config))
        assert best in seen


def test_a_group_is_modelled_from_the_trials_that_have_it():
    """A good region of a hyperparameter that half of the trials have: TPE finds it, so its values were not lost."""
    space = OptunaSpace(conditional())
    told = []
    for i, lr in enumerate(np.geomspace(1e-5, 1e-2, 40)):
        if i % 2:
            told.append(({"use_kl": False, "lr": float(lr)}, 0.1))
        else:
            kl = float(np.geomspace(1e-3, 1e-1, 40)[(i * 7) % 40])
            config = {"use_kl": True, "lr": float(lr), "kl_loss_coef": kl, "kl_type": "fixed"}
            told.append((config, 0.9 - abs(np.log10(kl / 5e-3))))
    configs = [space.suggest(space.study(tpe(seed), told)) for seed in range(30)]
    kl = [config["kl_loss_coef"] for config in configs if config["use_kl"]]
    assert len(kl) >= 20, "the branch that scores higher"
    assert 2.5e-3 < np.median(kl) < 1e-2


def test_filled_every_trial_has_every_parameter_and_every_configuration_only_what_is_active():
    space = OptunaSpace(conditional(), inactive="filled")
    params = space.params({"use_kl": False, "lr": 1e-3})
    assert params == {
        "kl_horizon": 5,  # the middle
        "kl_loss_coef": pytest.approx(1e-2),  # the middle of a log range
        "kl_type": "fixed",  # the first
        "use_kl": False,
        "lr": 1e-3,
    }
    assert space.config(params) == {"use_kl": False, "lr": 1e-3}
    told = [(config, 0.1 * i) for i, config in enumerate(drawn(space, 6))]
    with quiet():
        sampler = GPSampler(seed=0, n_startup_trials=3)
    config = space.suggest(space.study(sampler, told))
    assert set(config) == ACTIVE[branch(config)]


# -- studies


def test_a_study_holds_what_was_told_in_its_order_and_then_what_is_pending():
    space = OptunaSpace(SearchSpace(SPECS))
    first, second, third = (POINT | {"warmup": warmup} for warmup in (1, 2, 3))
    study = space.study(RandomSampler(seed=0), [(first, 0.4), (second, 0.2)], [third])
    assert [(t.state, t.value, t.params["warmup"]) for t in study.trials] == [
        (TrialState.COMPLETE, 0.4, 1),
        (TrialState.COMPLETE, 0.2, 2),
        (TrialState.RUNNING, None, 3),
    ]
    assert study.best_value == 0.4, "it maximises"


JUST_BELOW = 0.19999999999999998  # the largest double below 0.2


@pytest.mark.parametrize(
    ("scores", "failures", "values"),
    [
        ([None, 0.4, None, 0.2, None], "worst", [JUST_BELOW, 0.4, JUST_BELOW, 0.2, JUST_BELOW]),
        ([None, 0.4, None, 0.2, None], "ignore", [0.4, 0.2]),
        ([None, None], "worst", []),
        ([None, None], "ignore", []),
        ([0.2] + [None] * 12, "worst", [0.2] + [JUST_BELOW] * 9),
        ([0.2, 0.4] + [None] * 12, "worst", [0.2, 0.4] + [JUST_BELOW] * 12),
    ],
)
def test_a_failure_is_told_as_just_below_the_worst_score_once_there_is_one(scores, failures, values):
    space = OptunaSpace(SearchSpace(SPECS))
    told = [(POINT | {"grad_clip": 1 + 0.1 * i}, score) for i, score in enumerate(scores)]
    assert [t.value for t in space.study(RandomSampler(seed=0), told, failures=failures).trials] == values


@pytest.mark.parametrize("failed", [4, 30])
def test_no_failure_is_among_what_tpe_takes_for_good(failed):
    """One run scored, after failures far away: what is proposed lies about the one."""
    plain = SearchSpace({"lr": SPECS["lr"]})
    space = OptunaSpace(plain)
    told = [({"lr": 1e-5 * 1.02**i}, None) for i in range(failed)] + [({"lr": 9e-3}, 0.1)]
    proposed = [space.propose([tpe(seed)], told)["lr"] for seed in range(20)]
    assert np.median(proposed) > 1e-3


def test_equal_seeds_and_results_give_equal_proposals_and_touch_nothing_global():
    space = OptunaSpace(SearchSpace(SPECS))
    told = [(config, 0.1 * i) for i, config in enumerate(drawn(space, 6))]
    random.seed(1)
    np.random.seed(1)
    verbosity, filters = optuna.logging.get_verbosity(), list(warnings.filters)
    configs = [space.propose([tpe(seed)], told) for seed in (0, 1, 0)]
    assert configs[0] == configs[2] != configs[1]
    assert random.random() == random.Random(1).random()
    assert np.random.random() == np.random.RandomState(1).random_sample()
    assert (optuna.logging.get_verbosity(), list(warnings.filters)) == (verbosity, filters)


def test_nothing_is_logged_and_no_option_is_called_experimental(capfd):
    space = OptunaSpace(SearchSpace(SPECS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space.propose([tpe(0, constant_liar=True)], [(POINT, 0.5)], [POINT | {"warmup": 1}])
    assert capfd.readouterr() == ("", "")


def test_verbosity_is_put_back_after_an_error():
    verbosity = optuna.logging.get_verbosity()
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    assert optuna.logging.get_verbosity() == verbosity


def test_the_next_sampler_is_asked_where_one_repeats_what_is_told_failed_or_pending():
    plain = SearchSpace({"n": {"type": "ordinal", "values": [4, 8, 16, 32]}})
    space = OptunaSpace(plain)
    told, pending = [({"n": 4}, 0.9), ({"n": 8}, None)], [{"n": 16}]
    for failures in ("worst", "ignore"):
        config = space.propose((RandomSampler(seed=seed) for seed in range(60)), told, pending, failures)
        assert config == {"n": 32}
    used_up = [*pending, {"n": 32}]
    plain.validate(space.propose((RandomSampler(seed=seed) for seed in range(5)), told, used_up))


def test_seeds_differ_by_every_word_and_suit_numpy():
    seeds = [seed_of(a, b, c) for a in range(4) for b in range(4) for c in range(4)]
    assert len(set(seeds)) == 64
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seed_of(1, 2, 3) == seed_of(1, 2, 3)


def test_a_study_of_200_results_is_made_in_a_fraction_of_a_second():
    plain = SearchSpace(SPECS)
    told = [(config, 0.01 * i) for i, config in enumerate(plain.sample(np.random.default_rng(0), 200))]
    space = OptunaSpace(plain)
    start = time.process_time()
    space.propose([tpe()], told)
    assert time.process_time() - start < 0.5  # about 0.07 s; the bound leaves room for slow machines
