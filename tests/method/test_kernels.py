"""The kernels over fidelities against the formulas of their module written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from jfhpo.method import joint_fidelity
from jfhpo.method.kernels import KERNELS, fidelity_kernel

POINTS = np.array(
    [
        [0.1, 0.7, 0.0, 0.0], [0.1, 0.7, 0.6, 0.0], [0.1, 0.7, 1.0, 1.0], [0.8, 0.2, 0.6, 1.0],
        [0.5, 0.9, 1.0, 0.0], [0.3, 0.4, 0.8, 0.5],
    ]
)  # fmt: skip
"""x = [φ₁, φ₂, s, m]."""
PHI, S, M = POINTS[:, :2], POINTS[:, 2], POINTS[:, 3]
FULL = 2
"""The point at full steps on the target."""


def matern(x: np.ndarray, scales: list[float]) -> np.ndarray:
    """(1 + √5 d + 5 d²/3) exp(−√5 d), d the distance in length scales (Rasmussen and Williams 2006, eq. 4.17)."""
    d = np.sqrt((((x[:, None] - x[None]) / np.array(scales)) ** 2).sum(-1))
    return (1 + math.sqrt(5) * d + 5 * d**2 / 3) * np.exp(-math.sqrt(5) * d)


def pairs(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """s of the row and s' of the column."""
    return s[:, None], s[None, :]


def found(kernel, x: np.ndarray = POINTS) -> np.ndarray:
    with torch.no_grad():
        return kernel(torch.tensor(x, dtype=torch.double)).to_dense().numpy()


def product(name: str, **fidelity: float):
    """A product kernel with these parameters over s, length scales 0.5, 0.9 and 1.4 over [φ, m], and σ² = 2.5."""
    kernel = fidelity_kernel(name, columns=4, steps=2).double()
    others, over_steps = kernel.base_kernel.kernels
    others.lengthscale = torch.tensor([[0.5, 0.9, 1.4]])
    kernel.outputscale = 2.5
    for parameter, value in fidelity.items():
        setattr(over_steps, parameter, value)
    return kernel


def linear_truncated(columns: int):
    """σ² = 2.5, p = 1.7, length scales 0.5 and 0.9 of k₁, 0.8 and 1.1 of k₂."""
    kernel = fidelity_kernel("linear_truncated", columns=columns, steps=2).double()
    own = kernel.base_kernel
    own.covar_module_unbiased.lengthscale = torch.tensor([[0.5, 0.9]])
    own.covar_module_biased.lengthscale = torch.tensor([[0.8, 1.1]])
    own.power, kernel.outputscale = 1.7, 2.5
    return kernel


def test_matern_has_a_length_scale_per_column_and_variance_one():
    kernel = fidelity_kernel("matern", columns=4, steps=2).double()
    kernel.lengthscale = torch.tensor([[0.5, 0.9, 1.4, 0.7]])
    assert found(kernel) == pytest.approx(matern(POINTS, [0.5, 0.9, 1.4, 0.7]))


def test_downsampling_is_its_formula():
    s, other = pairs(S)
    over_steps = 0.4 + (1 - s) ** (1 + 0.7) * (1 - other) ** (1 + 0.7)
    expected = 2.5 * matern(POINTS[:, [0, 1, 3]], [0.5, 0.9, 1.4]) * over_steps
    assert found(product("downsampling", offset=0.4, power=0.7)) == pytest.approx(expected)


def test_decay_is_its_formula():
    s, other = pairs(S)
    over_steps = 0.4 + (1 + (s + other) / 0.3) ** -0.7
    expected = 2.5 * matern(POINTS[:, [0, 1, 3]], [0.5, 0.9, 1.4]) * over_steps
    assert found(product("decay", offset=0.4, power=0.7, lengthscale=0.3)) == pytest.approx(expected)


def test_linear_truncated_is_its_formula():
    (s, s2), (m, m2) = pairs(S), pairs(M)
    bias = (1 - s) * (1 - s2) * (1 + s * s2) ** 1.7
    bias += (1 - m) * (1 - m2) * (1 + m * m2) ** 1.7
    bias += (1 - s) * (1 - s2) * (1 - m) * (1 - m2) * (1 + s * s2 + m * m2) ** 1.7
    expected = 2.5 * (matern(PHI, [0.5, 0.9]) + bias * matern(PHI, [0.8, 1.1]))
    assert found(linear_truncated(columns=4)) == pytest.approx(expected)


def test_linear_truncated_without_sizes_has_one_term_of_bias():
    s, s2 = pairs(S)
    bias = (1 - s) * (1 - s2) * (1 + s * s2) ** 1.7
    expected = 2.5 * (matern(PHI, [0.5, 0.9]) + bias * matern(PHI, [0.8, 1.1]))
    assert found(linear_truncated(columns=3), POINTS[:, :3]) == pytest.approx(expected)


def test_linear_truncated_has_no_bias_at_full_fidelity_and_cuts_fidelities_to_the_unit_interval():
    full = found(linear_truncated(columns=4))[FULL]
    assert full == pytest.approx(2.5 * matern(PHI, [0.5, 0.9])[FULL])
    below, cut = POINTS.copy(), POINTS.copy()
    below[0, 3], cut[0, 3] = -0.4, 0.0  # a model smaller than the proxy
    assert found(linear_truncated(columns=4), below) == pytest.approx(found(linear_truncated(columns=4), cut))


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_is_symmetric_and_positive_semi_definite(name):
    for seed, columns in ((0, 4), (1, 3), (2, 4)):
        x = np.random.default_rng(seed).random((40, columns))
        K = found(fidelity_kernel(name, columns, steps=2).double(), x)
        assert pytest.approx(K.T) == K
        assert np.linalg.eigvalsh(K).min() > -1e-9 * np.trace(K)


@pytest.mark.parametrize("name", KERNELS)
def test_the_diagonal_alone_is_that_of_the_whole(name):
    kernel = fidelity_kernel(name, columns=4, steps=2).double()
    with torch.no_grad():
        diagonal = kernel(torch.tensor(POINTS, dtype=torch.double), diag=True).numpy()
    assert diagonal == pytest.approx(np.diag(found(kernel)))


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no kernel 'rbf'; there are matern, downsampling, decay, linear_truncated"):
        fidelity_kernel("rbf", columns=4, steps=2)


def test_jfhpo_offers_every_kernel_and_takes_the_first():
    assert joint_fidelity.KERNELS == KERNELS
    assert joint_fidelity.JointFidelitySettings().kernel == KERNELS[0]
