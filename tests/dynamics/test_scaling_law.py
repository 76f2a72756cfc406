"""Scaling laws against closed forms, against scipy's own least squares, and on curves whose truth is known."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, lsq_linear

from jfhpo.core.errors import UsageError
from jfhpo.dynamics.scaling_law import (
    LAWS,
    LEAST,
    PLATEAU,
    RAPID,
    SLOW,
    Phases,
    _least_squares,
    fit,
    forecast,
    phases,
    progress_of,
)

T = 50
UNIT = (0.0, 1.0)
TAU = float(LAWS["offset_saturation"].shapes[20, 0])
"""A value of the grid, so that a curve without noise is fitted without error."""


def saturating(start: float = 0.2, plateau: float = 0.9, tau: float = TAU, steps: int = T) -> np.ndarray:
    return plateau - (plateau - start) * np.exp(-progress_of(steps, T) / tau)


def noisy(values: np.ndarray, sd: float, seed: int) -> np.ndarray:
    return values + np.random.default_rng(seed).normal(0.0, sd, len(values))


# -- the laws


@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_a_rise_goes_from_0_to_1_and_never_back(law):
    rise = law.rise(np.linspace(0.0, 60.0, 4000), law.shapes)
    assert rise[:, 0] == pytest.approx(0.0, abs=1e-12)
    assert rise[:, -1].min() > 0.99
    assert np.diff(rise, axis=1).min() >= -1e-12


def test_the_formulas_are_the_papers():
    u = np.array([0.1, 0.5, 1.0])
    for name, shape, expected in (
        ("saturation", [0.3], 1 - np.exp(-u / 0.3)),
        ("hill", [0.4], u**2 / (u**2 + 0.16)),
    ):
        assert LAWS[name].rise(u, np.array([shape]))[0] == pytest.approx(expected)
    # c + γ/(1 + exp(−δ(u − t₀))) is a start of its own value at 0 and the same plateau c + γ
    c, gamma, delta, middle = 0.1, 0.8, 9.0, 0.4
    sigmoid = c + gamma / (1 + np.exp(-delta * (u - middle)))
    start = c + gamma / (1 + math.exp(delta * middle))
    rise = LAWS["sigmoid"].rise(u, np.array([[delta, middle]]))[0]
    assert start + (c + gamma - start) * rise == pytest.approx(sigmoid)


# -- least squares


@pytest.mark.parametrize("law", LAWS)
def test_a_curve_of_the_law_itself_is_found_again_and_its_end_foretold(law):
    form = LAWS[law]
    shape = form.shapes[len(form.shapes) // 2]
    start = 0.0 if form.from_zero else 0.2
    whole = start + (0.8 - start) * form.rise(progress_of(T, T), shape[None])[0]
    fitted = fit(whole[:20], T, law, UNIT)
    assert form.shapes[fitted.best] == pytest.approx(shape)
    assert (fitted.start[fitted.best], fitted.plateau[fitted.best]) == pytest.approx((start, 0.8), abs=1e-6)
    assert fitted.curve(progress_of(T, T)) == pytest.approx(whole, abs=1e-6)
    assert fitted.expected(progress_of(T, T)) == pytest.approx(whole, abs=1e-3)
    assert fitted.r2() == pytest.approx(1.0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_grid_comes_as_low_as_a_continuous_search_from_its_best_point(law, seed):
    """The grid's sum of squares is within 2 % of the minimum that scipy finds between its points."""
    y = noisy(saturating(), 0.04, seed)
    fitted = fit(y, T, law, UNIT)
    form, root = fitted.law, np.sqrt(fitted.weights)

    def residuals(p: np.ndarray) -> np.ndarray:
        start, plateau, shape = (0.0 if form.from_zero else p[0]), p[1], np.exp(p[2:])
        return root * (start + (plateau - start) * form.rise(progress_of(T, T), shape[None])[0] - y)

    shape = np.maximum(form.shapes[fitted.best], 1e-3)
    at = np.array([fitted.start[fitted.best], fitted.plateau[fitted.best], *np.log(shape)])
    slack = 1e-6  # scipy wants to begin inside the bounds
    lower, upper = [-slack] * 2 + [-10] * len(shape), [1 + slack] * 2 + [6] * len(shape)
    best = least_squares(residuals, at, bounds=(lower, upper))
    assert float(np.sum(fitted.weights * fitted.residuals() ** 2)) <= 1.02 * 2 * best.cost


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(-0.5, 0.3), span=st.floats(0.05, 1.0))
def test_start_and_plateau_are_the_least_squares_within_the_box(seed, low, span):
    rng = np.random.default_rng(seed)
    rise = LAWS["offset_saturation"].rise(progress_of(12, 20), LAWS["offset_saturation"].shapes[::8])
    y, weights, box = rng.normal(0.3, 0.5, (3, 12)), rng.uniform(0.2, 1.0, 12), (low, low + span)
    start, plateau, squares = _least_squares(rise, y, weights, box, from_zero=False)
    root = np.sqrt(weights)
    for b in range(3):
        for g, h in enumerate(rise):
            best = lsq_linear(np.column_stack([1 - h, h]) * root[:, None], y[b] * root, bounds=box, tol=1e-12)
            assert squares[b, g] == pytest.approx(2 * best.cost, rel=1e-5, abs=1e-9)
            assert low - 1e-9 <= min(start[b, g], plateau[b, g]) <= max(start[b, g], plateau[b, g]) <= low + span + 1e-9


