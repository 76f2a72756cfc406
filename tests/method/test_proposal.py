"""The most valuable candidate: what is left out of the looking must not change what is found; and new ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jfhpo.core.trial import Fidelity
from jfhpo.method import proposal
from jfhpo.method.acquisition import log_value_per_cost
from jfhpo.method.features import Features
from jfhpo.method.proposal import Effort, best_new, most_valuable
from jfhpo.method.surrogate import Surrogate
from tests.method.synthetic import problem


def world(seed: int):
    """A surrogate over [φ (3), s, m], candidates (each configuration on both models) and costs."""
    rng = np.random.default_rng(seed)
    x = rng.random((rng.integers(5, 40), 5))
    y = np.sin(3 * x[:, 0]) + 0.3 * x[:, 1] + 0.05 * rng.standard_normal(len(x))
    phi = np.repeat(rng.random((rng.integers(1, 120), 3)), 2, axis=0)
    steps, models = rng.choice([0.5, 0.8, 1.0], len(phi)), np.tile([0.0, 1.0], len(phi) // 2)
    target, observed = (np.column_stack([phi, s, m]) for s, m in ((np.ones(len(phi)),) * 2, (steps, models)))
    return Surrogate(x, y, fit=False), target, observed, float(y.max()) - 0.1, rng.uniform(0.1, 5.0, len(phi))


@pytest.mark.parametrize("look", [1, 8, proposal.LOOK])
@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_greatest_of_all_values(seed, look, monkeypatch):
    monkeypatch.setattr(proposal, "LOOK", look)
    surrogate, target, observed, best, costs = world(seed)
    joint = surrogate.joint(torch.tensor(target), torch.tensor(observed))
    alpha = log_value_per_cost(joint, best, torch.tensor(costs)).numpy()
    assert alpha[most_valuable(surrogate, target, observed, best, costs)] == pytest.approx(alpha.max(), abs=1e-9)


def test_only_a_few_candidates_are_looked_at(monkeypatch):
    monkeypatch.setattr(proposal, "LOOK", 8)
    surrogate, target, observed, best, costs = world(3)
    looked, joint = [], Surrogate.joint
    monkeypatch.setattr(
        Surrogate, "joint", lambda self, at, seen: looked.append(len(at)) or joint(self, at, seen), raising=True
    )
    most_valuable(surrogate, target, observed, best, costs)
    assert sum(looked) < len(target) / 2


def test_where_nothing_can_improve_one_is_chosen_all_the_same():
    surrogate, target, observed, _, costs = world(1)
    assert 0 <= most_valuable(surrogate, target, observed, 1e6, costs) < len(target)


@pytest.mark.parametrize(
    "changes", [{}, {"proxy": "l"}, {"max_steps": 1, "rungs": (1,)}], ids=["proxy", "none", "1 step"]
)
def test_a_new_configuration_is_judged_where_full_runs_were_seen_and_tried_where_it_would_run(changes, monkeypatch):
    """Where the proxy is the target there is one size, at m = 0; where there is one step, s = 0."""
    of = problem(**changes)
    features, fidelity = Features(of), Fidelity(of.proxy, of.rungs[0])
    configs = of.space.sample(np.random.default_rng(0), 12)
    x = features(configs, [of.full.steps] * 12, [of.full.model] * 12)
    asked, joint = [], Surrogate.joint

    def spied(self, target, observed):
        asked.extend((target[:, -2:].detach(), observed[:, -2:].detach()))
        return joint(self, target, observed)

    monkeypatch.setattr(Surrogate, "joint", spied)
    surrogate = Surrogate(x, np.linspace(0.1, 0.9, 12), fit=False)
    best_new(surrogate, features, fidelity, 0.9, lambda config: 1.0, configs[:1], seed=0, effort=Effort(16, 2))
    full, tried = asked[0::2], asked[1::2]
    assert {tuple(row) for rows in full for row in rows.tolist()} == {tuple(x[0, -2:])}
    at = features(configs[:1], [fidelity.steps], [fidelity.model])[0, -2:]
    assert {tuple(row) for rows in tried for row in rows.tolist()} == {tuple(at)}
