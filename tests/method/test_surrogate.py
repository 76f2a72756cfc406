"""The Gaussian process over (φ, r, θ) against the textbook formulas written out in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm

from jfhpo.core.problem import ModelSize
from jfhpo.method import surrogate as module
from jfhpo.method.features import Features
from jfhpo.method.kernels import KERNELS
from jfhpo.method.surrogate import Joint, Surrogate
from tests.method import synthetic

RNG = np.random.default_rng(5)
X = RNG.random((14, 3))
Y = 0.4 + 0.3 * np.sin(4 * X[:, 0]) + 0.2 * X[:, 1] * X[:, 2]


def with_hyperparameters(
    x: np.ndarray, y: np.ndarray, scales: list[float], noise: float, mean: float = 0.1
) -> Surrogate:
    """A surrogate with these length scales, noise variance and mean (in standardised units) instead of fitted ones."""
    template = Surrogate(x, y, fit=False)
    template.model.covar_module.lengthscale = torch.tensor([scales])
    template.model.likelihood.noise = noise
    template.model.mean_module.constant.data.fill_(mean)
    return Surrogate(x, y, template.state(), fit=False)


def relate(surrogate: Surrogate, target: np.ndarray, observed: np.ndarray) -> Joint:
    return surrogate.joint(torch.tensor(target), torch.tensor(observed))


def length_scales(surrogate: Surrogate) -> list[float]:
    return surrogate.description()["lengthscale"]


def matern(a: np.ndarray, b: np.ndarray, scales: list[float]) -> np.ndarray:
    """k(a, b) = (1 + √5 d + 5 d²/3) exp(−√5 d), d the distance in length scales (Rasmussen and Williams 2006, 4.17)."""
    d = np.sqrt((((a[:, None] - b[None]) / np.array(scales)) ** 2).sum(-1))
    return (1 + math.sqrt(5) * d + 5 * d**2 / 3) * np.exp(-math.sqrt(5) * d)


def dense(
    x: np.ndarray, y: np.ndarray, scales: list[float], noise: float, mean: float
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Posterior mean (n,) and covariance (n, n) of f: Rasmussen and Williams 2006, eq. 2.25 and 2.26."""
    centre, spread = y.mean(), y.std(ddof=1)
    inverse = np.linalg.inv(matern(x, x, scales) + noise * np.eye(len(x)))

    def posterior(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cross = matern(at, x, scales)
        standard = mean + cross @ inverse @ ((y - centre) / spread - mean)
        covariance = matern(at, at, scales) - cross @ inverse @ cross.T
        return centre + spread * standard, spread**2 * covariance

    return posterior


SCALES, NOISE, MEAN = [0.5, 0.9, 1.4], 0.03, 0.1


def test_mean_and_deviation_are_the_textbooks():
    at = np.vstack([RNG.random((6, 3)), X[:2], [[3.0, -2.0, 5.0]]])
    mean, covariance = dense(X, Y, SCALES, NOISE, MEAN)(at)
    got_mean, got_sd = with_hyperparameters(X, Y, SCALES, NOISE, MEAN).predict(at)
    assert got_mean == pytest.approx(mean, abs=1e-8)
    assert got_sd == pytest.approx(np.sqrt(np.diag(covariance)), abs=1e-6)


def test_the_correlation_is_that_of_the_target_with_a_noisy_observation():
    targets, points = RNG.random((7, 3)), RNG.random((7, 3))
    points[0] = targets[0]
    posterior = dense(X, Y, SCALES, NOISE, MEAN)
    seen = relate(with_hyperparameters(X, Y, SCALES, NOISE, MEAN), targets, points)
    noise = NOISE * Y.std(ddof=1) ** 2
    for i in range(7):
        mean, c = posterior(np.vstack([targets[i], points[i]]))
        assert seen.target_mean[i] == pytest.approx(mean[0], abs=1e-8)
        assert seen.target_sd[i] == pytest.approx(math.sqrt(c[0, 0]), abs=1e-6)
        assert seen.correlation[i] == pytest.approx(c[0, 1] / math.sqrt(c[0, 0] * (c[1, 1] + noise)), abs=1e-5)


def test_a_fit_interpolates_data_with_little_noise():
    fitted = Surrogate(X, Y)
    mean, sd = fitted.predict(X)
    assert mean == pytest.approx(Y, abs=0.03)
    _, far = fitted.predict(np.full((1, 3), 30.0))
    assert sd.max() < far[0] / 3


def test_a_fit_finds_which_column_does_not_matter():
    x = np.random.default_rng(0).random((30, 2))
    scales = length_scales(Surrogate(x, np.sin(6 * x[:, 0]), steps=-1))
    assert scales[0] < scales[1] / 3


def test_observing_the_target_itself_without_noise_tells_all_about_it():
    seen = relate(with_hyperparameters(X, Y, SCALES, 1e-4), *[np.array([[0.9, 0.1, 3.0]])] * 2)
    assert seen.correlation[0] > 0.99


def test_noise_takes_from_what_an_observation_tells():
    points = [np.array([[0.9, 0.1, 3.0]])] * 2
    quiet, loud = (relate(with_hyperparameters(X, Y, SCALES, n), *points).correlation[0] for n in (1e-4, 1.0))
    assert 0 < loud < quiet - 0.1


def test_a_point_far_away_tells_nothing():
    seen = relate(with_hyperparameters(X, Y, SCALES, 1e-4), np.array([[2.0, 2.0, 2.0]]), np.array([[90.0, 2.0, 2.0]]))
    assert abs(seen.correlation[0]) < 1e-3


def test_equal_data_give_equal_hyperparameters_whatever_the_global_random_state():
    torch.manual_seed(1)
    first = Surrogate(X, Y)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = Surrogate(X, Y)
    assert torch.equal(before, torch.random.get_rng_state())
    assert length_scales(first) == length_scales(second)
    assert all(torch.equal(v, second.state()[k]) for k, v in first.state().items())


def test_a_state_carries_hyperparameters_to_other_data():
    first = with_hyperparameters(X, Y, SCALES, NOISE)
    second = Surrogate(X[:9], 3 * Y[:9] + 7, first.state(), fit=False)
    assert length_scales(second) == pytest.approx(SCALES)
    assert second.model.likelihood.noise.item() == pytest.approx(NOISE)
    mean, _ = second.predict(X[:9])
    assert abs(mean - (3 * Y[:9] + 7)).max() < 0.5, "the standardisation is the new data's own"


def test_a_believed_point_is_taken_as_observed_at_its_mean_and_nothing_else_changes():
    surrogate = with_hyperparameters(X, Y, SCALES, 1e-4)
    pending, elsewhere = np.array([[0.5, 2.0, 0.5]]), RNG.random((5, 3))
    believer = surrogate.believing(pending)
    (mean,), (sd,) = surrogate.predict(pending)
    (believed,), (left,) = believer.predict(pending)
    assert believed == pytest.approx(mean, abs=5e-3)
    assert left < sd / 10
    assert believer.predict(elsewhere)[0] == pytest.approx(surrogate.predict(elsewhere)[0], abs=0.02)
    assert all(torch.equal(v, believer.state()[k]) for k, v in surrogate.state().items())
    assert len(surrogate.y) == len(Y), "what is believed is not remembered"


def test_equal_scores_everywhere_are_no_problem():
    mean, sd = Surrogate(X, np.full(len(X), 0.13)).predict(X)
    assert mean == pytest.approx(0.13, abs=1e-3)
    assert np.isfinite(sd).all()


def test_gradients_of_the_posterior_are_those_of_finite_differences():
    surrogate = with_hyperparameters(X, Y, SCALES, NOISE)
    points = torch.tensor(RNG.random((3, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(surrogate.posterior, (points,))

    def fields(x):
        joint = surrogate.joint(x, 0.7 * x)
        return joint.target_mean, joint.target_sd, joint.correlation

    assert torch.autograd.gradcheck(fields, (points,))


def test_the_log_likelihood_of_new_observations_is_that_of_a_normal_with_noise():
    surrogate, at, y = with_hyperparameters(X, Y, SCALES, NOISE), RNG.random((5, 3)), RNG.random(5)
    mean, sd = surrogate.predict(at)
    expected = norm.logpdf(y, mean, np.sqrt(sd**2 + surrogate.noise_sd() ** 2))
    assert surrogate.log_likelihood(at, y) == pytest.approx(expected)
    assert surrogate.noise_sd() == pytest.approx(math.sqrt(NOISE) * Y.std(ddof=1))


def test_a_fit_uses_so_many_rows_at_most_but_the_posterior_all(monkeypatch):
    monkeypatch.setattr(module, "MAX_FIT_ROWS", 5)
    fitted = Surrogate(X, Y)
    assert len(fitted.model.train_targets) == 5
    other = Surrogate(X, Y, fitted.state(), fit=False)
    monkeypatch.setattr(module, "MAX_FIT_ROWS", 300)
    assert other.predict(X)[0] == pytest.approx(Surrogate(X, Y, fitted.state(), fit=False).predict(X)[0])
    assert abs(other.predict(X)[0] - Y).max() < 3 * other.noise_sd() + 0.2


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_makes_a_surrogate(kernel):
    surrogate = Surrogate(X, Y, kernel=kernel, steps=-2)
    mean, sd = surrogate.predict(X)
    assert abs(mean - Y).mean() < 0.1
    assert (sd > 0).all()
    assert surrogate.description()["noise_sd"] == [surrogate.noise_sd()]


# -- features: x = [φ, s, m]


def test_steps_enter_in_log_and_the_full_run_is_one():
    x = Features(synthetic.problem(max_steps=16, rungs=(1, 4, 16)))([synthetic.OPTIMUM] * 3, [1, 4, 16], ["l"] * 3)
    assert x[:, -2] == pytest.approx([0.0, 0.5, 1.0])


def test_size_is_zero_at_the_proxy_one_at_the_target_and_log_in_between():
    sizes = [ModelSize(n, p, 32, 1.0) for n, p in (("xs", 500), ("p", 1000), ("m", 4000), ("l", 16_000))]
    x = Features(synthetic.problem(family=tuple(sizes)))([synthetic.OPTIMUM] * 4, [24] * 4, ["xs", "p", "m", "l"])
    assert x[:, -1] == pytest.approx([-0.25, 0.0, 0.5, 1.0])


def test_the_configuration_is_encoded_as_on_the_target():
    problem = synthetic.problem()
    x = Features(problem)([synthetic.OPTIMUM] * 2, [6, 24], ["p", "l"])
    assert x[:, :-2] == pytest.approx(np.repeat(problem.space.encode([synthetic.OPTIMUM]), 2, axis=0))
    assert (x[0, :-2] == x[1, :-2]).all()


def test_a_proxy_that_is_the_target_and_a_single_step_divide_by_nothing():
    problem = synthetic.problem(proxy="l", max_steps=1, rungs=(1,))
    assert np.isfinite(Features(problem)([synthetic.OPTIMUM], [1], ["l"])).all()
