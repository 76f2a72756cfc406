"""The search space: reproducible draws, a unit-cube encoding, and refusals that say what is allowed."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from jfhpo.core.errors import UsageError, nearest, unknown
from jfhpo.core.space import SearchSpace, config_key

SPECS = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
    "grad_clip": {"type": "float", "low": 0.5, "high": 4.5},
    "warmup": {"type": "integer", "low": 1, "high": 9},
    "rollout_n": {"type": "ordinal", "values": [4, 8, 16]},
    "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
    "loss": {"type": "categorical", "values": ["token", "sequence", "dr"]},
}
POINT = {"lr": 1e-3, "grad_clip": 2.5, "warmup": 5, "rollout_n": 8, "lr_scheduler": "constant", "loss": "token"}


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(SPECS)


# -- sampling


def test_equal_generators_draw_equal_configurations(space):
    drawn = space.sample(np.random.default_rng(3), 5)
    assert drawn == SearchSpace(SPECS).sample(np.random.default_rng(3), 5)
    assert drawn == space.sample(np.random.default_rng(3), 5), "what was drawn before must not matter"
    assert drawn != space.sample(np.random.default_rng(4), 5)


def test_consecutive_draws_from_one_generator_differ(space):
    rng = np.random.default_rng(0)
    assert space.sample(rng, 3) != space.sample(rng, 3)
    assert len({config_key(c) for _ in range(10) for c in space.sample(rng, 1)}) == 10


def test_sampling_neither_reads_nor_moves_global_random_state(space):
    def draw(seed: int) -> list[dict]:
        random.seed(seed)
        np.random.seed(seed)
        rng = np.random.default_rng(7)
        return [*space.sample(rng, 4), *space.spread(rng, 4), space.neighbour(POINT, rng, 0.3)]

    assert draw(1) == draw(2)
    assert random.random() == random.Random(2).random()
    assert np.random.random() == np.random.RandomState(2).random_sample()


def test_a_log_range_is_drawn_log_uniformly_and_a_plain_one_uniformly(space):
    drawn = space.sample(np.random.default_rng(0), 800)
    decades = [(math.log10(c["lr"]) + 5) / 3 for c in drawn]
    assert kstest(decades, "uniform").pvalue > 1e-4
    assert kstest([(c["grad_clip"] - 0.5) / 4 for c in drawn], "uniform").pvalue > 1e-4


def test_every_value_of_a_list_is_drawn_about_equally_often(space):
    drawn = space.sample(np.random.default_rng(0), 900)
    for name in ("rollout_n", "lr_scheduler", "loss"):
        values = SPECS[name]["values"]
        for value in values:
            share = sum(c[name] == value for c in drawn) / len(drawn)
            assert share == pytest.approx(1 / len(values), abs=0.06), (name, value)


def test_drawn_values_are_plain_python_in_the_spaces_order(space):
    (drawn,) = space.sample(np.random.default_rng(0), 1)
    assert list(drawn) == list(SPECS)
    assert [type(v) for v in drawn.values()] == [float, float, int, int, str, str]


def test_drawn_values_of_a_list_are_the_lists_own():
    """Whole numbers beside fractions stay whole, or the recipe and its equal draw would have different keys."""
    drawn = SearchSpace({"epochs": {"type": "ordinal", "values": [1, 0.5, 2]}}).sample(np.random.default_rng(0), 40)
    assert {repr(c["epochs"]) for c in drawn} == {"1", "0.5", "2"}


# -- designs that cover the space


def test_a_spread_covers_every_range_more_evenly_than_chance(space):
    """16 points of a Sobol sequence: one in each sixteenth of each range, each value as often as another."""
    for seed in range(5):
        unit = space.encode(space.spread(np.random.default_rng(seed), 16))[:, :2]
        assert (np.sort((unit * 16).astype(int), axis=0) == np.arange(16)[:, None]).all()
        schedulers = [c["lr_scheduler"] for c in space.spread(np.random.default_rng(seed), 16)]
        assert schedulers.count("cosine") == 8


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_spread_is_as_many_valid_configurations_as_asked_and_reproducible(space, count):
    drawn = space.spread(np.random.default_rng(1), count)
    assert len({config_key(c) for c in drawn}) == len(drawn) == count
    assert [space.validate(c) for c in drawn] == drawn
    assert drawn == SearchSpace(SPECS).spread(np.random.default_rng(1), count)
    assert drawn != space.spread(np.random.default_rng(2), count)


# -- encoding


def test_encoding_takes_log_ranges_in_log_space_ordinals_by_rank_and_categoricals_by_indicator(space):
    low = POINT | {"lr": 1e-5, "grad_clip": 0.5, "warmup": 1, "rollout_n": 4}
    high = POINT | {"lr": 1e-2, "grad_clip": 4.5, "warmup": 9, "rollout_n": 16, "lr_scheduler": "cosine", "loss": "dr"}
    middle = POINT | {"lr": 10**-3.5, "loss": "sequence"}
    #                                   lr   clip warm n    cosine token sequence dr
    expected = [[0, 0, 0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5, 0, 0, 1, 0]]
    assert space.encode([low, high, middle]) == pytest.approx(np.array(expected, dtype=float))


def test_a_learning_rate_mapped_beyond_its_range_is_encoded_beyond_the_cube(space):
    assert space.encode([POINT | {"lr": 1e-1}])[0, 0] == pytest.approx(4 / 3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_draws_lie_in_the_space_and_in_the_unit_cube(seed):
    space = SearchSpace(SPECS)
    drawn = space.sample(np.random.default_rng(seed), 3)
    encoded = space.encode(drawn)
    assert encoded.min() >= 0 and encoded.max() <= 1
    assert [space.validate(c) for c in drawn] == drawn


# -- neighbours


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.0, 5.0))
def test_a_neighbour_stays_inside_the_space(seed, scale):
    space, rng = SearchSpace(SPECS), np.random.default_rng(seed)
    (start,) = space.sample(rng, 1)
    near = space.neighbour(start, rng, scale)
    assert space.validate(near) == near
    ranks = SPECS["rollout_n"]["values"]
    assert abs(ranks.index(near["rollout_n"]) - ranks.index(start["rollout_n"])) <= 1


def test_a_neighbour_at_scale_zero_is_the_same_point(space):
    near = space.neighbour(POINT, np.random.default_rng(0), 0.0)
    assert near == pytest.approx(POINT)


def test_a_small_scale_moves_less_than_a_large_one_and_leaves_its_start_alone(space):
    start = dict(POINT)

    def reach(scale: float) -> float:
        rng = np.random.default_rng(0)
        moved = space.encode([space.neighbour(start, rng, scale) for _ in range(100)]) - space.encode([start])
        return float(np.abs(moved[:, :2]).mean())

    assert 0 < reach(0.02) < reach(0.2) / 5
    assert start == POINT


# -- names of configurations


def test_equal_configurations_share_a_key_whatever_their_order():
    assert config_key(POINT) == config_key(dict(reversed(POINT.items())))


def test_the_smallest_difference_gives_another_key():
    keys = {config_key(POINT), config_key(POINT | {"lr": math.nextafter(1e-3, 1)}), config_key(POINT | {"loss": "dr"})}
    assert len(keys) == 3


def test_a_whole_number_for_a_float_names_the_same_configuration(space):
    """``grad_clip=1`` and ``grad_clip=1.0`` are one setting."""
    assert config_key(space.validate(POINT | {"grad_clip": 1})) == config_key(
        space.validate(POINT | {"grad_clip": 1.0})
    )


# -- refusals


def message(action) -> str:
    with pytest.raises(UsageError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "flaot", "low": 0, "high": 1}, ["x", "'flaot'", "'float'", "categorical, float, integer, ordinal"]),
        ({"low": 0, "high": 1}, ["x", "None", "categorical, float, integer, ordinal"]),
        ({"type": "float", "high": 1}, ["space.x", "low=None", "high=1", "needs low and high"]),
        ({"type": "integer", "low": 1}, ["space.x", "low=1", "high=None", "integer range needs low and high"]),
        ({"type": "float", "low": 2, "high": 1}, ["space.x", "low=2", "below high=1"]),
        ({"type": "float", "low": 1, "high": 1}, ["space.x", "low=1", "below high=1"]),
        ({"type": "float", "low": math.nan, "high": 1}, ["space.x", "low=nan", "finite number"]),
        ({"type": "float", "low": 0, "high": 1, "log": True}, ["space.x", "low=0", "above 0", "log"]),
        ({"type": "integer", "low": -2, "high": 8, "log": True}, ["space.x", "low=-2", "above 0", "log"]),
        ({"type": "ordinal"}, ["space.x", "ordinal needs a non-empty list of values"]),
        ({"type": "categorical", "values": []}, ["space.x", "categorical needs a non-empty list of values"]),
        ({"type": "ordinal", "values": [4, 8, 4]}, ["space.x", "[4, 8, 4]", "each once"]),
        ({"type": "float", "low": 0, "high": math.inf}, ["space.x", "high=inf"]),
        ({"type": "integer", "low": math.nan, "high": 8}, ["space.x", "low=nan", "finite number"]),
        ({"type": "ordinal", "values": [[4], [8]]}, ["space.x", "[4]"]),
        ({"type": "float", "low": "tiny", "high": 1}, ["space.x", "low=tiny"]),
        ({"type": "integer", "low": 1.5, "high": 8}, ["space.x", "low=1.5"]),
        ({"type": "ordinal", "values": 4}, ["space.x", "list of values"]),
        (3, ["space.x", "3"]),
    ],
    ids=str,
)
def test_a_bad_range_is_refused_with_its_name_its_value_and_what_is_allowed(spec, words):
    text = message(lambda: SearchSpace({"x": spec}))
    assert [word for word in words if word not in text] == [], text


def test_a_space_of_nothing_is_refused():
    assert "at least one hyperparameter" in message(lambda: SearchSpace({}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 1e-3}, ["learning_rate", "valid", "grad_clip, loss, lr, lr_scheduler, rollout_n, warmup"]),
        ({"rollouts_n": 8}, ["'rollouts_n'", "did you mean 'rollout_n'"]),
        ({"lr": 1.0}, ["lr=1.0", "1e-05 to 0.01"]),
        ({"lr": math.nan}, ["lr=nan", "1e-05 to 0.01"]),
        ({"lr": "high"}, ["lr='high'", "1e-05 to 0.01"]),
        ({"lr": [1e-3]}, ["lr=[0.001]", "1e-05 to 0.01"]),
        ({"warmup": 2.5}, ["warmup=2.5", "1 to 9"]),
        ({"rollout_n": 5}, ["rollout_n=5", "4, 8, 16"]),
        ({"lr_scheduler": "linear"}, ["lr_scheduler='linear'", "constant, cosine"]),
    ],
    ids=str,
)
def test_a_configuration_outside_the_space_is_refused_with_what_is_allowed(space, change, words):
    text = message(lambda: space.validate(POINT | change))
    assert [word for word in words if word not in text] == [], text


def test_a_missing_hyperparameter_is_named(space):
    text = message(lambda: space.validate({k: v for k, v in POINT.items() if k != "warmup"}))
    assert "warmup is missing" in text


def test_the_bounds_themselves_are_allowed(space):
    for change in ({"lr": 1e-5}, {"lr": 1e-2}, {"grad_clip": 0.5}, {"grad_clip": 4.5}, {"warmup": 1}, {"warmup": 9}):
        assert space.validate(POINT | change) == POINT | change


def test_a_near_miss_is_suggested_and_a_far_one_is_not():
    assert nearest("jfhop", ["jfhpo", "recipe"]) == " (did you mean 'jfhpo'?)"
    assert nearest("adam", ["jfhpo", "recipe"]) == ""
    assert str(unknown("method", "bohbb", ["tpe", "bohb"])) == (
        "unknown method 'bohbb' (did you mean 'bohb'?); valid: bohb, tpe"
    )
