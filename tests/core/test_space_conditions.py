"""Conditional spaces: a configuration holds its active hyperparameters, and nothing is lost on the way to a code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jfhpo.core.errors import UsageError
from jfhpo.core.space import SearchSpace, config_key

SPECS: dict[str, dict[str, Any]] = {
    "kl_loss_coef": {"type": "float", "low": 1e-3, "high": 0.1, "log": True, "when": {"use_kl": True}},
    "use_kl": {"type": "categorical", "values": [True, False]},
    "kl_type": {"type": "categorical", "values": ["k1", "k2", "k3"], "when": {"use_kl": [True]}},
    "kl_horizon": {"type": "integer", "low": 1, "high": 9, "when": {"kl_type": ["k2", "k3"]}},
    "epochs": {"type": "ordinal", "values": [1, 2, 4, 8]},
    "reuse": {"type": "ordinal", "values": [0.25, 0.5, 1], "when": {"epochs": [4, 8]}},
}
"""A child before its parent, a chain of two, ordinals as parent and child."""
ALL = {"kl_loss_coef": 0.02, "use_kl": True, "kl_type": "k3", "kl_horizon": 3, "epochs": 4, "reuse": 0.5}
NONE = {"use_kl": False, "epochs": 1}
CHAIN_CUT = {"kl_loss_coef": 0.02, "use_kl": True, "kl_type": "k1", "epochs": 2}


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(SPECS)


def active(config: dict[str, Any]) -> set[str]:
    """By hand: what a configuration of SPECS is to hold."""
    names = {"use_kl", "epochs"}
    if config["use_kl"]:
        names |= {"kl_loss_coef", "kl_type"}
        if config["kl_type"] != "k1":
            names.add("kl_horizon")
    return names | ({"reuse"} if config["epochs"] >= 4 else set())


# -- what a configuration holds


def test_conditions_are_read_with_the_parents_own_values(space):
    assert space.conditions == {
        "kl_loss_coef": ("use_kl", (True,)),
        "kl_type": ("use_kl", (True,)),
        "kl_horizon": ("kl_type", ("k2", "k3")),
        "reuse": ("epochs", (4, 8)),
    }
    assert SearchSpace({"a": {"type": "float", "low": 0, "high": 1, "when": None}}).conditions == {}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.0, 2.0))
def test_whatever_is_drawn_or_moved_holds_exactly_what_is_active(seed, scale):
    space, rng = SearchSpace(SPECS), np.random.default_rng(seed)
    drawn = [*space.sample(rng, 3), *space.spread(rng, 3)]
    drawn += [space.neighbour(config, rng, scale) for config in drawn]
    for config in drawn:
        assert set(config) == active(config)
        assert list(config) == [name for name in SPECS if name in config], "in the space's order"
        assert space.validate(config) == config


def test_equal_generators_draw_equal_configurations_and_all_branches(space):
    drawn = space.sample(np.random.default_rng(3), 200)
    assert drawn == SearchSpace(SPECS).sample(np.random.default_rng(3), 200)
    assert np.mean([config["use_kl"] for config in drawn]) == pytest.approx(0.5, abs=0.12)
    assert {tuple(config) for config in drawn} == {
        tuple(name for name in SPECS if name in names)
        for kl in (
            set(),
            {"kl_loss_coef", "kl_type"},
            {"kl_loss_coef", "kl_type", "kl_horizon"},
        )
        for names in ({"use_kl", "epochs", *kl}, {"use_kl", "epochs", "reuse", *kl})
    }


def test_a_neighbour_that_wakes_a_hyperparameter_draws_it_from_its_whole_range():
    space = SearchSpace(
        {
            "on": {"type": "ordinal", "values": [0, 1]},
            "x": {"type": "float", "low": 0, "high": 1, "when": {"on": 1}},
        }
    )
    rng = np.random.default_rng(0)
    woken = [near["x"] for _ in range(300) if "x" in (near := space.neighbour({"on": 0}, rng, 1.0))]
    assert len(woken) > 100
    assert min(woken) < 0.05 and max(woken) > 0.95 and np.mean(woken) == pytest.approx(0.5, abs=0.07)


def test_a_neighbour_at_scale_zero_is_the_same_point(space):
    for config in (ALL, NONE, CHAIN_CUT):
        assert space.neighbour(config, np.random.default_rng(0), 0.0) == pytest.approx(config)


def test_configurations_that_differ_in_something_inactive_only_are_one_and_share_a_key(space):
    row = space.code([CHAIN_CUT])[0]
    for horizon in space.allowed_codes()[3]:
        row[3] = horizon
        assert config_key(space.decode(row)) == config_key(space.decode(space.code([CHAIN_CUT])[0]))


# -- for a surrogate


def test_inactive_hyperparameters_are_encoded_as_their_stand_ins(space):
    assert space.stand_ins == {
        "kl_loss_coef": pytest.approx(1e-2),  # the middle of 1e-3 to 1e-1 in log space
        "use_kl": True,
        "kl_type": "k1",
        "kl_horizon": 5,
        "epochs": 2,
        "reuse": 0.5,
    }
    #            coef  off k1 k2 k3 horizon epochs reuse
    expected = [[0.5, 1, 1, 0, 0, 0.5, 0.0, 0.5], [0.5, 0, 0, 1, 0, 0.0, 1.0, 1.0]]
    full = {"kl_loss_coef": 0.01, "use_kl": True, "kl_type": "k2", "kl_horizon": 1, "epochs": 8, "reuse": 1}
    assert space.encode([NONE, full]) == pytest.approx(np.array(expected, dtype=float))
    assert space.code([NONE])[0] == pytest.approx([0.5, 1.0, 0.0, 0.5, 0.0, 0.5])


def test_a_filled_configuration_has_a_value_for_everything(space):
    assert space.filled(NONE) == {**space.stand_ins, **NONE}
    assert space.filled(ALL) == ALL
    assert list(space.filled(NONE)) == list(SPECS)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_codes_and_configurations_say_the_same(seed):
    space = SearchSpace(SPECS)
    for config in space.sample(np.random.default_rng(seed), 4):
        (code,), (filled,) = space.code([config]), space.code([space.filled(config)])
        assert space.decode(code) == pytest.approx(config)
        assert list(code) == pytest.approx(list(filled))
        assert all(
            min(abs(code[column] - value) for value in values) < 1e-12
            for column, values in space.allowed_codes().items()
        )


@settings(max_examples=60, deadline=None)
@given(unit=st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6))
def test_every_row_decodes_to_a_valid_configuration(unit):
    space = SearchSpace(SPECS)
    row = list(unit)
    for column, values in space.allowed_codes().items():
        row[column] = values[min(int(unit[column] * len(values)), len(values) - 1)]
    config = space.decode(row)
    assert space.validate(config) == config
    assert set(config) == active(config)


def test_the_columns_of_conditions_come_parents_first(space):
    found = space.conditional_codes()
    assert found == {
        0: (1, [0.0], pytest.approx(0.5)),
        2: (1, [0.0], 0.0),
        3: (2, [1.0, 2.0], 0.5),
        5: (4, [pytest.approx(2 / 3), 1.0], 0.5),
    }
    assert list(found).index(2) < list(found).index(3)
    for name, (parent, _) in space.conditions.items():
        assert space.parents_first.index(parent) < space.parents_first.index(name)


# -- refusals


def message(action) -> str:
    with pytest.raises(UsageError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (NONE | {"kl_type": "k1"}, ["kl_type='k1' is inactive with use_kl=False", "use_kl=True; leave it out"]),
        (
            NONE | {"kl_horizon": 2},
            ["kl_horizon=2 is inactive", "kl_type inactive too", "kl_type='k2' or kl_type='k3'"],
        ),
        (NONE | {"epochs": 4}, ["reuse is missing"]),
        (CHAIN_CUT | {"reuse": 1}, ["reuse=1 is inactive with epochs=2", "epochs=4 or epochs=8"]),
        ({k: v for k, v in ALL.items() if k != "kl_horizon"}, ["kl_horizon is missing"]),
        (ALL | {"use_kl": "maybe"}, ["use_kl='maybe' is not allowed", "True, False"]),
        ({"epochs": 1}, ["use_kl is missing"]),
    ],
    ids=str,
)
def test_a_configuration_of_too_much_or_too_little_is_refused_with_what_is_wrong(space, config, words):
    text = message(lambda: space.validate(config))
    assert [word for word in words if word not in text] == [], text


X = {"type": "float", "low": 0, "high": 1}


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("use_kl", ["space.x.when='use_kl'", "{other: [values]}"]),
        ({}, ["space.x.when={}", "one hyperparameter"]),
        ({"mode": "a", "deep": 1}, ["space.x.when=", "one hyperparameter"]),
        ({"mod": "a"}, ["space.x.when", "'mod'", "did you mean 'mode'", "deep, mode, whole, x, y"]),
        ({"y": 0.5}, ["space.x.when", "y is of type float", "ordinal or categorical"]),
        ({"whole": 2}, ["space.x.when", "whole is of type integer", "ordinal or categorical"]),
        ({"mode": "c"}, ["space.x.when.mode", "'c'", "a, b"]),
        ({"mode": []}, ["space.x.when.mode", "no value", "a, b"]),
        ({"deep": [1, 3]}, ["space.x.when.deep", "3 is no value", "1, 2"]),
    ],
    ids=str,
)
def test_a_bad_condition_is_refused_with_its_name_and_what_is_allowed(when, words):
    others = {
        "y": X,
        "whole": {"type": "integer", "low": 1, "high": 3},
        "mode": {"type": "categorical", "values": ["a", "b"]},
        "deep": {"type": "ordinal", "values": [1, 2]},
    }
    text = message(lambda: SearchSpace({"x": X | {"when": when}, **others}))
    assert [word for word in words if word not in text] == [], text


@pytest.mark.parametrize("length", [1, 2, 3])
def test_hyperparameters_that_wait_for_each_other_are_refused(length):
    names = "abc"[:length]
    ring = {
        name: {"type": "ordinal", "values": [1, 2], "when": {names[(i + 1) % length]: 1}}
        for i, name in enumerate(names)
    }
    text = message(lambda: SearchSpace({**ring, "x": X | {"when": {"a": 1}}}))
    assert "circle" in text and all(f"{name} needs" in text for name in names)


def test_an_unknown_key_of_a_spec_is_refused():
    assert "'wen' (did you mean 'when'?)" in message(lambda: SearchSpace({"x": X | {"wen": {"mode": 1}}}))


# -- the smallest spaces


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "categorical", "values": ["only"]},
        {"type": "ordinal", "values": [8]},
        {"type": "categorical", "values": ["a", "b", "c"]},
        {"type": "ordinal", "values": [4, 8]},
        {"type": "integer", "low": 1, "high": 2},
        {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    ],
    ids=str,
)
def test_a_space_of_one_hyperparameter_even_of_one_value_works_throughout(spec):
    space, rng = SearchSpace({"x": spec}), np.random.default_rng(0)
    drawn = [*space.sample(rng, 1), *space.sample(rng, 5), *space.spread(rng, 1), *space.spread(rng, 5)]
    drawn += [space.neighbour(config, rng, 0.5) for config in drawn]
    assert [space.validate(config) for config in drawn] == drawn
    assert space.encode(drawn).shape == (len(drawn), 3 if spec.get("values") == ["a", "b", "c"] else 1)
    assert [space.decode(row) for row in space.code(drawn)] == [pytest.approx(config) for config in drawn]
    if len(spec.get("values", "..")) == 1:
        assert {config_key(config) for config in drawn} == {config_key({"x": spec["values"][0]})}


def test_one_value_may_be_a_parent():
    space = SearchSpace({"mode": {"type": "categorical", "values": ["on"]}, "x": X | {"when": {"mode": "on"}}})
    assert all(set(config) == {"mode", "x"} for config in space.sample(np.random.default_rng(0), 5))
