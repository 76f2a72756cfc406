"""α: expected improvement on the target per unit of remaining cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from jfhpo.core.cost_model import CostModel
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.method.acquisition import expected_improvement, log_value_per_cost
from tests.method.synthetic import World

MEANS, SDS = st.floats(-2, 2), st.floats(0.01, 2)


def improvement(mean: float, sd: float, best: float) -> float:
    return float(expected_improvement(np.array([mean]), np.array([sd]), best)[0])


def value(mean=0.5, sd=0.1, correlation=0.8, best=0.5, cost=1.0) -> float:
    arrays = (np.array([v], dtype=float) for v in (mean, sd, correlation))
    return float(log_value_per_cost(*arrays, best, np.array([cost], dtype=float))[0])


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
    both = expected_improvement(np.array([0.8, 0.8]), np.array([0.0, 0.1]), 0.5)
    assert both[0] == pytest.approx(0.3)
    assert both[1] == pytest.approx(improvement(0.8, 0.1, 0.5))


def test_it_is_never_negative_however_hopeless_a_point_is():
    hopeless = expected_improvement(np.array([-5.0, -50.0, -1e6]), np.array([1.0, 1.0, 1e-9]), 0.0)
    assert (hopeless >= 0).all()
    assert hopeless[0] > 0


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
    values = log_value_per_cost(means, np.full(3, 0.1), np.full(3, 0.9), 0.55, np.ones(3))
    assert values.argmax() == 1
    assert values.shape == (3,)


@pytest.mark.parametrize("cost", [0.0, -2.0, math.nan])
def test_a_cost_that_is_not_above_zero_is_an_error_that_names_it(cost):
    with pytest.raises(ValueError, match=rf"candidate 1 is {cost:g}.*above 0"):
        log_value_per_cost(np.zeros(3), np.ones(3), np.ones(3), 0.0, np.array([1.0, cost, 2.0]))