def test_a_plateau_stays_within_the_possible_rewards():
    straight = np.linspace(0.1, 0.5, 20)
    assert fit(straight, T, reward_range=UNIT).plateau.max() <= 1.0
    assert fit(straight, T).plateau.max() <= 0.9 + 1e-12, "without a range: one span of the data beyond it"
    assert fit(straight, T).expected(np.ones(1))[0] > 0.6


def test_one_odd_step_hardly_moves_the_forecast():
    clean, odd = noisy(saturating(steps=25), 0.02, 0), noisy(saturating(steps=25), 0.02, 0)
    odd[12] = 0.0
    ends = [float(fit(y, T, reward_range=UNIT).expected(np.ones(1))[0]) for y in (clean, odd)]
    assert abs(ends[0] - ends[1]) < 0.03
    assert fit(odd, T, reward_range=UNIT).weights[12] < 0.2


def test_the_mean_over_shapes_forecasts_better_than_the_best_shape_from_a_short_noisy_curve():
    truth, errors = float(saturating()[-1]), {"best": [], "mean": []}
    for seed in range(60):
        fitted = fit(noisy(saturating(steps=12), 0.05, seed), T)
        errors["best"].append(abs(float(fitted.curve(np.array([0.98]))[0]) - truth))
        errors["mean"].append(abs(float(fitted.expected(np.array([0.98]))[0]) - truth))
    assert np.mean(errors["mean"]) < np.mean(errors["best"])


def test_the_likelihoods_add_up_to_one_and_the_best_shape_has_the_most():
    fitted = fit(noisy(saturating(steps=20), 0.05, 3), T, "hill", UNIT)
    assert fitted.likelihood.sum() == pytest.approx(1.0)
    assert fitted.likelihood.argmax() == fitted.best


# -- what is read from a fit


def test_the_remaining_gain_is_the_rest_of_the_rise():
    fitted = fit(saturating(steps=20), T, reward_range=UNIT)
    assert fitted.remaining_gain() == pytest.approx(0.7 * (math.exp(-0.4 / TAU) - math.exp(-1 / TAU)), abs=1e-3)


def test_a_flat_curve_has_nothing_left_to_gain_and_a_falling_one_less():
    assert fit([0.4] * 20, T, reward_range=UNIT).remaining_gain() == pytest.approx(0.0, abs=1e-9)
    assert fit(saturating(0.9, 0.2, 0.5, 15), T, reward_range=UNIT).remaining_gain() < -0.1
    assert math.isnan(fit([0.4] * 20, T).r2())


