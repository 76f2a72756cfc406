"""`Problem` refuses what makes no sense, in one line each, and carries learning rates between widths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jfhpo.core.errors import UsageError
from jfhpo.core.problem import ModelSize, Problem
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Fidelity

FIELDS: dict[str, Any] = {
    "name": "toy",
    "task": "toy",
    "space": SearchSpace({"lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}}),
    "family": (ModelSize("xs", 1_000, 32, 1.0), ModelSize("p", 4_000, 48, 2.0), ModelSize("l", 64_000, 128, 10.0)),
    "proxy": "p",
    "target": "l",
    "max_steps": 50,
    "rungs": (12, 25, 50),
    "recipe": {"lr": 1e-3},
}


def problem(**changes: Any) -> Problem:
    return Problem(**FIELDS | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proxy": "q"}, ["unknown proxy model 'q'", "l, p, xs"]),
        ({"target": "ll"}, ["unknown target model 'll'", "l, p, xs"]),
        ({"proxy": "l", "target": "p"}, ["problem.proxy=l", "problem.target=p", "larger", "swap"]),
        ({"cost_unit": "hours"}, ["unknown budget unit 'hours'", "flops, seconds, tokens"]),
        ({"max_steps": 0}, ["problem.max_steps=0", "at least 1"]),
        ({"max_steps": -4, "rungs": (1,)}, ["problem.max_steps=-4", "at least 1"]),
        ({"rungs": ()}, ["problem.rungs=[]", "rising list"]),
        ({"rungs": (25, 12, 50)}, ["problem.rungs=[25, 12, 50]", "rising list"]),
        ({"rungs": (12, 12, 50)}, ["problem.rungs=[12, 12, 50]", "rising list"]),
        ({"rungs": (0, 50)}, ["problem.rungs=[0, 50]", "from 1 on"]),
        ({"rungs": (12, 25, 60)}, ["problem.rungs", "60", "above problem.max_steps=50"]),
        ({"rungs": (12, 25)}, ["problem.rungs", "end at problem.max_steps=50", "25"]),
        ({"recipe": {"lr": 1.0}}, ["lr=1.0", "1e-05 to 0.1"]),
        ({"recipe": {}}, ["lr is missing"]),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_the_setting_the_value_and_what_is_allowed(changes, words):
    with pytest.raises(UsageError) as caught:
        problem(**changes)
    text = str(caught.value)
    assert "\n" not in text
    assert [word for word in words if word not in text] == [], text


def test_the_proxy_may_be_the_target():
    assert problem(proxy="l").full == Fidelity("l", 50)


def test_the_full_fidelity_is_the_target_for_all_steps():
    assert problem().full == Fidelity("l", 50)


def test_an_unknown_model_is_refused_with_the_familys():
    with pytest.raises(UsageError, match=r"unknown model 'm'.*l, p, xs"):
        problem().model("m")


@pytest.mark.parametrize("steps", [0, -1, 51])
def test_a_fidelity_beyond_the_full_run_is_refused(steps):
    with pytest.raises(UsageError, match=f"{steps} steps.*1 to max_steps=50"):
        problem().check_fidelity(Fidelity("l", steps))


@pytest.mark.parametrize("steps", [1, 50])
def test_the_shortest_and_the_full_run_are_allowed(steps):
    problem().check_fidelity(Fidelity("p", steps))


# -- learning rates between widths: lr ∝ 1/width


def test_a_learning_rate_falls_as_one_over_the_width():
    toy = problem()
    assert toy.map_lr({"lr": 1e-3, "n": 8}, "xs", "l") == {"lr": pytest.approx(1e-3 * 32 / 128), "n": 8}
    assert toy.map_lr({"lr": 1e-3}, "l", "p") == {"lr": pytest.approx(1e-3 * 128 / 48)}


@given(lr=st.floats(1e-9, 1.0), pair=st.permutations(["xs", "p", "l"]))
def test_mapping_there_and_back_gives_the_same_learning_rate(lr, pair):
    toy = problem()
    there = toy.map_lr({"lr": lr}, pair[0], pair[1])
    assert toy.map_lr(there, pair[1], pair[0])["lr"] == pytest.approx(lr, rel=1e-12)
    assert toy.map_lr(there, pair[1], pair[2])["lr"] == pytest.approx(toy.map_lr({"lr": lr}, pair[0], pair[2])["lr"])


def test_mapping_to_the_same_model_changes_no_bit():
    assert problem().map_lr({"lr": 1e-3}, "l", "l") == {"lr": 1e-3}


def test_mapping_leaves_the_configuration_it_was_given_alone():
    config = {"lr": 1e-3}
    problem().map_lr(config, "xs", "l")
    assert config == {"lr": 1e-3}


def test_a_space_without_a_learning_rate_is_carried_over_as_it_is():
    assert problem().map_lr({"n": 8}, "xs", "l") == {"n": 8}
