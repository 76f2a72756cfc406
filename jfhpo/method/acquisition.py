"""What a trial is worth: α in log space, for `jfhpo` and as the paper has it. All functions are differentiable.

Notation (jfhpo.method.surrogate has the surrogate's)
    φ, r, θ     hyperparameters, training steps, model size of a candidate trial
    f_T         validation accuracy of φ on the target θ_T after r_max steps: what is to be maximised
    y           what the candidate trial would observe: accuracy of φ on θ after r steps, noise included
    μ_T, σ_T    posterior mean and standard deviation of f_T
    ρ           posterior correlation of f_T and y
    f*          incumbent: the largest μ_T among evaluated configurations
    C           expected remaining cost of the candidate, checkpoints credited

**jfhpo**: a trial on a proxy, or a short one, is worth what it says about f_T. Observing y moves μ_T by a normal
amount of standard deviation σ_T·|ρ| (Frazier, Powell and Dayanik 2009, eq. 10), so the expected improvement of the
updated mean over f* is EI(μ_T, σ_T·|ρ|; f*) (Jones, Schonlau and Welch 1998, eq. 15). For a full run on the target
without noise ρ = 1, and this is the EI everybody knows.

**The paper** takes the expected improvement of the candidate's own f(φ, r) over the incumbent at r_max:
α(φ, r) = E[max(f(φ, r) − f*, 0)] / C (arXiv 2606.03073).
"""

from __future__ import annotations

import torch
from botorch.acquisition.analytic import _log_ei_helper  # log(φ(u) + u Φ(u)), stable (Ament et al. 2023, eq. 8)
from torch import Tensor

from jfhpo.method.surrogate import Joint

TINY = 1e-300
"""The improvement of a point that is certain to bring none, so that its logarithm is a number."""


def log_expected_improvement(mean: Tensor, sd: Tensor, best: float) -> Tensor:
    """log E[max(f − best, 0)] for f ~ N(mean, sd²), elementwise; log max(mean − best, TINY) where sd is 0."""
    certain = sd <= 0
    safe = torch.where(certain, torch.ones_like(sd), sd)
    uncertain = safe.log() + _log_ei_helper((mean - best) / safe)
    return torch.where(certain, (mean - best).clamp_min(TINY).log(), uncertain)


def log_value_per_cost(joint: Joint, best: float, cost: Tensor) -> Tensor:
    """log EI(μ_T, σ_T·|ρ|; f*) − log C for each candidate, shape (b,)."""
    moved = joint.target_sd * joint.correlation.abs()
    return log_expected_improvement(joint.target_mean, moved, best) - log_cost(cost)


def log_paper_value(mean: Tensor, sd: Tensor, best: float, cost: Tensor) -> Tensor:
    """log of the paper's α: EI of the candidate's own accuracy over the incumbent, per expected cost; shape (b,)."""
    return log_expected_improvement(mean, sd, best) - log_cost(cost)


def log_cost(cost: Tensor) -> Tensor:
    """log C.

    Raises:
        ValueError: if a cost is not above 0; a free trial would be worth infinitely much.
    """
    if not bool((cost > 0).all()):
        at = int(cost.argmin())
        raise ValueError(f"the expected cost of candidate {at} is {cost[at].item():g}; costs must be above 0")
    return cost.log()
