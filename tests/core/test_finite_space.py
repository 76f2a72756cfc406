"""A search space that is a list: whatever is drawn, decoded or moved to is on it."""

from __future__ import annotations

import numpy as np
import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.space import SearchSpace, config_key

SPECS = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "n": {"type": "ordinal", "values": [4, 8, 16]},
    "kind": {"type": "categorical", "values": ["a", "b"]},
}


@pytest.fixture(scope="module")
def listed():
    return SearchSpace(SPECS).spread(np.random.default_rng(3), 12)


@pytest.fixture(scope="module")
def space(listed):
    return SearchSpace(SPECS, listed)


def test_everything_that_is_made_is_on_the_list(space, listed):
    rng = np.random.default_rng(0)
    made = [*space.sample(rng, 20), *space.spread(rng, 8), space.decode([0.3, 0.4, 1.0])]
    made += [space.neighbour(config, rng, 0.5) for config in listed]
    assert all(config in listed for config in made)


def test_the_nearest_is_by_unit_coordinates_and_a_listed_one_is_itself(space, listed):
    for config in listed:
        assert space.nearest(config) == config
    asked = {"lr": 3e-4, "n": 8, "kind": "a"}
    away = ((space.encode(listed) - space.encode([asked])) ** 2).sum(axis=1)
    assert space.nearest(asked) == listed[int(np.argmin(away))]


def test_besides_is_avoided_while_there_are_others(space, listed):
    taken = {config_key(listed[0])}
    assert space.nearest(listed[0], besides=taken) != listed[0]
    assert space.nearest(listed[0], besides={config_key(c) for c in listed}) == listed[0]


def test_draws_are_without_replacement_until_the_list_is_through(space, listed):
    rng, drawn = np.random.default_rng(1), set()
    for _ in listed:
        drawn.add(config_key(space.draw(rng, drawn)))
    assert len(drawn) == len(listed)
    assert space.draw(rng, drawn) in listed


def test_a_spread_holds_each_once_while_they_last(space, listed):
    spread = space.spread(np.random.default_rng(2), 12)
    assert len({config_key(c) for c in spread}) == 12 == len(listed)


def test_without_a_list_nothing_changes():
    free, rng = SearchSpace(SPECS), np.random.default_rng(4)
    asked = {"lr": 3e-4, "n": 8, "kind": "a"}
    assert free.nearest(asked) == asked
    assert free.draw(np.random.default_rng(4)) == free.sample(rng, 1)[0]


def test_a_list_that_does_not_fit_the_space_is_refused():
    with pytest.raises(UsageError, match="n=5 is not allowed"):
        SearchSpace(SPECS, [{"lr": 1e-3, "n": 5, "kind": "a"}])
    with pytest.raises(UsageError, match="at least one"):
        SearchSpace(SPECS, [])
