"""Every kind of search space: a method searches it, or refuses it with one line that says what to use instead."""

from __future__ import annotations

import re

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.problem import Problem
from jfhpo.core.space import SearchSpace
from jfhpo.study.methods import method, methods
from tests.baselines.conformance.parts import (
    assert_lies_in_the_problem,
    assert_runs,
    check,
    make,
    parallel,
    refuses,
)
from tests.method.synthetic import World, problem

LR = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}
SPACES = {
    "categorical": {
        "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
        "loss": {"type": "categorical", "values": ["token", "sequence", "dr"]},
        "use_kl": {"type": "categorical", "values": [True, False]},
    },
    "integer": {
        "epochs": {"type": "integer", "low": 1, "high": 3},
        "warmup": {"type": "integer", "low": 0, "high": 50},
        "batch": {"type": "integer", "low": 1, "high": 4096, "log": True},
    },
    "log": {
        "lr": LR,
        "kl_loss_coef": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
    },
    "conditional": {
        "lr": LR | {"when": {"optimizer": ["adam", "sgd"]}},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
        "optimizer": {"type": "categorical", "values": ["adam", "sgd", "schedule_free"]},
        "rollout_n": {"type": "ordinal", "values": [4, 8, 16], "when": {"optimizer": ["adam", "schedule_free"]}},
        "group_norm": {"type": "categorical", "values": ["std", "none", "batch"], "when": {"rollout_n": [8, 16]}},
        "horizon": {"type": "integer", "low": 1, "high": 9, "when": {"group_norm": "batch"}},
    },
    "one value": {"lr_scheduler": {"type": "categorical", "values": ["constant"]}},
    "one hyperparameter": {"lr": LR},
    "mixed of many": {
        "lr": LR,
        "kl_loss_coef": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
        "rollout_n": {"type": "ordinal", "values": [4, 8, 16]},
        "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
        "only": {"type": "ordinal", "values": [1]},
        **{f"float_{i}": {"type": "float", "low": -1.0, "high": 1.0} for i in range(4)},
        **{f"integer_{i}": {"type": "integer", "low": 1, "high": 5 + i} for i in range(3)},
        **{f"ordinal_{i}": {"type": "ordinal", "values": [0.5, 1, 2]} for i in range(2)},
        **{f"word_{i}": {"type": "categorical", "values": ["a", "b", "c"]} for i in range(3)},
    },
}
RECIPES = {"conditional": {"lr": 3e-5, "optimizer": "adam", "rollout_n": 4}}
"""Where it is not what stands in for everything."""


def problem_of(space: str) -> Problem:
    built = SearchSpace(SPACES[space])
    recipe = RECIPES.get(space, built.stand_ins)
    return problem(name=space.replace(" ", "_"), space=built, recipe=recipe)


def searches_or_refuses(name: str, space: str, record_property) -> None:
    of = problem_of(space)
    if refuses(name, of):
        record_property("refused", True)
        assert_refuses_with_an_alternative(name, of)
        return
    optimizer, world = make(name, of), World(of)
    results, trials = [], []
    for what, event in parallel(optimizer, world, workers=2, trials=6):
        if what == "tell":
            results.append(event)
        elif event is not None:
            trials.append(event)
            assert_lies_in_the_problem(of, event)
    assert trials and len(results) == len(trials)
    of.space.validate(optimizer.recommend())
    assert_runs(of, optimizer.recommend(), [*trials, optimizer.trial(of.recipe, of.full)])


def assert_refuses_with_an_alternative(name: str, of: Problem) -> None:
    with pytest.raises(UsageError) as refused:
        make(name, of)
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith(f"method={name} cannot run on problem={of.name}: ")
    others = [other for other in methods() if other != name and re.search(rf"\b{other}\b", text)]
    assert others, f"no other method is named: {text}"
    assert [method(other).unsupported(of) for other in others] == [None] * len(others), "it does not run either"


@check("categorical spaces")
def test_a_space_of_words_alone(name, record_property):
    searches_or_refuses(name, "categorical", record_property)


@check("integer spaces")
def test_a_space_of_whole_numbers_alone(name, record_property):
    searches_or_refuses(name, "integer", record_property)


@check("log spaces")
def test_a_space_of_log_ranges_alone(name, record_property):
    searches_or_refuses(name, "log", record_property)


@check("conditional spaces")
def test_a_conditional_space(name, record_property):
    searches_or_refuses(name, "conditional", record_property)


@check("the smallest spaces")
@pytest.mark.parametrize("space", ["one value", "one hyperparameter"])
def test_the_smallest_spaces(name, space, record_property):
    searches_or_refuses(name, space, record_property)


@check("spaces of many")
def test_a_mixed_space_of_many_hyperparameters(name, record_property):
    searches_or_refuses(name, "mixed of many", record_property)