def test_phases_of_a_saturation_and_a_sigmoid_are_those_of_their_formulas():
    found = phases(fit(saturating(), T, reward_range=UNIT))
    assert found.slow_until == pytest.approx(-TAU * math.log(0.9), abs=2e-3)
    assert found.plateau_from == pytest.approx(TAU * math.log(10), abs=2e-3)
    delta, middle = LAWS["sigmoid"].shapes[8 * 19 + 6]
    below = 1 / (1 + math.exp(delta * middle))
    y = 0.1 + 0.8 * (1 / (1 + np.exp(-delta * (progress_of(T, T) - middle))) - below) / (1 - below)
    found = phases(fit(y, T, "sigmoid", UNIT))
    for reached, share in ((found.slow_until, 0.1), (found.plateau_from, 0.9)):
        p = below + share * (1 - below)
        assert reached == pytest.approx(middle + math.log(p / (1 - p)) / delta, abs=2e-3)


def test_a_phase_that_does_not_end_within_the_run_has_no_end():
    assert phases(fit(saturating(tau=2.9), T, reward_range=UNIT)).plateau_from is None
    found = Phases(0.2, None)
    assert [found.at(u) for u in (0.0, 0.2, 1.0)] == [SLOW, RAPID, RAPID]
    assert Phases(0.2, 0.6).at(0.6) == PLATEAU and Phases(None, None).at(1.0) == SLOW


# -- forecasts


def test_a_forecast_repeats_with_its_seed_and_leaves_global_randomness_alone():
    fitted = fit(noisy(saturating(steps=20), 0.05, 0), T, reward_range=UNIT)
    state = np.random.get_state()[1].copy()
    first, again, other = (forecast(fitted, range(46, 51), seed=s) for s in (0, 0, 1))
    assert first == again and first != other and first.mean == other.mean
    assert (np.random.get_state()[1] == state).all()


def test_intervals_hold_what_they_say_where_the_law_holds_and_narrow_as_the_curve_grows():
    inside, widths = [], {12: [], 40: []}
    for seed in range(80):
        whole = noisy(saturating(plateau=0.8), 0.04, seed)
        truth = whole[-5:].mean()
        for n in widths:
            told = forecast(fit(whole[:n], T, reward_range=UNIT), range(46, 51), 0.8, 100)
            inside.append(told.low <= truth <= told.high)
            widths[n].append(told.high - told.low)
    assert 0.65 < np.mean(inside) < 0.95
    assert np.median(widths[40]) < 0.6 * np.median(widths[12])


def test_a_fit_is_quick_enough_to_judge_every_step():
    y, times = noisy(saturating(steps=49), 0.05, 0), []
    for _ in range(20):
        began = time.process_time()
        fit(y, T, reward_range=UNIT)
        times.append(time.process_time() - began)
    assert min(times) < 0.002, "it takes a third of a millisecond"


# -- what cannot be fitted


@pytest.mark.parametrize(
    ("rewards", "more", "said"),
    [
        ([0.5] * (LEAST - 1), {}, "a curve of 7 steps is too short to fit: at least 8; there is no forecast"),
        ([], {}, "a curve of 0 steps is too short"),
        ([0.5] * 60, {}, "horizon=50 must be at least the 60 steps"),
        ([0.5] * 10 + [math.nan] + [0.5] * 3, {}, "the reward of step 11 is not finite"),
        ([0.5] * 9 + [1.5], {"reward_range": UNIT}, r"rewards from 0.5 to 1.5 lie outside reward_range=\[0.0, 1.0\]"),
        ([0.5] * 10, {"law": "sigmoids"}, "unknown scaling law 'sigmoids' .did you mean 'sigmoid'"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_a_line(rewards, more, said):
    with pytest.raises(UsageError, match=said) as raised:
        fit(rewards, T, **more)
    assert "\n" not in str(raised.value)
