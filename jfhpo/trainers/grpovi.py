"""GRPOVI's adjusted rewards (arXiv 2505.23247) in closed form, for all groups of a batch at once, on CPU or GPU.

`jfhpo.tasks.grpovi` states the problem and has the paper's algorithms. With r sorted from the highest, let

    A_j = Σ_{i ≤ j} p_i (M − r_i),    what the first j rewards lack of M,
    B_j = Σ_{i > j} p_i (r_i − m),    what the others have above m.

The solution raises as many to M as the others can pay for: k is the largest j with A_j ≤ B_j, reward k + 1 takes what
is left of the payment, z = r_{k+1} + (B_{k+1} − A_k) / p_{k+1}, and all others fall to m. It is the best: no z that
keeps mean, bounds and order has a larger Σ_{i ≤ j} p_i z_i at any j (M times the sum of p for j ≤ k, and for j > k
all of c less m times what is left of p), so this one majorises them all and has the highest Σ p f(z) for every convex
f. The paper's blocks with l > k + 1 are therefore never needed.

A and B are sums of what is not negative and are kept as logarithms: no p underflows, however unlikely a response,
and nothing cancels in the comparison.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jfhpo.core.errors import unknown
from jfhpo.tasks.grpovi import EQUAL, TIES, check_bounds, refuse

LARGEST_EXPONENT = 700.0
ZERO_BELOW = 1000.0
"""A probability of exactly zero counts as e^−1000 of the smallest other one: it weighs nothing, and its place in the
order still says whether it ends up at M or m."""


def adjusted_rewards(rewards: Tensor, logp: Tensor, low: float, high: float, ties: str = EQUAL) -> Tensor:
    """z of every group: (..., n) and log π_ref(y|x) (..., n), in any normalisation, -> (..., n) in the rewards' dtype.

    `low` and `high` are m and M: a reward that is one of them is never moved.

    Raises:
        ValueError: for m > M, rewards that are NaN or outside [m, M], or log-probabilities that are NaN, +∞, or −∞
            for a whole group: with the group and the index.
    """
    if ties not in TIES:
        raise unknown("GRPOVI ties", ties, TIES)
    rewards = rewards if rewards.is_floating_point() else rewards.double()
    low, high = (float(rewards.new_tensor(bound)) for bound in (low, high))  # 0.1 in single precision is not 0.1
    _check(rewards, logp, low, high)
    if low == high:
        return rewards.clone()
    r, order = rewards.double().sort(dim=-1, descending=True, stable=True)
    w = _positive(logp.double()).gather(-1, order)  # log p up to a constant of the group

    minus_infinity = torch.full_like(w[..., :1], -torch.inf)
    log_a = (w + (high - r).log()).logcumsumexp(-1)
    log_b = torch.cat([(w + (r - low).log()).flip(-1).logcumsumexp(-1).flip(-1)[..., 1:], minus_infinity], -1)
    ends = _ends(r) if ties == EQUAL else torch.arange(r.shape[-1], device=r.device).expand_as(r)
    paid = (log_a <= log_b).gather(-1, ends).long().cumprod(-1).bool()  # raised to M
    k = paid.sum(-1, keepdim=True)

    # The next reward, or all that are equal to it: places k to `end`, counted from 0.
    first = k.clamp(max=r.shape[-1] - 1)
    end, place = ends.gather(-1, first), torch.arange(r.shape[-1], device=r.device)
    middle = (place >= k) & (place <= end)
    log_p = torch.where(middle, w, minus_infinity).logsumexp(-1, keepdim=True)
    before = torch.cat([minus_infinity, log_a], -1).gather(-1, k)  # log A_k
    moved = _difference_over(log_b.gather(-1, end), before, log_p)
    alpha = (r.gather(-1, first) + moved).clamp(low, high)

    z = torch.where(paid, high, torch.where(middle, alpha, low))
    return torch.empty_like(z).scatter_(-1, order, z).to(rewards.dtype)


def _ends(r: Tensor) -> Tensor:
    """Place of the last reward that equals each: sorted (..., n) -> (..., n)."""
    n = r.shape[-1]
    last = torch.cat([r[..., :-1] != r[..., 1:], torch.ones_like(r[..., :1], dtype=torch.bool)], -1)
    places = torch.where(last, torch.arange(n, device=r.device), n)
    return places.flip(-1).cummin(-1).values.flip(-1)


def _difference_over(log_x: Tensor, log_y: Tensor, log_p: Tensor) -> Tensor:
    """(x − y) / p, finite whatever the logarithms; what is beyond any reward is cut by the caller."""
    scale = torch.maximum(log_x, log_y)
    scale = torch.where(scale == -torch.inf, log_p, scale)
    size = (scale - log_p).clamp(max=LARGEST_EXPONENT).exp()
    return ((log_x - scale).exp() - (log_y - scale).exp()) * size


def _positive(logp: Tensor) -> Tensor:
    """Log-probabilities with those of zero made finite (`ZERO_BELOW`)."""
    zero = logp == -torch.inf
    floor = logp.masked_fill(zero, torch.inf).amin(-1, keepdim=True) - ZERO_BELOW
    return torch.where(zero, floor, logp)


def _check(rewards: Tensor, logp: Tensor, low: float, high: float) -> None:
    check_bounds(low, high)
    if rewards.shape != logp.shape or rewards.dim() == 0 or rewards.shape[-1] == 0:
        shapes = f"rewards {tuple(rewards.shape)} and log-probabilities {tuple(logp.shape)}"
        raise ValueError(f"{shapes} must have one shape, with the group last")
    _refuse(~((rewards >= low) & (rewards <= high)), rewards, "reward", f"must lie in [{low:g}, {high:g}]")
    _refuse(logp.isnan() | (logp == torch.inf), logp, "log-probability", "must be finite, or −∞")
    none = (logp == -torch.inf).all(-1, keepdim=True)
    _refuse(none, logp[..., :1], "log-probability", "and all others of the group: their probabilities sum to zero")


def _refuse(wrong: Tensor, values: Tensor, what: str, must: str) -> None:
    if bool(wrong.any()):
        refuse(wrong.nonzero()[:1].cpu().numpy(), values.detach().cpu().double().numpy(), what, must)
