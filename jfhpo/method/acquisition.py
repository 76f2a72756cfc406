"""Expected improvement on the target per unit of remaining cost: α in log space.

Notation (jfhpo.method.surrogate has the surrogate's)
    φ, r, θ     hyperparameters, training steps, model size of a candidate trial
    f_T         validation accuracy of φ on the target θ_T after r_max steps: what is to be maximised
    y           what the candidate trial would observe: accuracy of φ on θ after r steps, noise included
    μ_T, σ_T    posterior mean and standard deviation of f_T
    ρ           posterior correlation of f_T and y
    f*          incumbent: the largest μ_T among evaluated configurations
    C           expected remaining cost of the candidate, checkpoints credited

A trial on a proxy, or a short one, is worth what it says about f_T. Observing y moves μ_T by a normal amount of
standard deviation σ_T·|ρ| (Frazier, Powell and Dayanik 2009, eq. 10), so the expected improvement of the updated
mean over f* is EI(μ_T, σ_T·|ρ|; f*) (Jones, Schonlau and Welch 1998, eq. 15). For a full run on the target without
noise ρ = 1, and this is the EI everybody knows. The paper's own α takes EI at the candidate's fidelity instead.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

LOG_FLOOR = 1e-300
"""Expected improvements below this are all the same: hopeless."""


def expected_improvement(mean: np.ndarray, sd: np.ndarray, best: float) -> np.ndarray:
    """E[max(f − best, 0)] for f ~ N(mean, sd²), elementwise; max(mean − best, 0) where sd is 0. Shape (n,)."""
    mean, sd = np.asarray(mean, dtype=float), np.asarray(sd, dtype=float)
    gain = mean - best
    safe = np.where(sd > 0, sd, 1.0)
    z = gain / safe
    smooth = safe * (z * norm.cdf(z) + norm.pdf(z))
    return np.where(sd > 0, np.maximum(smooth, 0.0), np.maximum(gain, 0.0))


def log_value_per_cost(
    target_mean: np.ndarray, target_sd: np.ndarray, correlation: np.ndarray, best: float, cost: np.ndarray
) -> np.ndarray:
    """log EI(μ_T, σ_T·|ρ|; f*) − log C for each candidate, shape (n,).

    Raises:
        ValueError: if a cost is not above 0; a free trial would be worth infinitely much.
    """
    cost = np.asarray(cost, dtype=float)
    if not np.all(cost > 0):
        at = int(np.argmin(cost))
        raise ValueError(f"the expected cost of candidate {at} is {cost[at]:g}; costs must be above 0")
    gain = expected_improvement(target_mean, np.asarray(target_sd) * np.abs(correlation), best)
    return np.log(np.maximum(gain, LOG_FLOOR)) - np.log(cost)
