"""α: expected improvement on the target per unit of remaining cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from jfhpo.core.cost_model import CostModel
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.method.acquisition import TINY, log_expected_improvement, log_paper_value, log_value_per_cost
from jfhpo.method.surrogate import Joint
from tests.method.synthetic import World

MEANS, SDS = st.floats(-2, 2), st.floats(0.01, 2)


def double(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.double)


def expected_improvement(means, sds, best: float) -> np.ndarray:
    return log_expected_improvement(double(*means), double(*sds), best).exp().numpy()


def improvement(mean: float, sd: float, best: float) -> float:
    return float(expected_improvement([mean], [sd], best)[0])


def value(mean=0.5, sd=0.1, correlation=0.8, best=0.5, cost=1.0) -> float:
    joint = Joint(double(mean), double(sd), double(correlation))
    return log_value_per_cost(joint, best, double(cost)).item()


@pytest.mark.parametrize("mean", [-0.4, 0.0, 0.45, 0.5, 0.9])
@pytest.mark.parametrize("sd", [0.02, 0.2, 1.5])
def test_it_is_the_integral_of_what_lies_above_the_incumbent(mean, sd):
    best = 0.5
    upper = max(mean, best) + 12 * sd
    integral, _ = quad(
        lambda f: (f - best) * norm.pdf(f, mean, sd), best, upper, epsabs=1e-13, points=[max(mean, best)]
    )
    assert improvement(mean, sd, best) == pytest.approx(integral, rel=1e-6, abs=1e-12)


def test_it_is_the_mean_of_improvements_that_were_drawn():
    drawn = np.random.default_rng(0).normal(0.4, 0.3, 200_000)
    assert improvement(0.4, 0.3, 0.5) == pytest.approx(np.maximum(drawn - 0.5, 0).mean(), rel=0.02)


def test_without_uncertainty_it_is_the_improvement_itself():
    means = np.array([0.2, 0.5, 0.8])
    assert expected_improvement(means, np.zeros(3), 0.5) == pytest.approx([0.0, 0.0, 0.3])


def test_certain_and_uncertain_points_may_stand_side_by_side():
    both = expected_improvement([0.8, 0.8], [0.0, 0.1], 0.5)
    assert both[0] == pytest.approx(0.3)
    assert both[1] == pytest.approx(improvement(0.8, 0.1, 0.5))


def test_hopeless_points_are_still_told_apart():
    """Its logarithm falls on where the improvement itself would be 0 to a computer."""
    means, sds = double(-5.0, -50.0, -51.0), double(1.0, 1.0, 1.0)
    values = log_expected_improvement(means, sds, 0.0)
    assert torch.isfinite(values).all()
    assert values[0] > values[1] > values[2]
    certain = log_expected_improvement(double(-1.0), double(0.0), 0.0)
    assert certain.item() == pytest.approx(math.log(TINY))


@pytest.mark.parametrize("mean", [-30.0, -2.0, 0.4, 0.6, 3.0])
def test_its_gradient_is_that_of_finite_differences(mean):
    point = torch.tensor([mean, 0.3], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: log_expected_improvement(x[:1], x[1:], 0.5), (point,), eps=1e-7)


@settings(max_examples=60, deadline=None)
@given(mean=MEANS, sd=SDS, best=MEANS)
def test_it_grows_with_the_mean_and_with_the_uncertainty(mean, sd, best):
    at = improvement(mean, sd, best)
    assert at >= max(mean - best, 0) - 1e-12
    assert improvement(mean + 0.1, sd, best) >= at
    assert improvement(mean, sd + 0.1, best) >= at - 1e-12
    assert improvement(mean, sd, best + 0.1) <= at


def test_a_noiseless_full_run_on_the_target_is_worth_its_plain_expected_improvement():
    assert value(0.6, 0.2, correlation=1.0, best=0.5) == pytest.approx(math.log(improvement(0.6, 0.2, 0.5)))


def test_only_what_a_trial_says_about_the_target_counts():
    assert value(sd=0.2, correlation=0.5) == pytest.approx(math.log(improvement(0.5, 0.1, 0.5)))
    assert value(correlation=0.9) > value(correlation=0.3)
    assert value(correlation=-0.7) == value(correlation=0.7), "an inverse tie says as much"


def test_a_trial_that_says_nothing_is_hopeless_but_has_a_finite_value():
    assert math.isfinite(value(mean=0.4, correlation=0.0))
    assert value(mean=0.4, correlation=0.0) < value(mean=0.4, correlation=0.1)


def test_of_two_equal_trials_the_cheaper_wins_by_the_ratio_of_costs():
    assert value(cost=1.0) - value(cost=8.0) == pytest.approx(math.log(8))


def test_a_trial_that_a_checkpoint_shortens_wins_over_the_same_from_scratch():
    world = World()
    costs = CostModel(world.problem)
    config = world.problem.recipe
    costs.observe(world.run(Trial(0, config, Fidelity("p", 6), seed=0)))
    scratch, resumed = (costs.expect("p", config, steps) for steps in (12, 12 - 6))
    assert 0 < resumed < scratch
    assert value(cost=resumed) > value(cost=scratch)


def test_a_better_trial_wins_among_equal_costs():
    means = np.array([0.3, 0.6, 0.5])
    same = torch.ones(3, dtype=torch.double)
    values = log_value_per_cost(Joint(torch.tensor(means), 0.1 * same, 0.9 * same), 0.55, same)
    assert values.argmax() == 1
    assert values.shape == (3,)


@pytest.mark.parametrize("cost", [0.0, -2.0, math.nan])
def test_a_cost_that_is_not_above_zero_is_an_error_that_names_it(cost):
    ones = torch.ones(3, dtype=torch.double)
    with pytest.raises(ValueError, match=rf"candidate 1 is {cost:g}.*above 0"):
        log_value_per_cost(Joint(0 * ones, ones, ones), 0.0, double(1.0, cost, 2.0))


def test_the_papers_value_is_the_improvement_of_the_candidate_itself_per_cost():
    """Certain to reach 0.8 over an incumbent of 0.5 at a cost of 3: 0.1 per unit."""
    certain = log_paper_value(double(0.8), double(0.0), 0.5, double(3.0))
    assert certain.exp().item() == pytest.approx(0.1)
    unsure = log_paper_value(double(0.4), double(0.3), 0.5, double(2.0))
    assert unsure.exp().item() == pytest.approx(improvement(0.4, 0.3, 0.5) / 2)
