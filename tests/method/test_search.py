"""The search of a new configuration: in mixed spaces, over the values that the space has, from its seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jfhpo.core.space import SearchSpace
from jfhpo.method.search import Codes, Effort, maximise
from jfhpo.method.surrogate import Surrogate
from tests.method.synthetic import problem

MIXED = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "layers": {"type": "integer", "low": 1, "high": 6},
    "rollout_n": {"type": "ordinal", "values": [4, 8, 16]},
    "loss": {"type": "categorical", "values": ["a", "b", "c"]},
    "only": {"type": "categorical", "values": ["this"]},
}
LISTS = {name: spec for name, spec in MIXED.items() if name != "lr"}
SMALL = Effort(raw_samples=32, restarts=2)


@pytest.fixture(scope="module")
def model():
    """Some model: BoTorch asks for one, the functions below do not."""
    x = np.random.default_rng(0).random((6, 3))
    return Surrogate(x, x[:, 0], fit=False).model


def best(model, space: SearchSpace, function, seed: int = 0, near=(), effort: Effort = SMALL) -> dict:
    codes = Codes(space)
    start = torch.tensor(space.code(list(near)))
    return space.decode(maximise(function, model, codes, start, seed, effort))


def test_codes_and_configurations_say_the_same():
    space = SearchSpace(MIXED)
    drawn = space.sample(np.random.default_rng(1), 40)
    assert [space.decode(row) for row in space.code(drawn)] == [
        config | {"lr": pytest.approx(config["lr"])} for config in drawn
    ]


def test_features_of_codes_are_what_the_space_encodes():
    space = SearchSpace(MIXED)
    drawn = space.sample(np.random.default_rng(2), 20)
    features = Codes(space).features(torch.tensor(space.code(drawn)))
    assert features.numpy() == pytest.approx(space.encode(drawn))


def test_it_finds_the_optimum_of_a_mixed_space(model):
    """The best value of every kind of hyperparameter, none of them at the end of its range."""
    space = SearchSpace(MIXED)
    wanted = {"lr": 1e-3, "layers": 3, "rollout_n": 8, "loss": "b", "only": "this"}
    (code,) = torch.tensor(space.code([wanted]))

    def function(rows):
        lists = (rows[:, 3] == code[3]).to(rows)
        return lists - (rows[:, :3] - code[:3]).square().sum(1)

    found = best(model, space, function)
    assert found == wanted | {"lr": pytest.approx(1e-3, rel=0.05)}


def test_a_space_of_lists_alone_can_be_searched(model):
    found = best(model, SearchSpace(LISTS), lambda rows: rows[:, 0] - rows[:, 1] + (rows[:, 2] == 2))
    assert found == {"layers": 6, "rollout_n": 4, "loss": "c", "only": "this"}


def test_what_is_drawn_comes_from_the_seed_and_leaves_the_global_generator_alone(model):
    space = SearchSpace(MIXED)

    def rough(rows):  # many optima, so draws matter
        return torch.sin(40 * rows[:, 0]) + 0.01 * rows[:, 1]

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = best(model, space, rough, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert best(model, space, rough, seed=5) == first
    others = {best(model, space, rough, seed=s, effort=Effort(2, 1, 1))["lr"] for s in range(4)}
    assert len(others) > 1


def test_costs_follow_the_rollouts_whatever_stands_beside_them():
    space = problem().space
    costs = Codes(space).costs(lambda config: float(config["rollout_n"]))
    drawn = space.sample(np.random.default_rng(3), 12)
    assert costs(torch.tensor(space.code(drawn))).tolist() == [float(c["rollout_n"]) for c in drawn]


def test_a_space_without_rollouts_costs_the_same_everywhere():
    space = SearchSpace({"lr": MIXED["lr"]})
    assert Codes(space).costs(lambda config: 7.0)(torch.rand(3, 1)).tolist() == [7.0, 7.0, 7.0]


def test_a_fidelity_may_be_searched_with_the_configuration(model):
    """An extra column takes its own values only."""
    space = SearchSpace({"lr": MIXED["lr"]})
    codes = Codes(space, [[0.25, 0.5, 1.0]])
    row = maximise(lambda rows: -(rows[:, 1] - 0.6).abs() - rows[:, 0], model, codes, torch.zeros(0, 2), 0, SMALL)
    assert row[1] == 0.5
    assert row[0] == pytest.approx(0.0, abs=1e-3)


CONDITIONAL = {
    "lr": MIXED["lr"],
    "rollout_n": {"type": "ordinal", "values": [4, 8, 16], "when": {"loss": ["b", "c"]}},
    "loss": {"type": "categorical", "values": ["a", "b", "c"]},
    "norm": {"type": "categorical", "values": ["x", "y", "z"], "when": {"rollout_n": [8, 16]}},
    "layers": {"type": "integer", "low": 1, "high": 6, "when": {"norm": "y"}},
}
"""A chain of three: loss, rollouts, norm, layers."""


def test_features_of_a_conditional_spaces_codes_are_what_it_encodes_whatever_the_rows_say_of_the_inactive():
    space, rng = SearchSpace(CONDITIONAL), np.random.default_rng(0)
    every, codes = SearchSpace({n: {k: v for k, v in s.items() if k != "when"} for n, s in CONDITIONAL.items()}), []
    codes = every.code(every.sample(rng, 60))
    configs = [space.decode(row) for row in codes]
    assert {len(config) for config in configs} == {2, 3, 4, 5}
    features = Codes(space).features(torch.tensor(codes))
    assert features.numpy() == pytest.approx(space.encode(configs))
    active = Codes(space).active(torch.tensor(codes))
    for name in ("rollout_n", "norm", "layers"):
        assert active[space.names.index(name)].tolist() == [name in config for config in configs]


def test_costs_of_rows_without_rollouts_are_those_of_configurations_without(model):
    space = SearchSpace(CONDITIONAL)
    costs = Codes(space).costs(lambda config: float(config.get("rollout_n", 1)))
    drawn = space.sample(np.random.default_rng(3), 20)
    assert costs(torch.tensor(space.code(drawn))).tolist() == [float(c.get("rollout_n", 1)) for c in drawn]


def test_it_finds_the_optimum_of_a_conditional_space(model):
    space = SearchSpace(CONDITIONAL)
    codes = Codes(space)

    def function(rows):  # loss b, 16 rollouts, norm y and 2 layers; a trap where layers are inactive
        phi, on = codes.features(rows), codes.active(rows)[4].to(rows)
        return on * (2 - (phi[:, -1] - 0.2).square()) + phi[:, 1] + (rows[:, 2] == 1) - (phi[:, 0] - 0.5).square()

    found = best(model, space, function)
    assert found == {"lr": pytest.approx(1e-3, rel=0.1), "rollout_n": 16, "loss": "b", "norm": "y", "layers": 2}


@pytest.mark.parametrize(
    "specs",
    [{"only": MIXED["only"]}, {"loss": MIXED["loss"]}, {"loss": MIXED["loss"], "only": MIXED["only"]}],
    ids=lambda specs: "+".join(specs),
)
def test_the_smallest_spaces_can_be_searched(model, specs):
    found = best(model, SearchSpace(specs), lambda rows: rows[:, 0])
    assert found == {name: spec["values"][-1] for name, spec in specs.items()}
